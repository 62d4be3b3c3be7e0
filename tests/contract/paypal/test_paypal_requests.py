"""Every request that the adapter makes, and every answer of the sandbox's face, against PayPal's own description."""

import json
import zlib

import pytest

from payments.domain.outcomes import Authorized, Captured, Declined, NotFound, Pending, Undone
from payments.gateways.protocol import Event
from tests.contract.paypal.asking import Paying, charge_request, order_of
from tests.contract.paypal.bench import DESCRIBED
from tests.contract.published import complaints_about_answer, complaints_about_request
from tests.contract.recording import Exchange, Recorder
from tests.contract.sandbox_server import SandboxProcess

WEBHOOK_ID = "1JE4291016473214C"


def assert_as_described(calls: list[Exchange]) -> None:
    for call in calls:
        assert complaints_about_request(call, by=DESCRIBED) == [], call
        assert complaints_about_answer(call, by=DESCRIBED) == [], call


def shapes(calls: list[Exchange]) -> list[str]:
    """What was asked for, without ids."""
    return [
        f"{call.method} " + "/".join("*" if part[:1].isdigit() else part for part in call.path.split("/")[3:])
        for call in calls
    ]


def test_a_hold_its_capture_and_its_refund(heard: Paying, recorder: Recorder) -> None:
    order = order_of(heard.authorize())
    assert heard.capture(order) == Captured(order)
    assert isinstance(heard.refund(order, amount_minor=300), Captured)
    assert isinstance(heard.look_up(order), Captured)
    assert_as_described(recorder.calls)
    assert shapes(recorder.calls) == [
        "POST orders",
        "POST orders/*/authorize",
        "GET orders/*",
        "POST authorizations/*/capture",
        "GET orders/*",
        "POST captures/*/refund",
        "GET orders/*",
    ]


@pytest.mark.parametrize("token", ["tok_ok", "card:tok_ok", "paypal:tok_ok"])
def test_a_sale_with_each_kind_of_token(heard: Paying, recorder: Recorder, token: str) -> None:
    assert isinstance(heard.charge(charge_request(token=token)), Captured)
    assert_as_described(recorder.calls)
    assert shapes(recorder.calls) == ["POST orders", "POST orders/*/capture"]


def test_a_void_and_a_second_one(heard: Paying, recorder: Recorder) -> None:
    order = order_of(heard.authorize())
    assert isinstance(heard.void(order), Undone)
    assert isinstance(heard.void(order), Undone)
    assert_as_described(recorder.calls)
    assert shapes(recorder.calls)[2:] == ["GET orders/*", "POST authorizations/*/void", "GET orders/*"]


def test_a_page_and_looking_for_it(heard: Paying, recorder: Recorder) -> None:
    request = charge_request(token="", currency="JPY")
    order = order_of(heard.authorize(request))
    assert isinstance(heard.look_up(order, charge=request), Pending)
    assert heard.look_up(charge=request) == NotFound()
    assert_as_described(recorder.calls)
    assert shapes(recorder.calls) == [
        "POST orders",
        "GET orders/*",
        "GET orders/*",
        *["POST orders", "GET orders/*"] * 2,
    ]


def test_an_approved_order_is_paid_without_a_source(sandbox: SandboxProcess, heard: Paying, recorder: Recorder) -> None:
    request = charge_request(token="")
    order = order_of(heard.authorize(request))
    sandbox.settle(order, "pay")
    assert heard.authorize(request) == Authorized(order)
    assert_as_described(recorder.calls)
    assert recorder.calls[-1].body == b"{}"


def test_an_unpaid_order_is_ended(heard: Paying, recorder: Recorder) -> None:
    order = order_of(heard.authorize(charge_request(token="")))
    assert isinstance(heard.void(order), Undone)
    assert_as_described(recorder.calls)
    assert json.loads(recorder.calls[-2].body) == [{"op": "replace", "path": "/intent", "value": "CAPTURE"}]


@pytest.mark.parametrize("token", ["tok_declined", "tok_stolen_card", "tok_authentication_required"])
def test_refusals_are_worded_as_paypal_words_them(heard: Paying, recorder: Recorder, token: str) -> None:
    assert isinstance(heard.authorize(charge_request(token=token)), Declined)
    assert [complaints_about_request(call, by=DESCRIBED) for call in recorder.calls] == [[], []]


def test_the_same_attempt_makes_the_same_requests_byte_for_byte(heard: Paying, recorder: Recorder) -> None:
    heard.authorize()
    heard.authorize()
    first, second = recorder.calls[:2], recorder.calls[2:]
    assert [(call.method, call.path, call.body) for call in first] == [
        (call.method, call.path, call.body) for call in second
    ]
    keys = [call.headers["paypal-request-id"] for call in recorder.calls]
    assert keys[:2] == keys[2:]
    assert len(set(keys[:2])) == 2


def test_amounts_are_texts_in_the_currencys_digits(heard: Paying, recorder: Recorder) -> None:
    for currency in ("USD", "JPY"):
        heard.authorize(charge_request(currency=currency, amount_minor=1250, key=currency))
    amounts = [json.loads(call.body)["purchase_units"][0]["amount"] for call in recorder.calls[::2]]
    assert amounts == [{"currency_code": "USD", "value": "12.50"}, {"currency_code": "JPY", "value": "1250"}]


def test_paypal_is_asked_whether_it_sent_an_event(recorder: Recorder) -> None:
    body = json.dumps({"id": "WH-1", "event_type": "PAYMENT.CAPTURE.COMPLETED", "resource": {"custom_id": "pay_1"}})
    headers = {
        "PAYPAL-AUTH-ALGO": "SHA256withRSA",
        "PAYPAL-CERT-URL": f"{recorder.url}/paypal/v1/notifications/certs/CERT-1",
        "PAYPAL-TRANSMISSION-ID": "a69cd13f0-d67a-11e5-baa3-778b53f4ae55",
        "PAYPAL-TRANSMISSION-SIG": "lmI95Jx3Y9nhR5SJWlHVIWpg4AgFk7n9bCHSRxbrd8A9zrhdu2rMyFrmz+A=",
        "PAYPAL-TRANSMISSION-TIME": "2026-02-18T20:01:35Z",
    }
    with Paying(url=recorder.url, webhook_verification="api", webhook_secrets=WEBHOOK_ID) as asking:
        seen = asking.gateway.read_event(headers=headers, body=body.encode(), unix_seconds=1_771_444_895)
    assert not isinstance(seen, Event)
    assert_as_described(recorder.calls)
    sent = recorder.calls[-1].body
    assert body.encode() in sent  # Byte for byte, or its checksum would be another.
    assert zlib.crc32(body.encode()) == zlib.crc32(sent[sent.index(b'{"id"') : -1])
