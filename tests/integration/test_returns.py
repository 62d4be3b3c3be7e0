"""A customer comes back from a hosted page: what is shown, and where the way goes on."""

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError
from django.test import Client
from pytest_django import Settings

from payments import lifecycle, returns
from payments.models import GatewayCall, PaymentAttempt, StockItem
from payments.web.returns import LOOKS_AT_MOST, wait_seconds
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.doubts import asked, close_window, resolve
from tests.integration.test_return_settings import ASTROLOGY

pytestmark = pytest.mark.django_db(transaction=True)

BOOKING = "ASTRO_BOOK_1A2B3C4D"
SUCCESS = "https://www.okpuja.com/astro-booking-success?astro_book_id=ASTRO_BOOK_1A2B3C4D"
FAILURE = "https://www.okpuja.com/astro-booking-failed"


@pytest.fixture(autouse=True)
def astrology(settings: Settings, broker_is_away: None) -> None:
    """The worked example; each test does the workers' part by itself."""
    settings.PAYMENT_ORDER_KINDS = ASTROLOGY
    settings.PAYMENT_RETURN_ORIGINS = ["https://www.okpuja.com"]


def book(customer: User, item: StockItem, *, kind: str = "astrology", token: str = "tok_hosted") -> PaymentAttempt:
    view = lifecycle.open_order(
        customer_id=customer.id,
        lines=[lifecycle.RequestedLine(sku=item.sku, quantity=1)],
        expected_total_minor=item.unit_price_minor,
        currency="USD",
        method="card",
        order_id=BOOKING,
        kind=kind,
    )
    attempt = factories.submit(view.attempt, token=token)
    lifecycle.charge_attempt(attempt_id=attempt.id)
    attempt.refresh_from_db()
    return attempt


@pytest.fixture
def attempt(customer: User, item: StockItem, sandbox: SandboxProcess) -> PaymentAttempt:
    """A booking whose customer is on the hosted page."""
    attempt = book(customer, item)
    assert attempt.state == "confirming"
    return attempt


def come_back(attempt: PaymentAttempt, *more: str, client: Client | None = None, method: str = "get") -> Any:
    parts = urlsplit(attempt.return_url)
    query = "&".join([parts.query, *more])
    return getattr(client or Client(enforce_csrf_checks=True), method)(f"{parts.path}?{query}")


def decide(attempt: PaymentAttempt, action: str) -> str:
    """Press a button of the hosted page, and give the address that it leads back to."""
    answer = httpx.post(attempt.redirect_url, data={"action": action}, trust_env=False)
    assert answer.status_code == 303
    return answer.headers["Location"]


def says(answer: Any, text: str, *, status: int = 200) -> bool:
    assert answer.status_code == status, answer
    assert answer["Cache-Control"] == "no-store"
    assert answer["Referrer-Policy"] == "no-referrer"
    assert "default-src 'self'" in answer["Content-Security-Policy"]
    assert "Location" not in answer
    return text in answer.content.decode()


def is_sent_to(answer: Any, url: str) -> bool:
    assert answer["Cache-Control"] == "no-store"
    assert answer["Referrer-Policy"] == "no-referrer"
    return (answer.status_code, answer["Location"]) == (303, url)


@pytest.mark.parametrize(("action", "end", "url"), [("pay", "succeeded", SUCCESS), ("decline", "failed", FAILURE)])
def test_the_booking_of_the_worked_example_from_the_hosted_page_to_the_shop(
    attempt: PaymentAttempt, action: str, end: str, url: str
) -> None:
    location = decide(attempt, action)
    assert location.startswith(attempt.return_url)
    assert {"charge", "status", "payment"} == set(parse_qs(urlsplit(location).query))

    doubts.age_calls(attempt, hours=0.01)
    back = urlsplit(location)
    first = Client().get(f"{back.path}?{back.query}")
    assert says(first, "Your payment waits for its confirmation.")
    assert says(first, 'http-equiv="refresh"')

    assert lifecycle.resolve_attempt(attempt_id=attempt.id) == end  # Looking made it due.
    assert is_sent_to(Client().get(f"{back.path}?{back.query}"), url)


def test_a_customer_who_cancels_there_lands_on_the_page_for_failures(attempt: PaymentAttempt) -> None:
    decide(attempt, "cancel")
    assert resolve(attempt) == "failed"
    assert is_sent_to(come_back(attempt), FAILURE)


def test_a_customer_who_is_too_late_lands_on_the_page_for_failures(attempt: PaymentAttempt) -> None:
    close_window(attempt.id, seconds_ago=0)
    assert says(come_back(attempt), "Your payment waits for its confirmation.")
    assert resolve(attempt) == "expired"
    assert is_sent_to(come_back(attempt), FAILURE)


@pytest.mark.parametrize(
    "lies",
    [
        ["status=succeeded"], ["status=captured", "charge=ch_1"], ["redirect_status=succeeded"], ["success=true"],
        ["state=succeeded", "paid=1"],
    ],
)  # fmt: skip
def test_nothing_that_is_added_to_the_link_is_believed(
    attempt: PaymentAttempt, item: StockItem, lies: list[str]
) -> None:
    assert says(come_back(attempt, *lies), "Your payment waits for its confirmation.")
    attempt.refresh_from_db()
    assert attempt.state == "confirming"
    assert factories.stock_of(item) == (100, 1, 0)


def test_looking_often_asks_the_gateway_once(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    doubts.age_calls(attempt, hours=0.01)
    for _ in range(10):
        come_back(attempt)
        lifecycle.resolve_attempt(attempt_id=attempt.id)
    assert len(asked(sandbox, "lookup")) == 1


def test_the_page_looks_less_and_less_often_and_then_no_more(attempt: PaymentAttempt) -> None:
    waits = [wait_seconds(look) for look in range(LOOKS_AT_MOST + 2)]
    assert waits[:4] == [2, 3, 4, 5]
    assert waits[-3:] == [20, None, None]
    assert says(come_back(attempt, "look=3"), 'content="5;url=?payment=')
    assert says(come_back(attempt, "look=3"), "&amp;look=4")
    for look in ["40", "99", "100000000000000000000", "-1", "x", "\u0664"]:
        is_over = not says(come_back(attempt, f"look={look}"), 'http-equiv="refresh"')
        assert is_over == (look in {"40", "99"})


def test_an_order_of_the_ordinary_kind_ends_on_our_own_page(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    attempt = book(customer, item, kind="", token="tok_visa")
    assert says(come_back(attempt), "Your payment was received. Thank you.")
    assert says(come_back(attempt), BOOKING)


def test_a_kind_that_is_gone_from_the_settings_ends_on_our_own_page(
    settings: Settings, customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    attempt = book(customer, item, token="tok_visa")
    settings.PAYMENT_ORDER_KINDS = {}
    assert says(come_back(attempt), "Your payment was received. Thank you.")


def test_a_refunded_payment_is_shown_as_what_it_is(
    customer: User, staff: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    attempt = book(customer, item, token="tok_visa")
    assert is_sent_to(come_back(attempt), SUCCESS)
    lifecycle.refund_payment(attempt_id=attempt.id, amount_minor=None, staff_id=staff.id, reason="asked for")
    assert says(come_back(attempt), "Your payment was received, and the money is being given back to you.")
    assert says(come_back(attempt), f'href="{FAILURE}"')
    doubts.give_everything_back()
    assert says(come_back(attempt), "the money has been given back to you.")


def test_an_old_link_tells_how_the_latest_attempt_stands(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    first = book(customer, item, token="tok_declined")
    assert is_sent_to(come_back(first), FAILURE)
    second = lifecycle.retry_order(order_id=BOOKING, customer_id=customer.id).attempt
    assert says(come_back(first), "Not paid yet")
    factories.submit(second)
    assert lifecycle.charge_attempt(attempt_id=second.id) == "succeeded"
    assert is_sent_to(come_back(first), SUCCESS)


def test_a_payment_under_review_promises_nothing(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    close_window(attempt.id, seconds_ago=90_000)
    doubts.put_under_review(attempt, sandbox)
    answer = come_back(attempt)
    assert says(answer, "We are finding out")
    assert not says(answer, 'http-equiv="refresh"')


@pytest.mark.parametrize("method", ["get", "head", "post"])
def test_gateways_come_back_in_their_own_ways(attempt: PaymentAttempt, method: str) -> None:
    decide(attempt, "pay")
    assert resolve(attempt) == "succeeded"
    assert is_sent_to(come_back(attempt, method=method), SUCCESS)


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_nothing_else_is_taken(attempt: PaymentAttempt, method: str) -> None:
    assert come_back(attempt, method=method).status_code == 405


def test_a_post_cannot_name_the_payment_in_its_body(attempt: PaymentAttempt) -> None:
    token = returns.return_token(payment_id=attempt.public_id)
    answer = Client().post("/payments/return/sandbox/", {"payment": token})
    assert says(answer, "We cannot tell which payment this is", status=404)


def test_a_link_that_names_no_payment_of_ours_tells_where_to_look(attempt: PaymentAttempt) -> None:
    path, token = "/payments/return/sandbox/", returns.return_token(payment_id=attempt.public_id)
    gone = returns.return_token(payment_id="pay_0198f0c2e4b27c3a9d1e5f60718293a4")
    for url in [
        path,
        f"{path}?payment=",
        f"{path}?payment={attempt.public_id}",
        f"{path}?payment={token[:-1]}",
        f"{path}?payment={token}x",
        f"{path}?payment={token}&payment={token}",
        f"{path}?payment={token}&payment=",
        f"{path}?Payment={token}",
        f"{path}?payment={gone}",
        f"{path}?payment=%00",
        f"{path}?payment=%F0%9F%92%A9.%C3",
        f"/payments/return/stripe/?payment={token}",
        f"{path}?payment={attempt.public_id}.{token.partition('.')[2][::-1]}",
    ]:
        answer = Client().get(url)
        assert says(answer, "We cannot tell which payment this is", status=404), url
        assert not says(answer, BOOKING, status=404), url


def test_a_token_for_something_else_is_no_return_link(attempt: PaymentAttempt) -> None:
    from django.core.signing import Signer

    forged = Signer(sep=".", salt="payments.reminders.stop").sign(attempt.public_id)
    assert says(Client().get(f"/payments/return/sandbox/?payment={forged}"), "We cannot tell", status=404)


def test_a_signed_in_customer_without_the_link_sees_the_own_payments_only(
    attempt: PaymentAttempt, customer: User, other: User
) -> None:
    client = Client()
    client.force_login(customer)
    answer = client.get("/payments/return/sandbox/?status=succeeded")
    assert says(answer, f"Order {BOOKING}", status=404)
    assert says(answer, "Your payment waits for its confirmation.", status=404)
    client.force_login(other)
    assert not says(client.get("/payments/return/sandbox/"), BOOKING, status=404)


def test_every_repeat_of_a_charge_says_the_same_whatever_the_settings_say_by_then(
    settings: Settings, customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    attempt = book(customer, item, token="tok_reset_before")
    assert attempt.state == "in_doubt"
    settings.PAYMENT_PUBLIC_URL = "https://elsewhere.example"
    settings.SECRET_KEY = "another key"
    assert returns.return_url(attempt) != attempt.return_url
    sandbox.behave("reset_before")  # Whatever the token says, the repeat is answered by the switch.
    resolve(attempt)
    bodies = [row["body_hash"] for row in asked(sandbox, "authorize")]
    assert len(bodies) == 2
    assert len(set(bodies)) == 1
    charges = GatewayCall.objects.filter(attempt=attempt, operation="authorize")
    assert len({call.request_hash for call in charges}) == 1


def test_the_link_of_an_attempt_is_written_once(attempt: PaymentAttempt) -> None:
    with pytest.raises(DatabaseError, match="Cannot update rows"):
        PaymentAttempt.objects.filter(id=attempt.id).update(return_url="https://elsewhere.example/")


def test_a_system_that_customers_do_not_reach_gives_no_link(
    settings: Settings, customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    settings.PAYMENT_ORDER_KINDS, settings.PAYMENT_PUBLIC_URL = {}, ""
    attempt = book(customer, item, kind="")
    assert (attempt.state, attempt.return_url) == ("confirming", "")
    assert httpx.post(attempt.redirect_url, data={"action": "pay"}, trust_env=False).status_code == 200


def test_the_signed_link_is_in_no_log(client: Client, captured_logs: list[MutableMapping[str, Any]]) -> None:
    """The query is a capability: whoever reads the log could look."""
    client.get("/payments/return/sandbox/?payment=pay_1.signed")
    requests = [line["request"] for line in captured_logs if "request" in line]
    assert requests == ["GET /payments/return/sandbox/"] * len(requests) != []
