"""What PhonePe sends word of: who may, what is read of it, and that it is told of every ending in the sandbox."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from payments.domain.outcomes import Declined
from payments.gateways.phonepe.hearing import read_event
from payments.gateways.protocol import Event, NotGenuine, Tells
from tests.contract.phonepe.asking import AMOUNT_MINOR, ORDER, REFUND, Asking
from tests.contract.phonepe.bench import make
from tests.contract.phonepe.test_answers import ATTEMPT, FAILED, PAID
from tests.contract.sandbox_server import WEBHOOK_SECRET, SandboxProcess, wait_until
from tests.receiver import Receiver, Request, listening

CREDENTIAL, OLDER = "merchant_1:Passw0rd9", "merchant_0:0ldPassw0rd"
ACCOUNT = "MERCHANTUAT"
ORDER_PAID: dict[str, Any] = {
    "event": "checkout.order.completed",
    "type": "CHECKOUT_ORDER_COMPLETED",
    "payload": {"merchantId": ACCOUNT, "merchantOrderId": ORDER, **PAID},
}
ORDER_FAILED: dict[str, Any] = {
    "event": "checkout.order.failed",
    "payload": {"merchantId": ACCOUNT, "merchantOrderId": ORDER, **FAILED},
}
REFUND_DONE: dict[str, Any] = {
    "event": "pg.refund.completed",
    "payload": {
        "merchantId": ACCOUNT,
        "merchantRefundId": REFUND,
        "originalMerchantOrderId": ORDER,
        "amount": AMOUNT_MINOR,
        "state": "COMPLETED",
        "timestamp": 1730869961754,
        "refundId": "OMR7878098045517540996",
    },
}


def mark(credential: str = CREDENTIAL) -> str:
    return hashlib.sha256(credential.encode()).hexdigest()


def heard(
    content: object, *, authorization: str | None = None, credentials: list[str] | None = None, merchant_id: str = ""
) -> Event | NotGenuine:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    headers = {"Authorization": mark() if authorization is None else authorization}
    known = [CREDENTIAL, OLDER] if credentials is None else credentials
    return read_event(headers=headers, body=body, credentials=known, merchant_id=merchant_id)


@pytest.mark.parametrize(
    ("content", "tells", "event_id"),
    [
        (ORDER_PAID, Tells.MONEY, f"checkout.order.completed:{ORDER}:{ATTEMPT['transactionId']}"),
        (ORDER_FAILED, Tells.NO_MONEY, f"checkout.order.failed:{ORDER}:{ATTEMPT['transactionId']}"),
        (REFUND_DONE, Tells.RETURNED, f"pg.refund.completed:{ORDER}:{REFUND}"),
    ],
)
def test_an_event_names_our_order_and_is_known_again(content: dict[str, Any], tells: Tells, event_id: str) -> None:
    event = heard(content)
    assert event == Event(
        event_id=event_id,
        kind=content["event"],
        tells=tells,
        payment_id=ORDER,
        charge_reference=ORDER,
        is_timely=False,  # Nothing in it is signed, and its time least of all.
        account=ACCOUNT,
    )
    assert heard(content) == event


@pytest.mark.parametrize("kind", ["pg.refund.failed", "pg.refund.accepted", "checkout.transaction.attempt.failed", "x"])
def test_what_is_no_ending_is_kept_and_not_believed(kind: str) -> None:
    event = heard({**ORDER_PAID, "event": kind})
    assert isinstance(event, Event)
    assert (event.kind, event.tells) == (kind, Tells.UNKNOWN)


@pytest.mark.parametrize("state", ["FAILED", "CONFIRMED", "PENDING", None])
def test_a_refund_that_is_not_completed_makes_us_ask(state: str | None) -> None:
    event = heard(with_payload(REFUND_DONE, state=state))
    assert isinstance(event, Event)
    assert event.tells is Tells.UNKNOWN


def test_two_endings_of_one_order_are_two_events() -> None:
    other = with_payload(ORDER_PAID, paymentDetails=[{"transactionId": "OM2"}])
    bare = {**ORDER_PAID, "payload": {"merchantOrderId": ORDER}}
    part = with_payload(REFUND_DONE, merchantRefundId="cmp_2")
    all_of_them = (ORDER_PAID, other, bare, ORDER_FAILED, REFUND_DONE, part)
    assert len({read(heard(content)).event_id for content in all_of_them}) == len(all_of_them)


def with_payload(content: dict[str, Any], **changes: object) -> dict[str, Any]:
    return {**content, "payload": {**content["payload"], **changes}}


@pytest.mark.parametrize("credential", [CREDENTIAL, OLDER])
def test_several_credentials_hold_while_they_are_exchanged(credential: str) -> None:
    assert isinstance(heard(ORDER_PAID, authorization=mark(credential)), Event)
    assert isinstance(heard(ORDER_PAID, authorization=mark(credential).upper()), Event)
    assert isinstance(heard(ORDER_PAID, authorization=mark(credential), credentials=["other:passw0rd"]), NotGenuine)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        " ",
        CREDENTIAL,
        mark("merchant_1:passw0rd9"),
        mark("merchant_1"),
        mark("")[:-1],
        mark()[:-1],
        mark() + "0",
        f"{mark()},{mark()}",
        f"Basic {mark()}",
        f"SHA256({mark()})",
        mark().replace(mark()[0], "é"),
        "\x00" * 64,
        "\ud800" * 64,
        hashlib.sha512(CREDENTIAL.encode()).hexdigest(),
    ],
)
def test_without_the_right_hash_nothing_is_read(authorization: str) -> None:
    assert isinstance(heard(b"not read", authorization=authorization), NotGenuine)


def test_without_a_header_or_without_credentials_nothing_is_taken() -> None:
    body = json.dumps(ORDER_PAID).encode()
    assert isinstance(read_event(headers={}, body=body, credentials=[CREDENTIAL], merchant_id=""), NotGenuine)
    assert isinstance(heard(ORDER_PAID, credentials=[]), NotGenuine)
    assert isinstance(heard(ORDER_PAID, authorization=mark(""), credentials=[]), NotGenuine)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        json.dumps(ORDER_PAID).encode()[:-1],
        json.dumps(ORDER_PAID).encode() + b"}",
        b"[" * 100_000,
        b"\xff\xfe",
        [ORDER_PAID],
        "event",
        None,
        {**ORDER_PAID, "event": ""},
        {**ORDER_PAID, "event": 7},
        {**ORDER_PAID, "event": "x" * 65},
        {**ORDER_PAID, "payload": None},
        {**ORDER_PAID, "payload": "merchantOrderId"},
        {**ORDER_PAID, "payload": {}},
        {"payload": ORDER_PAID["payload"]},
        {**ORDER_PAID, "payload": {"merchantOrderId": None}},
        {**ORDER_PAID, "payload": {"merchantOrderId": "x" * 65}},
        {**ORDER_PAID, "payload": {"merchantOrderId": "pay_\x00"}},
        {**ORDER_PAID, "payload": {"merchantOrderId": "pay_\ud800"}},
        {**ORDER_PAID, "payload": {"merchantOrderId": ORDER, "paymentDetails": "x"}},
        {**ORDER_PAID, "payload": {"merchantOrderId": ORDER, "paymentDetails": [{"transactionId": "x" * 65}]}},
        {**ORDER_PAID, "payload": {"merchantOrderId": ORDER, "merchantId": ["x"]}},
    ],
)
def test_what_is_no_event_is_refused(content: object) -> None:
    refused = heard(content)
    assert isinstance(refused, NotGenuine)
    assert "x" * 65 not in refused.why


def test_an_event_of_another_merchant_is_refused_where_ours_is_known() -> None:
    assert isinstance(heard(ORDER_PAID, merchant_id=ACCOUNT), Event)
    assert isinstance(heard(ORDER_PAID, merchant_id="OTHER"), NotGenuine)
    nameless = {**ORDER_PAID, "payload": {"merchantOrderId": ORDER}}
    assert isinstance(heard(nameless), Event)
    assert isinstance(heard(nameless, merchant_id=ACCOUNT), NotGenuine)


# From the sandbox


@pytest.fixture
def shop(process: SandboxProcess, sandbox: SandboxProcess) -> Iterator[Receiver]:
    with listening() as receiver:
        process.settings(webhook={"url": receiver.url + "{gateway}/", "retry_base_seconds": 0.01})
        yield receiver
        process.reset()  # Back to no address, before the receiver closes.


def told(shop: Receiver, url: str, count: int) -> list[Event]:
    wait_until(lambda: len(shop.requests) >= count, what=f"{count} events came")
    gateway = make(url)
    events = [read(gateway.read_event(headers=one.headers, body=one.body, unix_seconds=0)) for one in shop.requests]
    gateway.close()
    return events


def read(event: Event | NotGenuine) -> Event:
    assert isinstance(event, Event)
    return event


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("pay", "checkout.order.completed"),
        ("decline", "checkout.order.failed"),
        ("cancel", "checkout.order.failed"),
    ],
)
def test_the_end_of_an_order_is_told_and_its_beginning_is_not(
    sandbox: SandboxProcess, phonepe: Asking, shop: Receiver, action: str, kind: str
) -> None:
    phonepe.pay(sandbox, action=action)
    (event,) = told(shop, sandbox.url, 1)
    assert (event.kind, event.payment_id, event.charge_reference) == (kind, ORDER, ORDER)
    assert len(sandbox.ledger()["events"]) == 1


def test_a_refund_is_told_and_a_repeated_event_is_the_same(
    sandbox: SandboxProcess, phonepe: Asking, shop: Receiver
) -> None:
    sandbox.settings(webhook={"duplicates": 1})
    phonepe.pay(sandbox)
    phonepe.refund()
    events = told(shop, sandbox.url, 4)
    assert [event.kind for event in events] == ["checkout.order.completed"] * 2 + ["pg.refund.completed"] * 2
    assert len({event.event_id for event in events}) == 2
    assert {event.payment_id for event in events} == {ORDER}


def test_the_hash_says_nothing_of_the_body(sandbox: SandboxProcess, phonepe: Asking, shop: Receiver) -> None:
    """Which is why an event is only ever a reason to ask."""
    phonepe.pay(sandbox, action="decline")
    told(shop, sandbox.url, 1)
    request: Request = shop.requests[0]
    forged = request.body.replace(b"checkout.order.failed", b"checkout.order.completed")
    event = phonepe.gateway.read_event(headers=request.headers, body=forged, unix_seconds=0)
    assert read(event).tells is Tells.MONEY
    assert isinstance(phonepe.look_up(), Declined)
    assert request.headers["authorization"] == mark(WEBHOOK_SECRET)
