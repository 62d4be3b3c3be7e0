"""Square's face of the sandbox: what the gateway's side does by itself, told as Square tells it."""

import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from square import Square
from square.core.api_error import ApiError

from payments.domain.failures import FailureCode
from payments.domain.outcomes import Authorized, Captured, Declined, Outcome, Pending, Undoing, Undone
from payments.gateways.protocol import Event, Tells
from tests.contract.published import complaints_about_object
from tests.contract.sandbox_server import API_KEY, WEBHOOK_SECRET, SandboxProcess, wait_until
from tests.contract.square.asking import PAYMENT_ID, Asking
from tests.contract.square.bench import DESCRIBED, make
from tests.receiver import Receiver, listening

KEY = {"Authorization": f"Bearer {API_KEY}"}
GOOD: dict[str, Any] = {
    "source_id": "tok_ok",
    "idempotency_key": "k",
    "amount_money": {"amount": 1000, "currency": "USD"},
    "reference_id": "r",
}


def post(sandbox: SandboxProcess, path: str, body: object, **headers: str) -> httpx.Response:
    return httpx.post(f"{sandbox.url}/square/v2/{path}", json=body, headers={**KEY, **headers}, trust_env=False)


def reference_of(outcome: Outcome) -> str:
    assert isinstance(outcome, Authorized | Captured | Pending), outcome
    return outcome.reference


@pytest.fixture
def shop() -> Iterator[Receiver]:
    with listening() as receiver:
        yield receiver


@pytest.fixture
def told(sandbox: SandboxProcess, shop: Receiver) -> Iterator[Asking]:
    """The adapter, with the sandbox telling `shop`."""
    sandbox.settings(webhook={"url": shop.url, "secrets": [WEBHOOK_SECRET]})
    gateway = make(sandbox.url, events_url=shop.url)
    yield Asking(gateway)
    gateway.close()
    sandbox.reset()


@pytest.fixture
def client(sandbox: SandboxProcess) -> Iterator[Square]:
    with httpx.Client(trust_env=False) as http:
        yield Square(base_url=f"{sandbox.url}/square", token=API_KEY, httpx_client=http)


def heard(asking: Asking, shop: Receiver, *, count: int) -> list[Event]:
    wait_until(lambda: len(shop.requests) >= count, what=f"{count} events arrived")
    events = [
        asking.gateway.read_event(headers=request.headers, body=request.body, unix_seconds=int(time.time_ns() // 10**9))
        for request in shop.requests
    ]
    assert all(isinstance(event, Event) for event in events), events
    return [event for event in events if isinstance(event, Event)]


def test_what_happens_to_a_payment_is_heard_as_ours(told: Asking, shop: Receiver) -> None:
    reference = reference_of(told.authorize())
    told.capture(reference)
    told.refund(reference)
    events = heard(told, shop, count=3)
    assert [event.tells for event in events] == [Tells.MONEY, Tells.MONEY, Tells.RETURNED]
    assert [event.kind for event in events] == ["payment.created", "payment.updated", "payment.updated"]
    assert {(event.payment_id, event.charge_reference) for event in events} == {(PAYMENT_ID, reference)}
    assert all(event.is_timely for event in events)


def test_a_page_is_heard_of_when_somebody_pays(told: Asking, shop: Receiver, sandbox: SandboxProcess) -> None:
    begun = told.authorize("")
    assert isinstance(begun, Pending)
    assert begun.redirect_url is not None
    httpx.post(begun.redirect_url, data={"action": "pay"}, trust_env=False)
    of_the_order, of_the_payment = heard(told, shop, count=2)
    assert (of_the_order.kind, of_the_order.tells, of_the_order.payment_id) == ("order.created", Tells.UNKNOWN, "")
    assert (of_the_payment.tells, of_the_payment.payment_id) == (Tells.MONEY, PAYMENT_ID)


def test_an_event_shows_a_payment_as_square_describes_it(told: Asking, shop: Receiver) -> None:
    told.capture(reference_of(told.authorize()))
    heard(told, shop, count=2)
    for request in shop.requests:
        shown = request.payload["data"]["object"]["payment"]
        assert complaints_about_object(shown, name="Payment", by=DESCRIBED) == [], shown


def test_a_hold_that_nobody_takes_expires_by_itself(sandbox: SandboxProcess, square: Asking) -> None:
    reference = reference_of(square.authorize())
    with sqlite3.connect(sandbox.ledger_path, timeout=5) as books:  # As if its time had come.
        books.execute("UPDATE charges SET expires_at = created_at")
    books.close()
    expired = Undone(how=Undoing.EXPIRED, reference=reference)
    wait_until(lambda: square.look_up(reference) == expired, what="the hold has expired")
    assert square.look_up() == expired
    assert square.void(reference) == expired
    refused = square.capture(reference)
    assert isinstance(refused, Declined)
    assert refused.code is FailureCode.ALREADY_DONE


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"colour": "red"}, "UNKNOWN_BODY_PARAMETER"),
        ({"source_id": None}, "MISSING_REQUIRED_PARAMETER"),
        ({"idempotency_key": None}, "MISSING_REQUIRED_PARAMETER"),
        ({"amount_money": None}, "MISSING_REQUIRED_PARAMETER"),
        ({"idempotency_key": "k" * 46}, "INVALID_VALUE"),
        ({"reference_id": "r" * 41}, "INVALID_VALUE"),
        ({"source_id": "tok_misspelt"}, "INVALID_VALUE"),
        ({"amount_money": {"amount": 0, "currency": "USD"}}, "INVALID_VALUE"),
        ({"amount_money": {"amount": 10, "currency": "USD", "colour": "red"}}, "INVALID_VALUE"),
        ({"delay_duration": "PT59S", "autocomplete": False}, "INVALID_VALUE"),
        ({"delay_duration": "P8D", "autocomplete": False}, "INVALID_VALUE"),
        ({"delay_duration": "P", "autocomplete": False}, "INVALID_VALUE"),
        ({"delay_duration": "PT15M"}, "INVALID_VALUE"),
    ],
)
def test_what_square_does_not_take_is_refused(sandbox: SandboxProcess, changes: dict[str, object], code: str) -> None:
    body = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    refused = post(sandbox, "payments", body)
    assert refused.status_code == httpx.codes.BAD_REQUEST
    (error,) = refused.json()["errors"]
    assert (error["category"], error["code"]) == ("INVALID_REQUEST_ERROR", code)
    assert sandbox.operations() == []


@pytest.mark.parametrize("duration", ["PT1M", "PT60S", "P1DT2H3M4S", "P7D", "PT168H"])
def test_a_delay_may_be_worded_in_several_ways(sandbox: SandboxProcess, duration: str) -> None:
    body = {**GOOD, "autocomplete": False, "delay_duration": duration, "delay_action": "CANCEL"}
    assert post(sandbox, "payments", body).json()["payment"]["delay_duration"] == duration


def test_a_version_that_is_no_date_is_refused(sandbox: SandboxProcess) -> None:
    assert post(sandbox, "payments", GOOD, **{"Square-Version": "newest"}).status_code == httpx.codes.BAD_REQUEST


def test_payments_of_another_place_are_not_listed(sandbox: SandboxProcess, client: Square) -> None:
    post(sandbox, "payments", {**GOOD, "location_id": "LOTHER"})
    assert list(client.payments.list()) == []
    assert [payment.reference_id for payment in client.payments.list(location_id="LOTHER")] == ["r"]


@pytest.mark.parametrize("order", ["ASC", "DESC"])
def test_payments_are_listed_page_by_page(sandbox: SandboxProcess, order: str) -> None:
    made = [
        post(sandbox, "payments", {**GOOD, "idempotency_key": f"k{number}"}).json()["payment"]["id"]
        for number in range(5)
    ]
    asked: dict[str, str] = {"sort_order": order, "limit": "2"}
    pages: list[list[str]] = []
    while True:
        page = httpx.get(f"{sandbox.url}/square/v2/payments", params=asked, headers=KEY, trust_env=False).json()
        pages.append([payment["id"] for payment in page["payments"]])
        if "cursor" not in page:
            break
        asked["cursor"] = page["cursor"]
    expected = made if order == "ASC" else made[::-1]
    assert pages == [expected[:2], expected[2:4], expected[4:]]


def test_a_cursor_that_no_page_named_is_refused(sandbox: SandboxProcess) -> None:
    asked = {"cursor": "next"}
    refused = httpx.get(f"{sandbox.url}/square/v2/payments", params=asked, headers=KEY, trust_env=False)
    assert refused.status_code == httpx.codes.BAD_REQUEST


def test_the_sdk_reads_what_the_face_answers(client: Square) -> None:
    made = client.payments.create(
        source_id="tok_ok", idempotency_key="k", amount_money={"amount": 1000, "currency": "USD"}, reference_id="r"
    ).payment
    assert made is not None
    assert made.status == "COMPLETED"
    assert [payment.id for payment in client.payments.list()] == [made.id]
    with pytest.raises(ApiError) as refused:
        client.payments.create(
            source_id="tok_expired_card", idempotency_key="l", amount_money={"amount": 1000, "currency": "USD"}
        )
    assert refused.value.status_code == httpx.codes.BAD_REQUEST
    assert [error.code for error in refused.value.errors] == ["CARD_EXPIRED"]


def test_the_dialects_do_not_see_each_other(sandbox: SandboxProcess) -> None:
    native = sandbox.charge(key="k", reference=PAYMENT_ID).json()
    seen = httpx.get(f"{sandbox.url}/square/v2/payments/{native['id']}", headers=KEY, trust_env=False)
    assert seen.status_code == httpx.codes.NOT_FOUND
    assert post(sandbox, f"payments/{native['id']}/cancel", {}).status_code == httpx.codes.NOT_FOUND
    refund = {"idempotency_key": "x", "payment_id": native["id"], "amount_money": GOOD["amount_money"]}
    assert post(sandbox, "refunds", refund).status_code == httpx.codes.NOT_FOUND
    assert sandbox.operations() == [("charge", 1000)]
