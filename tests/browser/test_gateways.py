"""A customer pays in the demo shop in every way that there is: each gateway's dialect, and its own page."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from pytest_django import DjangoDbBlocker

from payments.models import PaymentAttempt
from tests.contract.sandbox_server import SandboxProcess, wait_until
from tests.factories import make_item
from tests.gateways import system_with_all, tell
from tests.system import System

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

CARDS = {"Card, by Stripe": "stripe", "Card, by Square": "square"}
PAGES = {
    "Stripe's payment page": "stripe",
    "PayPal": "paypal",
    "Square's payment page": "square",
    "PhonePe": "phonepe",
}


@pytest.fixture(scope="module")
def running_system(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    sandbox_process: SandboxProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
    with django_db_blocker.unblock():
        yield from system_with_all(tmp_path_factory.mktemp("system"), sandbox=sandbox_process)


def buy(page: Page, system: System, *, way: str) -> None:
    currency = "INR" if way == "PhonePe" else "USD"
    make_item("MUG", price_minor=1250, on_hand=20, currency=currency)
    page.goto(f"{system.web_url}/shop/")
    choice = page.get_by_label("Pay with for MUG")
    choice.select_option(label=way)
    page.get_by_role("button", name="Buy MUG").click()
    page.wait_for_url("**/shop/pay/pay_*/")
    page.get_by_role("button", name="Pay ").click()


def the_charge(system: System) -> dict[str, object]:
    (charge,) = system.sandbox.ledger()["charges"]
    return charge


@pytest.mark.parametrize(("way", "gateway"), CARDS.items())
def test_a_card_is_charged_through_its_gateway(page: Page, system: System, way: str, gateway: str) -> None:
    buy(page, system, way=way)
    expect(page.get_by_role("heading", name="Paid", exact=True)).to_be_visible(timeout=30_000)
    assert the_charge(system)["dialect"] == gateway
    assert PaymentAttempt.objects.get().state == "succeeded"


@pytest.mark.parametrize(("way", "gateway"), PAGES.items())
def test_a_customer_pays_on_the_gateways_page_and_comes_back(
    page: Page, system: System, way: str, gateway: str
) -> None:
    tell(system)
    buy(page, system, way=way)
    page.get_by_role("link", name="Continue at the payment page").click(timeout=30_000)
    expect(page.get_by_role("heading", name=re.compile("^Pay for "))).to_be_visible()
    page.get_by_role("button", name="Pay", exact=True).click()
    page.wait_for_url(f"**/payments/return/{gateway}/?payment=*")
    expect(page.get_by_role("heading", name="Paid", exact=True)).to_be_visible(timeout=60_000)
    assert the_charge(system)["dialect"] == gateway
    assert PaymentAttempt.objects.get().state == "succeeded"
    taken = [amount for operation, amount in system.sandbox.operations() if operation in {"charge", "capture"}]
    assert taken == [1250]


@pytest.mark.parametrize(("way", "gateway"), PAGES.items())
def test_a_customer_who_closes_the_page_is_seen_by_the_gateways_word(
    page: Page, system: System, way: str, gateway: str
) -> None:
    tell(system)
    buy(page, system, way=way)
    page.get_by_role("link", name="Continue at the payment page").click(timeout=30_000)
    expect(page.get_by_role("heading", name=re.compile("^Pay for "))).to_be_visible()
    page.goto("about:blank")  # Never comes back; the money moves all the same.
    system.sandbox.settle(str(the_charge(system)["id"]), "pay")
    wait_until(
        lambda: PaymentAttempt.objects.get().state == "succeeded",
        what=f"{gateway} has told, and was asked",
        deadline_seconds=60,
    )
