"""A customer pays on the gateway's own page and comes back: a real browser, real processes, a real gateway."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from payments.models import PaymentAttempt, WebhookEvent
from tests.browser.conftest import DESKTOP, PHONE
from tests.browser.test_shop import buy, pay
from tests.contract.sandbox_server import wait_until
from tests.factories import make_item
from tests.system import System

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

HOSTED = "The bank's own page"


def go_to_the_hosted_page(page: Page, system: System) -> None:
    make_item("MUG", price_minor=1250, on_hand=20)
    buy(page, system)
    pay(page, card=HOSTED)
    page.get_by_role("link", name="Continue at the payment page").click(timeout=20_000)
    expect(page.get_by_role("heading", name=re.compile("^Pay for pay_"))).to_be_visible()


def decide(page: Page, button: str) -> None:
    page.get_by_role("button", name=button, exact=True).click()
    page.wait_for_url("**/payments/return/sandbox/?payment=*")
    expect(page.get_by_role("heading", name="Your payment", exact=True)).to_be_visible()


def expect_standing(page: Page, heading: str) -> None:
    expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible(timeout=30_000)


def test_a_customer_pays_there_and_comes_back(page: Page, system: System) -> None:
    go_to_the_hosted_page(page, system)
    decide(page, "Pay")
    expect_standing(page, "Paid")
    expect(page.get_by_text("Your payment was received.")).to_be_visible()
    assert PaymentAttempt.objects.get().state == "succeeded"
    page.get_by_role("link", name="Back to the shop").click()
    page.wait_for_url("**/shop/")


def test_a_customer_cancels_there_and_can_try_again(open_page: Callable[..., Page], system: System) -> None:
    page = open_page(viewport=PHONE)
    page.emulate_media(color_scheme="dark")
    go_to_the_hosted_page(page, system)
    decide(page, "Cancel")
    expect_standing(page, "Not paid")
    page.get_by_role("link", name="Go to your order").click()
    page.wait_for_url("**/shop/pay/pay_*/")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


@pytest.mark.parametrize(("name", "viewport", "scheme"), [("desktop", DESKTOP, "light"), ("phone", PHONE, "dark")])
def test_while_nobody_knows_the_page_says_so(
    open_page: Callable[..., Page], system: System, name: str, viewport: object, scheme: str
) -> None:
    page = open_page(viewport=viewport)
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type] # from a table
    go_to_the_hosted_page(page, system)
    page.goto(PaymentAttempt.objects.get().return_url)  # Nothing was decided there.
    expect_standing(page, "Just a moment")
    expect(page.get_by_text("Your payment waits for its confirmation.")).to_be_visible()
    page.wait_for_url("**&look=1")  # It has looked again by itself.
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize(("name", "viewport", "scheme"), [("desktop", DESKTOP, "dark"), ("phone", PHONE, "light")])
def test_a_link_that_lost_its_parameters_tells_the_truth(
    open_page: Callable[..., Page], system: System, name: str, viewport: object, scheme: str
) -> None:
    page = open_page(viewport=viewport, expected_complaints="404 (Not Found)")
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type] # from a table
    go_to_the_hosted_page(page, system)
    page.goto(f"{system.web_url}/payments/return/sandbox/?status=succeeded")
    expect_standing(page, "We cannot tell which payment this is")
    expect(page.get_by_text("Your payment waits for its confirmation.")).to_be_visible()  # The visitor's own.
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_gateway_sends_word_and_the_customer_waits_no_longer(page: Page, system: System) -> None:
    url = f"{system.web_url}/api/webhooks/sandbox/"
    system.sandbox.settings(webhook={"url": url, "secrets": ["whsec_sandbox"]})
    go_to_the_hosted_page(page, system)
    page.get_by_role("button", name="Pay", exact=True).click()
    expect_standing(page, "Paid")
    wait_until(
        lambda: not WebhookEvent.objects.filter(due_at__isnull=False).exists(),
        what="every event was applied",
        deadline_seconds=60,
    )
    assert set(WebhookEvent.objects.values_list("ending", flat=True)) <= {"asked", "nothing_new"}
    assert WebhookEvent.objects.exists()
    assert system.sandbox.operations() == [("authorize", 1250), ("capture", 1250)]
