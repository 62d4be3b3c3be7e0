"""A customer buys in the demo shop: a real browser, real processes, a real gateway."""

import re
from collections.abc import Callable
from uuid import UUID

import pytest
from playwright.sync_api import Page, Route, ViewportSize, expect

from payments import clocks, lifecycle
from payments.domain.ids import Prefix, parse_public_id
from payments.domain.states import AttemptState
from payments.models import GatewayCall, Order, PaymentAttempt, StockItem
from tests.browser.conftest import DESKTOP, PHONE
from tests.factories import age_attempt, make_item, make_user, place_order, stock_of
from tests.system import System

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

GOOD_CARD = "A good card"
POOR_CARD = "A card without enough money"
BROKEN_CONNECTION = "A connection that breaks"

# What a customer's computer believes whose clock is three hours ahead.
CLOCK_THREE_HOURS_AHEAD = """
const AHEAD_MS = 3 * 3_600_000;
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...parts) {
    if (parts.length === 0) super(RealDate.now() + AHEAD_MS);
    else super(...parts);
  }
  static now() { return RealDate.now() + AHEAD_MS; }
};
"""


@pytest.fixture
def mug() -> StockItem:
    return make_item("MUG", price_minor=1250, on_hand=20)


def buy(page: Page, system: System, *, sku: str = "MUG", quantity: int = 1) -> UUID:
    """Place an order as a visitor does, and give the id of its attempt."""
    page.goto(f"{system.web_url}/shop/")
    page.get_by_label(f"Quantity of {sku}").fill(str(quantity))
    page.get_by_role("button", name=f"Buy {sku}").click()
    page.wait_for_url("**/shop/pay/pay_*/")
    attempt_id = parse_public_id(Prefix.PAYMENT, page.url.rstrip("/").rpartition("/")[2])
    assert attempt_id is not None
    expect(page.get_by_role("button", name="Pay ")).to_be_enabled()
    return attempt_id


def pay(page: Page, *, card: str) -> None:
    page.get_by_label(card).check()
    page.get_by_role("button", name="Pay ").click()


def expect_end(page: Page, heading: str) -> None:
    result = page.get_by_role("heading", name=heading, exact=True)
    expect(result).to_be_visible(timeout=20_000)  # A window may have some seconds left, and the machine much to do.
    expect(result).to_be_focused()
    expect(page.get_by_role("button", name="Pay ")).to_be_hidden()


def operations(attempt_id: UUID) -> list[str]:
    """What the gateway was asked to do for the payment, oldest first."""
    calls = GatewayCall.objects.filter(attempt_id=attempt_id).order_by("started_at", "id")
    return list(calls.values_list("operation", flat=True))


def shown_seconds(page: Page) -> int:
    minutes, _, seconds = page.get_by_role("timer").inner_text().partition(":")
    return int(minutes) * 60 + int(seconds)


def test_visitor_buys_and_pays(page: Page, system: System, mug: StockItem) -> None:
    attempt_id = buy(page, system, quantity=2)
    expect(page.get_by_role("button", name="Pay 25.00 USD")).to_be_visible()

    pay(page, card=GOOD_CARD)

    expect_end(page, "Paid")
    expect(page.get_by_text("Your payment was received.")).to_be_visible()
    attempt = PaymentAttempt.objects.select_related("order__customer").get(id=attempt_id)
    assert attempt.state == AttemptState.SUCCEEDED
    assert attempt.amount_minor == 2500
    assert attempt.order.customer.username.startswith("guest-")
    assert not attempt.order.customer.has_usable_password()
    assert stock_of(mug) == (18, 0, 2)


def test_looking_around_signs_nobody_in(page: Page, system: System, mug: StockItem) -> None:
    page.goto(f"{system.web_url}/shop/")
    expect(page.get_by_text("20 available")).to_be_visible()
    assert "sessionid" not in {cookie["name"] for cookie in page.context.cookies()}


def test_declined_card_says_why(page: Page, system: System, mug: StockItem) -> None:
    attempt_id = buy(page, system)

    pay(page, card=POOR_CARD)

    expect_end(page, "Not paid")
    expect(page.get_by_text("The card has insufficient funds. You have not been charged.")).to_be_visible()
    expect(page.get_by_role("link", name="Back to the shop")).to_be_visible()
    assert PaymentAttempt.objects.get(id=attempt_id).failure_code == "insufficient_funds"


def try_again(page: Page, *, left: str) -> None:
    """Open the next attempt, which is a payment of its own with a page of its own."""
    before = page.url
    page.get_by_role("button", name=f"Try again ({left} left)").click()
    page.wait_for_url(lambda url: url != before)
    expect(page.get_by_role("button", name="Pay ")).to_be_enabled()


def test_declined_payment_is_tried_again_and_paid(page: Page, system: System, mug: StockItem) -> None:
    buy(page, system)
    pay(page, card=POOR_CARD)
    expect_end(page, "Not paid")

    try_again(page, left="2 attempts")
    assert shown_seconds(page) > 14 * 60
    pay(page, card=GOOD_CARD)

    expect_end(page, "Paid")
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    attempts = PaymentAttempt.objects.order_by("number").values_list("state", flat=True)
    assert list(attempts) == [AttemptState.FAILED, AttemptState.SUCCEEDED]
    assert stock_of(mug) == (19, 0, 1)


def test_third_decline_offers_no_further_try_and_says_why(page: Page, system: System, mug: StockItem) -> None:
    buy(page, system)
    for left in ("2 attempts", "1 attempt"):
        pay(page, card=POOR_CARD)
        expect_end(page, "Not paid")
        try_again(page, left=left)

    pay(page, card=POOR_CARD)

    expect_end(page, "Not paid")
    expect(page.get_by_text("All attempts are used up. Please start again from the shop.")).to_be_visible()
    expect(page.get_by_text("You have not been charged.")).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)
    assert PaymentAttempt.objects.filter(state=AttemptState.FAILED).count() == 3


def test_try_again_whose_answer_got_lost_opens_one_attempt(
    open_page: Callable[..., Page], system: System, mug: StockItem
) -> None:
    page = open_page(expected_complaints="ERR_FAILED")
    buy(page, system)
    pay(page, card=POOR_CARD)
    expect_end(page, "Not paid")

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/retry/", lose_the_answer, times=1)
    button = page.get_by_role("button", name="Try again")
    button.click()
    expect(page.locator("#notice")).to_be_visible()
    expect(button).to_be_focused()
    try_again(page, left="2 attempts")

    assert PaymentAttempt.objects.count() == 2


def test_money_on_its_way_back_is_told_as_the_api_words_it(page: Page, system: System, mug: StockItem) -> None:
    attempt_id = buy(page, system)
    pay(page, card=GOOD_CARD)
    expect_end(page, "Paid")
    staff = make_user(is_staff=True)

    lifecycle.refund_payment(attempt_id=attempt_id, amount_minor=None, staff_id=staff.pk, reason="a test")
    page.reload()

    expect(page.get_by_role("heading", name="Paid", exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile("the money (is being|has been) given back to you"))).to_be_visible()


def test_lost_answer_is_told_as_a_doubt_and_never_as_a_failure(page: Page, system: System, mug: StockItem) -> None:
    buy(page, system)

    pay(page, card=BROKEN_CONNECTION)

    expect(page.get_by_role("heading", name=re.compile("We are looking into it|Paid"))).to_be_focused()
    expect(page.get_by_role("button", name="Pay ")).to_be_hidden()
    expect(page.get_by_text("You have not been charged")).to_have_count(0)


def test_double_click_on_pay_makes_one_charge(page: Page, system: System, mug: StockItem) -> None:
    attempt_id = buy(page, system)
    submissions: list[str] = []
    page.on("request", lambda sent: submissions.append(sent.url) if sent.method == "POST" else None)

    page.get_by_role("button", name="Pay ").dblclick()

    expect_end(page, "Paid")
    assert len(submissions) == 1
    assert operations(attempt_id) == ["authorize", "capture"]


def test_second_click_on_buy_places_no_second_order(page: Page, system: System, mug: StockItem) -> None:
    page.goto(f"{system.web_url}/shop/")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/shop/orders/", hold)

    # A slow answer, and a customer who clicks again meanwhile.
    page.get_by_role("button", name="Buy MUG").evaluate("""async (button) => {
        for (let click = 0; click < 2; click += 1) {
            button.click();
            await new Promise((resolve) => setTimeout(resolve, 250));
        }
    }""")

    assert len(held) == 1
    held[0].continue_()
    page.wait_for_url("**/shop/pay/pay_*/")
    assert Order.objects.count() == 1
    assert stock_of(mug) == (20, 1, 0)


def test_reload_and_second_tab_show_the_same_payment(page: Page, system: System, mug: StockItem) -> None:
    buy(page, system)
    second_tab = page.context.new_page()
    second_tab.goto(page.url)

    pay(page, card=GOOD_CARD)

    expect_end(page, "Paid")
    expect_end(second_tab, "Paid")
    page.reload()
    expect(page.get_by_role("heading", name="Paid", exact=True)).to_be_visible()


def test_payment_of_another_customer_is_not_shown(
    open_page: Callable[..., Page], system: System, mug: StockItem
) -> None:
    attempt = place_order(customer=make_user(), item=mug)
    visitor = open_page()
    buy(visitor, system)

    answer = visitor.request.get(f"{system.web_url}/shop/pay/{attempt.public_id}/")

    assert answer.status == 404
    assert attempt.order.order_id not in answer.text()


def test_window_that_closes_before_the_customers_eyes_ends_as_expired(
    page: Page, system: System, mug: StockItem
) -> None:
    attempt_id = buy(page, system)

    age_attempt(attempt_id, seconds_left=6)

    expect(page.get_by_text("Less than a minute left to pay.")).to_be_visible()
    expect_end(page, "Time is up")
    expect(page.get_by_role("link", name="Back to the shop")).to_be_visible()
    assert GatewayCall.objects.filter(attempt_id=attempt_id).count() == 0


def test_wrong_clock_of_the_customer_changes_nothing(page: Page, system: System, mug: StockItem) -> None:
    page.add_init_script(CLOCK_THREE_HOURS_AHEAD)
    attempt_id = buy(page, system)
    attempt = PaymentAttempt.objects.get(id=attempt_id)
    ahead_ms = page.evaluate("Date.now()") - clocks.database_now().timestamp() * 1000
    assert ahead_ms > 2.9 * 3_600_000

    api = page.request.get(f"{system.web_url}/api/payments/{attempt.public_id}/").json()
    shown = shown_seconds(page)

    # Both were read within the same moment, so they are the same up to the second that passed in between.
    assert shown == pytest.approx(api["time_remaining_seconds"], abs=2)
    assert shown > 14 * 60


def test_broken_connection_is_not_a_failed_payment(
    open_page: Callable[..., Page], system: System, mug: StockItem
) -> None:
    page = open_page(expected_complaints="ERR_INTERNET_DISCONNECTED")
    buy(page, system)

    page.context.set_offline(True)
    expect(page.get_by_text("Connection lost, trying again.")).to_be_visible()
    expect(page.get_by_role("button", name="Pay ")).to_be_visible()

    page.context.set_offline(False)
    expect(page.get_by_text("Connection lost, trying again.")).to_be_hidden()
    pay(page, card=GOOD_CARD)
    expect_end(page, "Paid")


def test_answer_that_got_lost_does_not_let_the_customer_pay_again(
    open_page: Callable[..., Page], system: System, mug: StockItem
) -> None:
    page = open_page(expected_complaints="ERR_FAILED")
    attempt_id = buy(page, system)

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/submit/", lose_the_answer)
    pay(page, card=GOOD_CARD)

    expect_end(page, "Paid")
    assert operations(attempt_id) == ["authorize", "capture"]


def test_payment_submitted_elsewhere_is_shown_as_being_processed(
    open_page: Callable[..., Page], system: System, mug: StockItem
) -> None:
    page = open_page(expected_complaints="409")
    attempt_id = buy(page, system)

    def submit_first(route: Route) -> None:
        route.fetch()  # Another tab was faster by a moment.
        route.continue_()

    page.route("**/submit/", submit_first)
    pay(page, card=GOOD_CARD)

    expect_end(page, "Paid")
    assert operations(attempt_id) == ["authorize", "capture"]


def test_more_than_there_is_cannot_be_ordered(page: Page, system: System, mug: StockItem) -> None:
    page.goto(f"{system.web_url}/shop/")
    quantity = page.get_by_label("Quantity of MUG")
    quantity.evaluate("field => field.removeAttribute('max')")  # The stock may also shrink while somebody looks.
    quantity.fill("21")

    page.get_by_role("button", name="Buy MUG").click()

    expect(page.get_by_role("alert")).to_have_text("Only 20 of “MUG” are available. Nothing was ordered.")
    assert Order.objects.count() == 0


def test_sold_out_item_cannot_be_bought(page: Page, system: System) -> None:
    make_item("GONE", on_hand=0)
    page.goto(f"{system.web_url}/shop/")
    expect(page.get_by_text("Sold out")).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)


def test_keyboard_alone_is_enough(page: Page, system: System, mug: StockItem) -> None:
    page.goto(f"{system.web_url}/shop/")
    page.get_by_label("Quantity of MUG").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/shop/pay/pay_*/")
    expect(page.get_by_role("button", name="Pay ")).to_be_enabled()

    page.get_by_label(GOOD_CARD).focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label(POOR_CARD)).to_be_checked()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Pay ")).to_be_focused()
    page.keyboard.press("Enter")

    expect_end(page, "Not paid")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Try again")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Back to the shop")).to_be_focused()


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_no_page_scrolls_sideways(
    open_page: Callable[..., Page], system: System, mug: StockItem, viewport: ViewportSize
) -> None:
    make_item("A-RATHER-LONG-NAME-WITHOUT-A-SPACE-THAT-HAS-TO-FIT-ALL-THE-SAME", price_minor=99_999_999)
    page = open_page(viewport=viewport)
    page.goto(f"{system.web_url}/shop/")
    assert overflow(page) == 0
    buy(page, system)
    assert overflow(page) == 0
    pay(page, card=POOR_CARD)
    expect_end(page, "Not paid")
    assert overflow(page) == 0


def overflow(page: Page) -> int:
    """Pixels by which the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
