"""What PayPal's face sends word of, and what else might come in its name."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from payments.domain.outcomes import Pending
from payments.gateways.protocol import Event, NotGenuine, Tells
from tests.contract.paypal.asking import REFERENCE, Paying, charge_request, order_of, seconds_ago
from tests.contract.sandbox_server import WEBHOOK_SECRET, SandboxProcess, wait_until
from tests.receiver import Receiver, Request, listening

OTHER_ID = "5GP028458E2496506"


@pytest.fixture
def receiver(sandbox: SandboxProcess) -> Iterator[Receiver]:
    with listening() as started:
        sandbox.settings(webhook={"url": started.url, "secrets": [WEBHOOK_SECRET]})
        yield started
        sandbox.reset()  # Back to no address, before the receiver is gone.


def hear(paying: Paying, request: Request, *, at: int | None = None) -> Event | NotGenuine:
    now = seconds_ago(0) if at is None else at
    return paying.gateway.read_event(headers=request.headers, body=request.body, unix_seconds=now)


def events(paying: Paying, receiver: Receiver, count: int) -> list[Event]:
    wait_until(lambda: len(receiver.requests) >= count, what=f"{count} events")
    heard = [hear(paying, request) for request in receiver.requests]
    found = [event for event in heard if isinstance(event, Event)]
    assert found == heard
    return found


@pytest.fixture
def event(paying: Paying, receiver: Receiver) -> Request:
    """One that is genuine."""
    paying.authorize()
    wait_until(lambda: len(receiver.requests) == 1, what="an event")
    return receiver.requests[0]


@pytest.mark.parametrize("verification", ["certificate", "api"])
def test_a_payments_life_is_told(sandbox: SandboxProcess, receiver: Receiver, verification: str) -> None:
    with Paying(url=sandbox.url, webhook_verification=verification) as paying:
        order = order_of(paying.authorize())
        paying.capture(order)
        paying.refund(order, amount_minor=300)
        told = [
            (event.kind, event.tells, event.payment_id, event.charge_reference, event.is_timely)
            for event in events(paying, receiver, 3)
        ]
    assert told == [
        ("PAYMENT.AUTHORIZATION.CREATED", Tells.MONEY, REFERENCE, order, True),
        ("PAYMENT.CAPTURE.COMPLETED", Tells.MONEY, REFERENCE, order, True),
        ("PAYMENT.CAPTURE.REFUNDED", Tells.RETURNED, REFERENCE, "", True),  # A refund does not name the order.
    ]


def test_an_approval_is_told_and_an_order_that_nobody_paid_is_not(
    sandbox: SandboxProcess, paying: Paying, receiver: Receiver
) -> None:
    first = order_of(paying.authorize(charge_request(token="")))
    assert isinstance(paying.authorize(charge_request(token="")), Pending)
    sandbox.settle(first, "pay")
    (approved,) = events(paying, receiver, 1)
    assert (approved.kind, approved.tells) == ("CHECKOUT.ORDER.APPROVED", Tells.MONEY)
    assert (approved.payment_id, approved.charge_reference) == (REFERENCE, first)


@pytest.mark.parametrize(
    ("token", "action", "kind", "tells"),
    [
        ("tok_pending", "decline", "PAYMENT.CAPTURE.DECLINED", Tells.NO_MONEY),
        ("tok_pending", "pay", "PAYMENT.CAPTURE.COMPLETED", Tells.MONEY),
    ],
)
def test_what_was_pending_is_told(
    sandbox: SandboxProcess, paying: Paying, receiver: Receiver, token: str, action: str, kind: str, tells: Tells
) -> None:
    order = order_of(paying.charge(charge_request(token=token)))
    sandbox.settle(order, action)
    told = events(paying, receiver, 2)
    assert [(event.kind, event.tells) for event in told] == [("PAYMENT.CAPTURE.PENDING", Tells.MONEY), (kind, tells)]
    assert {event.charge_reference for event in told} == {order}


def test_a_void_is_told(paying: Paying, receiver: Receiver) -> None:
    paying.void(order_of(paying.authorize()))
    assert [event.tells for event in events(paying, receiver, 2)] == [Tells.MONEY, Tells.NO_MONEY]


def test_one_that_is_told_twice_is_the_same(sandbox: SandboxProcess, paying: Paying, receiver: Receiver) -> None:
    sandbox.settings(webhook={"duplicates": 1})
    paying.charge()
    first, second = events(paying, receiver, 2)
    assert first == second
    marks = [request.headers["paypal-transmission-id"] for request in receiver.requests]
    assert marks[0] != marks[1]  # Each delivery is signed anew.


@pytest.mark.parametrize(("seconds", "is_timely"), [(300, True), (301, False), (-300, True), (-302, False)])
def test_an_old_or_a_future_one_is_heard_and_not_timely(
    paying: Paying, event: Request, seconds: int, is_timely: bool
) -> None:
    signed_at = seconds_ago(0)
    heard = hear(paying, event, at=signed_at + seconds - (1 if 0 < seconds <= 300 else 0))
    assert isinstance(heard, Event)
    assert heard.is_timely is is_timely


def test_several_of_our_webhooks_may_be_meant(sandbox: SandboxProcess, event: Request) -> None:
    with Paying(url=sandbox.url, webhook_secrets=f"{OTHER_ID}, {WEBHOOK_SECRET}") as both:
        assert isinstance(hear(both, event), Event)
    for others in (OTHER_ID, "", " , "):
        with Paying(url=sandbox.url, webhook_secrets=others) as deaf:
            assert isinstance(hear(deaf, event), NotGenuine)


def _tampered(event: Request) -> Iterator[tuple[str, Request]]:
    body, headers = event.body, event.headers
    yield "another amount", replace(event, body=body.replace(b"12.50", b"99.50", 1))
    yield "a byte more", replace(event, body=body + b" ")
    yield "a byte less", replace(event, body=body[:-1])
    yield "nothing", replace(event, body=b"")
    for name in [name for name in headers if name.startswith("paypal-")]:
        yield f"no {name}", replace(event, headers={key: value for key, value in headers.items() if key != name})
        yield f"an empty {name}", replace(event, headers=headers | {name: ""})
        yield f"another {name}", replace(event, headers=headers | {name: "x" + headers[name][1:]})
        yield f"a NUL in {name}", replace(event, headers=headers | {name: headers[name] + "\x00"})
        yield f"{name} twice", replace(event, headers=headers | {name: f"{headers[name]}, {headers[name]}"})
        yield f"an endless {name}", replace(event, headers=headers | {name: headers[name] * 200})
    yield "a bar in the id", replace(event, headers=headers | {"paypal-transmission-id": "a|b"})
    yield "another scheme", replace(event, headers=headers | {"paypal-auth-algo": "SHA1withRSA"})
    yield "no signature", replace(event, headers=headers | {"paypal-transmission-sig": "AAAA"})
    yield "no time of day", replace(event, headers=headers | {"paypal-transmission-time": "2026-99-99T00:00:00Z"})


@pytest.mark.parametrize("verification", ["certificate", "api"])
def test_what_was_tampered_with_is_not_genuine(sandbox: SandboxProcess, event: Request, verification: str) -> None:
    with Paying(url=sandbox.url, webhook_verification=verification) as paying:
        assert isinstance(hear(paying, event), Event)
        for what, tampered in _tampered(event):
            assert isinstance(hear(paying, tampered), NotGenuine), what


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1",
        "{origin}/paypal/../v1/notifications/certs/CERT-1",
        "{origin}/paypal/v1/notifications/certs/../../../control/health",
        "{origin}/paypal/v1/notifications/certs/CERT-1?x=1",
        "{origin}/paypal/v1/notifications/certs/CERT-1#x",
        "{origin}/paypal/v1/notifications/certs/",
        "{origin}.evil.example/paypal/v1/notifications/certs/CERT-1",
    ],
)
def test_a_certificate_is_fetched_from_paypal_only(
    sandbox: SandboxProcess, paying: Paying, event: Request, address: str
) -> None:
    strange = event.headers | {"paypal-cert-url": address.format(origin=sandbox.url)}
    heard = hear(paying, replace(event, headers=strange))
    assert heard == NotGenuine("the signature does not fit")


def test_a_certificate_that_cannot_be_had_says_so(sandbox: SandboxProcess, paying: Paying, event: Request) -> None:
    address = f"{sandbox.url}/paypal/v1/notifications/certs/CERT-0"
    heard = hear(paying, replace(event, headers=event.headers | {"paypal-cert-url": address}))
    assert heard == NotGenuine("it could not be verified now")


def test_a_certificate_is_fetched_once(sandbox: SandboxProcess, paying: Paying, event: Request) -> None:
    assert isinstance(hear(paying, event), Event)
    sandbox.stop()
    try:
        assert isinstance(hear(paying, event), Event)
    finally:
        sandbox.start()


def test_a_certificate_after_its_time_vouches_for_nothing(paying: Paying, event: Request) -> None:
    years = 2 * 366 * 24 * 3600
    assert isinstance(hear(paying, event, at=seconds_ago(-years)), NotGenuine)
    assert isinstance(hear(paying, event, at=seconds_ago(years)), NotGenuine)


def test_an_unknown_kind_is_heard_as_such(paying: Paying, event: Request) -> None:
    read = json.loads(event.body)
    assert read["event_type"] == "PAYMENT.AUTHORIZATION.CREATED"
    heard = hear(paying, event)
    assert isinstance(heard, Event)
    assert heard.event_id == read["id"]
