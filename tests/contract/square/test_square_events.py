"""What Square sends word of: verified byte for byte, by our reading and by the SDK's, and a hint at most."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from square.utils.webhooks_helper import verify_signature

from payments.gateways.protocol import Event, NotGenuine, Tells
from payments.gateways.sandbox.faces.square import SquareFace
from payments.gateways.square.hearing import SIGNATURE_HEADER, Subscription, read_event
from tests.contract.square.asking import PAYMENT_ID

SECRET, OTHER_SECRET = "signature-key", "another-key"
URL = "https://pay.example/api/webhooks/square/"
CREATED_AT, CREATED_AT_UNIX = "2026-11-22T00:00:00.250Z", 1_795_305_600
MERCHANT = "6SSW7HV8K2ST5"
SUBSCRIPTION = Subscription(secrets=(SECRET,), notification_url=URL, merchant_id=MERCHANT)


def payment_event(**changes: object) -> dict[str, Any]:
    """An event as Square documents it (developer.squareup.com/reference/square/payments-api/webhooks)."""
    payment = {
        "id": "hYy9pRFVxpDsO1FB05SunFWUe9JZY",
        "amount_money": {"amount": 1250, "currency": "USD"},
        "status": "COMPLETED",
        "order_id": "03O3USaPaAaFnI6kkwB1JxGgBsUZY",
        "reference_id": PAYMENT_ID,
        **changes,
    }
    return {
        "merchant_id": MERCHANT,
        "type": "payment.updated",
        "event_id": "6a8f5f28-54a1-4eb0-a98a-3111513fd4fc",
        "created_at": CREATED_AT,
        "data": {
            "type": "payment",
            "id": payment["id"],
            "object": {"payment": {k: v for k, v in payment.items() if v is not None}},
        },
    }


def sign(body: bytes, *, secret: str = SECRET, url: str = URL) -> str:
    return base64.b64encode(hmac.new(secret.encode(), url.encode() + body, hashlib.sha256).digest()).decode()


def hear(
    body: bytes,
    signature: str | None = None,
    *,
    subscription: Subscription = SUBSCRIPTION,
    unix_seconds: int = CREATED_AT_UNIX,
) -> Event | NotGenuine:
    headers = {"X-Square-HmacSha256-Signature": sign(body) if signature is None else signature}
    return read_event(headers=headers, body=body, subscription=subscription, unix_seconds=unix_seconds)


def heard(event: object) -> Event:
    read = hear(json.dumps(event).encode())
    assert isinstance(read, Event), read
    return read


BODY = json.dumps(payment_event()).encode()


def test_an_event_of_a_payment_names_it() -> None:
    assert hear(BODY) == Event(
        event_id="6a8f5f28-54a1-4eb0-a98a-3111513fd4fc",
        kind="payment.updated",
        tells=Tells.MONEY,
        payment_id=PAYMENT_ID,
        charge_reference="hYy9pRFVxpDsO1FB05SunFWUe9JZY",
        is_timely=True,
        account=MERCHANT,
    )


def test_square_s_own_helper_agrees_about_what_is_genuine() -> None:
    signature = sign(BODY)
    for body, mark, key, url in [
        (BODY, signature, SECRET, URL),
        (BODY + b" ", signature, SECRET, URL),
        (BODY, signature, OTHER_SECRET, URL),
        (BODY, signature, SECRET, URL.rstrip("/")),
        (BODY, sign(BODY, url=URL.upper()), SECRET, URL),
    ]:
        theirs = verify_signature(
            request_body=body.decode(), signature_header=mark, signature_key=key, notification_url=url
        )
        ours = hear(body, mark, subscription=Subscription(secrets=(key,), notification_url=url))
        assert isinstance(ours, Event) is theirs


def test_the_face_signs_as_square_does() -> None:
    (header, mark), *others = SquareFace.sign_event(
        BODY, url=URL, secrets=[SECRET, OTHER_SECRET], unix_seconds=1
    ).items()
    assert others == []
    assert header == SIGNATURE_HEADER
    assert verify_signature(
        request_body=BODY.decode(), signature_header=mark, signature_key=SECRET, notification_url=URL
    )


def test_either_of_two_keys_fits_while_one_takes_the_place_of_the_other() -> None:
    both = Subscription(secrets=("new-key", SECRET), notification_url=URL)
    assert isinstance(hear(BODY, subscription=both), Event)
    assert isinstance(hear(BODY, sign(BODY, secret="new-key"), subscription=both), Event)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "=",
        sign(BODY, secret=OTHER_SECRET),
        sign(BODY, url="https://pay.example/"),
        sign(BODY[:-1]),
        sign(BODY)[:-1],
        sign(BODY) + "=",
        f" {sign(BODY)}",
        f"{sign(BODY)}, {sign(BODY)}",
        f"{sign(BODY, secret=OTHER_SECRET)},{sign(BODY)}",
        base64.b64decode(sign(BODY)).hex(),
        hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest(),
        base64.b64encode(hmac.new(SECRET.encode(), URL.encode() + BODY, hashlib.sha1).digest()).decode(),
        "\x00",
        "\udcff",
        "ü" * 44,
    ],
)
def test_what_is_not_signed_by_square_is_not_taken(signature: str) -> None:
    assert isinstance(hear(BODY, signature), NotGenuine)


@pytest.mark.parametrize("changed", [BODY[:-1], BODY + b"\n", BODY.replace(b"1250", b"1251"), b"", BODY[1:]])
def test_a_changed_body_is_not_taken(changed: bytes) -> None:
    assert isinstance(hear(changed, sign(BODY)), NotGenuine)


def test_the_older_header_is_not_taken() -> None:
    mark = base64.b64encode(hmac.new(SECRET.encode(), URL.encode() + BODY, hashlib.sha1).digest()).decode()
    headers = {"X-Square-Signature": mark}
    read = read_event(headers=headers, body=BODY, subscription=SUBSCRIPTION, unix_seconds=CREATED_AT_UNIX)
    assert isinstance(read, NotGenuine)


def test_without_a_key_or_an_address_nothing_is_taken() -> None:
    for none in (Subscription(secrets=(), notification_url=URL), Subscription(secrets=(SECRET,), notification_url="")):
        assert isinstance(hear(BODY, subscription=none), NotGenuine)
        assert isinstance(hear(BODY, sign(BODY, url=""), subscription=none), NotGenuine)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"payment"',
        b"not json",
        b"[" * 100_000,
        b"\xff",
        json.dumps(payment_event(id="")).encode(),
        json.dumps(payment_event(id=None)).encode(),
        json.dumps(payment_event(id=5)).encode(),
        json.dumps(payment_event(reference_id="pay_\x00")).encode(),
        json.dumps(payment_event(reference_id="pay_\ud800")).encode(),
        json.dumps(payment_event(reference_id=["pay_1"])).encode(),
        json.dumps(payment_event(note="\x00")).encode(),
        json.dumps(payment_event(id="x" * 256)).encode(),
        json.dumps({**payment_event(), "event_id": ""}).encode(),
        json.dumps({**payment_event(), "event_id": "x" * 256}).encode(),
        json.dumps({**payment_event(), "type": None}).encode(),
        json.dumps({**payment_event(), "type": "x" * 65}).encode(),
        json.dumps({**payment_event(), "merchant_id": ["x"]}).encode(),
        json.dumps({**payment_event(), "created_at": None}).encode(),
        json.dumps({**payment_event(), "created_at": 1_795_305_600}).encode(),
        json.dumps({**payment_event(), "created_at": "yesterday"}).encode(),
        json.dumps({**payment_event(), "created_at": "2026-11-22T00:00:00"}).encode(),
    ],
)
def test_what_is_signed_and_no_event_is_not_taken(body: bytes) -> None:
    assert isinstance(hear(body), NotGenuine)


def test_an_event_of_another_account_is_not_taken() -> None:
    other = json.dumps({**payment_event(), "merchant_id": "OTHER"}).encode()
    assert isinstance(hear(other), NotGenuine)
    whoever = Subscription(secrets=(SECRET,), notification_url=URL)
    read = hear(other, subscription=whoever)
    assert isinstance(read, Event)
    assert read.account == "OTHER"


@pytest.mark.parametrize(("seconds", "is_timely"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)])
def test_one_that_is_old_or_from_the_future_is_taken_and_marked(seconds: int, is_timely: bool) -> None:
    read = hear(BODY, unix_seconds=CREATED_AT_UNIX + seconds)
    assert isinstance(read, Event)
    assert read.is_timely is is_timely


@pytest.mark.parametrize(
    ("status", "tells"),
    [
        ("APPROVED", Tells.MONEY),
        ("PENDING", Tells.MONEY),
        ("COMPLETED", Tells.MONEY),
        ("CANCELED", Tells.NO_MONEY),
        ("FAILED", Tells.NO_MONEY),
        ("SOMETHING_NEW", Tells.UNKNOWN),
        (None, Tells.UNKNOWN),
        (["COMPLETED"], Tells.UNKNOWN),
    ],
)
def test_a_payment_s_status_says_what_is_told(status: object, tells: Tells) -> None:
    assert heard(payment_event(status=status)).tells is tells


def test_money_that_went_back_is_told() -> None:
    refunded = {"amount": 1250, "currency": "USD"}
    assert heard(payment_event(refunded_money=refunded)).tells is Tells.RETURNED
    nothing: list[object] = [{"amount": 0, "currency": "USD"}, {"amount": [1250]}, {"amount": {}}, {}, 5]
    for none in nothing:
        assert heard(payment_event(refunded_money=none)).tells is Tells.MONEY


def test_a_payment_on_square_s_page_is_known_by_its_note() -> None:
    read = heard(payment_event(reference_id=None, note=PAYMENT_ID))
    assert (read.payment_id, read.charge_reference) == (PAYMENT_ID, "")


def test_a_field_that_is_null_is_one_that_is_missing() -> None:
    event = payment_event()
    event["data"]["object"]["payment"] |= {"note": None, "reference_id": None, "refunded_money": None}
    read = heard(event)
    assert (read.tells, read.payment_id, read.charge_reference) == (Tells.MONEY, "", "")


def test_an_event_of_a_refund_names_their_payment_only() -> None:
    """As documented: developer.squareup.com/reference/square/webhooks/refund.updated."""
    refund = {"id": "KkAkhdMsgzn59SM8A89WgKwekxLZY_ptNB", "status": "COMPLETED", "payment_id": "KkAkhdMsgzn59SM8A89W"}
    event = {**payment_event(), "type": "refund.updated", "data": {"type": "refund", "object": {"refund": refund}}}
    read = heard(event)
    assert (read.tells, read.payment_id, read.charge_reference) == (Tells.RETURNED, "", "KkAkhdMsgzn59SM8A89W")


@pytest.mark.parametrize("status", ["PENDING", "FAILED", "REJECTED", "SOMETHING_NEW", None, ["COMPLETED"]])
def test_a_refund_that_is_not_done_or_failed_later_is_to_be_asked_about(status: object) -> None:
    refund = {"id": "R", "status": status, "payment_id": "P"}
    event = {**payment_event(), "type": "refund.updated", "data": {"type": "refund", "object": {"refund": refund}}}
    read = heard(event)
    assert (read.tells, read.payment_id, read.charge_reference) == (Tells.UNKNOWN, "", "P")


def test_a_subscription_does_not_show_its_secrets() -> None:
    shown = repr(Subscription(secrets=(SECRET, OTHER_SECRET), notification_url=URL))
    assert SECRET not in shown
    assert OTHER_SECRET not in shown


@pytest.mark.parametrize("data", [{}, None, [], {"object": None}, {"object": {"order_updated": {"order_id": "x"}}}])
def test_an_event_of_something_else_is_taken_and_tells_nothing(data: object) -> None:
    read = heard({**payment_event(), "type": "order.updated", "data": data})
    assert (read.tells, read.payment_id, read.charge_reference) == (Tells.UNKNOWN, "", "")
