"""What every gateway sends word of: signed, known again however often and in whatever order it comes, and about us."""

import pytest

from payments import clocks
from payments.domain.outcomes import Authorized, Captured, Pending
from payments.gateways.protocol import Event, NotGenuine, Tells
from tests.contract.sandbox_server import WEBHOOK_SECRET, wait_until
from tests.contract.suite.till import PAYMENT, Till
from tests.receiver import Receiver, Request

LATE_SECONDS = 400


def hear(till: Till, request: Request, *, unix_seconds: int) -> Event | NotGenuine:
    return till.gateway.read_event(headers=request.headers, body=request.body, unix_seconds=unix_seconds)


def now() -> int:
    return int(clocks.wall_seconds())  # The sandbox process reads the same clock.


@pytest.fixture
def told(till: Till, receiver: Receiver) -> Till:
    till.books.settings(webhook={"url": receiver.url, "secrets": [WEBHOOK_SECRET]})
    return till


def wait_for(receiver: Receiver, count: int) -> list[Request]:
    wait_until(lambda: len(receiver.requests) >= count, what=f"{count} events")
    return list(receiver.requests)


def pay(till: Till) -> str:
    """Begin a payment and have it paid; returns what the gateway calls the charge."""
    outcome = till.begin(till.request())
    if isinstance(outcome, Pending):
        till.customer(outcome.reference, "pay")
    assert isinstance(outcome, Authorized | Captured | Pending), outcome
    return outcome.reference


def test_an_event_names_the_payment_and_what_it_is_about(told: Till, receiver: Receiver) -> None:
    charge = pay(told)
    heard = [hear(told, request, unix_seconds=now()) for request in wait_for(receiver, 1)]
    events = [event for event in heard if isinstance(event, Event)]
    assert events == heard
    assert any(event.tells is Tells.MONEY for event in events)
    for event in events:
        assert event.is_timely is told.bench.signs_bodies  # A time that nobody signed says nothing.
        assert event.payment_id in {PAYMENT, ""}
        assert event.charge_reference in {charge, ""}
        assert event.payment_id or event.charge_reference
        assert event.event_id


def test_one_that_comes_twice_is_the_same_event(told: Till, receiver: Receiver) -> None:
    told.books.settings(webhook={"duplicates": 2})
    pay(told)
    requests = wait_for(receiver, 3)
    ids = {
        event.event_id
        for request in requests[:3]
        if isinstance(event := hear(told, request, unix_seconds=now()), Event)
    }
    assert len(ids) == 1


def test_one_that_comes_late_is_heard_and_not_called_timely(told: Till, receiver: Receiver) -> None:
    pay(told)
    (request, *_) = wait_for(receiver, 1)
    for skew_seconds in (LATE_SECONDS, -LATE_SECONDS):
        event = hear(told, request, unix_seconds=now() + skew_seconds)
        assert isinstance(event, Event)
        assert not event.is_timely


def test_whatever_their_order_each_is_heard(told: Till, receiver: Receiver) -> None:
    told.books.settings(webhook={"reorder": 2})
    charge = told.taken()
    told.refund(charge)
    events = [hear(told, request, unix_seconds=now()) for request in wait_for(receiver, 2)]
    assert all(isinstance(event, Event) for event in events)
    assert {event.tells for event in events if isinstance(event, Event)} >= {Tells.RETURNED}


def test_a_changed_body_or_another_secret_is_not_genuine(told: Till, receiver: Receiver) -> None:
    pay(told)
    (request, *_) = wait_for(receiver, 1)
    tampered = Request(
        path=request.path, headers=request.headers, body=request.body.replace(b"1250", b"9999", 1) + b" "
    )
    stripped = Request(path=request.path, headers={"content-type": "application/json"}, body=request.body)
    cut = Request(path=request.path, headers=request.headers, body=request.body[:-1])
    assert isinstance(hear(told, stripped, unix_seconds=now()), NotGenuine)
    for forged in (tampered, cut):
        heard = hear(told, forged, unix_seconds=now())
        # A gateway that does not sign the body can only have its events asked about.
        assert isinstance(heard, NotGenuine) or not told.bench.signs_bodies
    told.books.reset()
    receiver.requests.clear()
    told.books.settings(webhook={"url": receiver.url, "secrets": ["whsec_of_somebody_else"]})
    pay(told)
    (other, *_) = wait_for(receiver, 1)
    assert isinstance(hear(told, other, unix_seconds=now()), NotGenuine)
