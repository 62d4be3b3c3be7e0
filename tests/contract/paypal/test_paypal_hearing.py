"""What is read of an event once it is known to be PayPal's."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from payments.gateways.paypal.adapter import PayPalGateway
from payments.gateways.paypal.hearing import Ear, Signed
from payments.gateways.protocol import Event, NotGenuine, Tells
from tests.contract.paypal.bodies import ORDER, REFERENCE

HEADERS = {
    "Paypal-Auth-Algo": "SHA256withRSA",
    "Paypal-Cert-Url": "https://api.paypal.com/v1/notifications/certs/CERT-1",
    "Paypal-Transmission-Id": "b1",
    "Paypal-Transmission-Sig": "AAAA",
    "Paypal-Transmission-Time": "2026-11-22T00:00:00.123Z",
}
AT = 1_795_305_600


class Trusting:
    """Says that PayPal signed everything."""

    def is_signed(self, signed: Signed, *, webhook_ids: Sequence[str], unix_seconds: int) -> bool:
        del signed, webhook_ids, unix_seconds
        return True

    def close(self) -> None:
        """Nothing is open."""


def hear(body: object, **headers: str) -> Event | NotGenuine:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    ear = Ear(webhook_ids=["1"], verifier=Trusting())
    return ear.read_event(headers=HEADERS | headers, body=raw, unix_seconds=AT)


def event(kind: str = "PAYMENT.CAPTURE.COMPLETED", **changes: Any) -> dict[str, Any]:
    resource = {"id": "3C", "custom_id": REFERENCE, "supplementary_data": {"related_ids": {"order_id": ORDER}}}
    return {"id": "WH-1", "event_type": kind, "resource_type": "capture", "resource": resource, **changes}


@pytest.mark.parametrize(
    ("kind", "tells"),
    [
        ("PAYMENT.CAPTURE.COMPLETED", Tells.MONEY),
        ("PAYMENT.CAPTURE.DENIED", Tells.NO_MONEY),
        ("CUSTOMER.DISPUTE.CREATED", Tells.UNKNOWN),
    ],
)
def test_each_kind_tells_what_it_is_about(kind: str, tells: Tells) -> None:
    expected = Event(
        event_id="WH-1", kind=kind, tells=tells, payment_id=REFERENCE, charge_reference=ORDER, is_timely=True
    )
    assert hear(event(kind)) == expected


@pytest.mark.parametrize("kind", ["PAYMENT.CAPTURE.REFUNDED", "PAYMENT.CAPTURE.REVERSED"])
def test_only_a_refund_that_is_completed_says_that_money_went_back(kind: str) -> None:
    said = event(kind)
    for status, tells in [
        ("COMPLETED", Tells.RETURNED),
        ("FAILED", Tells.UNKNOWN),
        ("CANCELLED", Tells.UNKNOWN),
        ("PENDING", Tells.UNKNOWN),
        (None, Tells.UNKNOWN),
    ]:
        heard = hear({**said, "resource": {**said["resource"], "status": status}})
        assert isinstance(heard, Event)
        assert heard.tells is tells, status


@pytest.mark.parametrize("kind", ["PAYMENT.REFUND.FAILED", "PAYMENT.REFUND.PENDING"])
def test_a_refund_that_changed_makes_us_ask(kind: str) -> None:
    heard = hear(event(kind))
    assert isinstance(heard, Event)
    assert heard.tells is Tells.UNKNOWN


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"custom_id": None}, ("", ORDER)),
        ({"supplementary_data": {"related_ids": {"order_id": None}}}, (REFERENCE, "")),
        ({"supplementary_data": {"related_ids": None}}, (REFERENCE, "")),
        ({"supplementary_data": None}, (REFERENCE, "")),
    ],
)
def test_what_an_event_leaves_empty_it_does_not_name(changes: dict[str, Any], names: tuple[str, str]) -> None:
    heard = hear(event(resource={**event()["resource"], **changes}))
    assert isinstance(heard, Event)
    assert (heard.payment_id, heard.charge_reference) == names


def test_an_order_that_leaves_its_names_empty_names_nobody() -> None:
    order = {"id": None, "status": "APPROVED", "purchase_units": [{"custom_id": None}]}
    heard = hear(event("CHECKOUT.ORDER.APPROVED", resource_type="checkout-order", resource=order))
    assert isinstance(heard, Event)
    assert (heard.payment_id, heard.charge_reference) == ("", "")


def test_an_event_of_something_else_names_nobody() -> None:
    heard = hear(event(resource={"id": "x"}))
    assert isinstance(heard, Event)
    assert (heard.payment_id, heard.charge_reference) == ("", "")


def test_an_order_names_itself() -> None:
    order = {"id": ORDER, "purchase_units": [{"custom_id": REFERENCE}]}
    heard = hear(event("CHECKOUT.ORDER.APPROVED", resource_type="checkout-order", resource=order))
    assert isinstance(heard, Event)
    assert (heard.payment_id, heard.charge_reference) == (REFERENCE, ORDER)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[" * 100_000,
        [],
        7,
        {},
        event(id=""),
        event(id=7),
        event(id="x" * 256),
        event(id="a\x00b"),
        event(id="\ud800"),
        event(""),
        event("x" * 65),
        event(resource=None),
        event(resource={}),
        event(resource={"custom_id": 7}),
        event(resource={"custom_id": "a\x00b"}),
        event(resource={"custom_id": "x", "supplementary_data": {"related_ids": {"order_id": ["a"]}}}),
    ],
)
def test_what_is_no_event_is_not_genuine(body: object) -> None:
    assert hear(body) == NotGenuine("the body is no event")


@pytest.mark.parametrize(
    "time",
    ["", "now", "1795305600", "2026-11-22", "2026-11-22T00:00:00", "2026-11-22T24:61:00Z"],
)
def test_a_time_that_cannot_be_read_is_not_genuine(time: str) -> None:
    assert isinstance(hear(event(), **{"Paypal-Transmission-Time": time}), NotGenuine)


def test_a_time_elsewhere_is_the_same_time() -> None:
    heard = hear(event(), **{"Paypal-Transmission-Time": "2026-11-22T01:00:00+01:00"})
    assert isinstance(heard, Event)
    assert heard.is_timely


def test_what_it_is_made_of_is_checked() -> None:
    good = {"url": "https://api-m.paypal.com", "client_id": "a", "client_secret": "b"}
    PayPalGateway.from_settings(good, connect_seconds=1).close()
    with pytest.raises(ValueError, match="certificate or api"):
        PayPalGateway.from_settings(good | {"webhook_verification": "trust"}, connect_seconds=1)


def test_certificates_are_on_paypals_other_host() -> None:
    from payments.gateways.paypal.certificates import host_of  # of this test alone

    assert host_of("https://api-m.paypal.com") == "https://api.paypal.com"
    assert host_of("https://api-m.sandbox.paypal.com") == "https://api.sandbox.paypal.com"
    assert host_of("http://127.0.0.1:8100/paypal") == "http://127.0.0.1:8100/paypal"
