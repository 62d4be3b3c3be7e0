"""What is announced, when, and that it stands or falls with what it tells."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import clocks, guard, lifecycle, locks
from payments.domain.announcements import ANNOUNCED_STATES, AnnouncementKind, GivenBack, notice_from
from payments.domain.errors import PaymentExpired
from payments.domain.ids import Prefix, parse_public_id
from payments.domain.states import AttemptState
from payments.lifecycle.announce import stage
from payments.lifecycle.claim import NotClaimed
from payments.lifecycle.expire import Over, expire_locked_orders
from payments.lifecycle.transition import move_attempt
from payments.models import Announcement, AnnouncementDelivery, PaymentAttempt, StockItem
from payments.transactions import transaction as committed
from tests import factories
from tests.contract.sandbox_server import SandboxProcess

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("destinations")]

K = AnnouncementKind


@pytest.fixture
def attempt(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.place_order(customer=customer, item=item, quantity=2, order_id="ORD-7")


def announced() -> list[tuple[str, int, str]]:
    """(order, number, kind) of everything, in the order of the ids."""
    rows = Announcement.objects.select_related("order").order_by("id")
    return [(row.order.order_id, row.number, row.kind) for row in rows]


@contextmanager
def rolled_back() -> Iterator[None]:
    """A transaction that is broken off after its last statement."""
    with suppress(InterruptedError), committed():
        yield
        raise InterruptedError


def fail(attempt: PaymentAttempt, *, now: datetime) -> None:
    """Move a queued attempt on to a failure, inside the caller's transaction."""
    move_attempt(
        attempt, to=AttemptState.CHARGING, now=now, actor="test", reason="x", due_at=now, fence=1, gateway_key="k"
    )
    move_attempt(attempt, to=AttemptState.FAILED, now=now, actor="test", reason="x", failure_code="expired_card")


# Staging


@pytest.mark.breaks_invariants  # The attempt is moved without its order.
def test_an_announcement_says_what_the_row_says_and_is_owed_to_every_destination(
    attempt: PaymentAttempt, destinations: list[str]
) -> None:
    factories.submit(attempt, token="tok_visa")
    now = clocks.database_now()
    with committed():
        fail(attempt, now=now)
        row = stage(kind=K.PAYMENT_FAILED, order=attempt.order, attempt=attempt, now=now)
    row.refresh_from_db()
    assert parse_public_id(Prefix.ANNOUNCEMENT, row.payload["id"]) == row.id
    assert row.payload == {
        "version": 1,
        "id": row.public_id,
        "number": 1,
        "kind": "payment_failed",
        "created_at": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "order_id": "ORD-7",
        "payment_id": attempt.public_id,
        "state": "failed",
        "amount_minor": 2500,
        "currency": "USD",
        "failure_code": "expired_card",
        "reason": None,
        "given_back": None,
        "message": "The card has expired. You have not been charged.",
    }
    assert (row.kind, row.number, row.order_id, row.attempt, row.created_at) == (
        "payment_failed",
        1,
        attempt.order_id,
        attempt,
        now,
    )
    waiting = AnnouncementDelivery.objects.order_by("destination").values_list("destination", "due_at", "tries")
    assert list(waiting) == [(destination, now, 0) for destination in destinations]


def test_a_notice_reads_back_what_was_written(attempt: PaymentAttempt) -> None:
    with committed():
        row = stage(
            kind=K.REFUNDED,
            order=attempt.order,
            attempt=attempt,
            now=clocks.database_now(),
            given_back=GivenBack(kind="refund", amount_minor=2500, reason="too_late"),
            reason="window_closed",
        )
    row.refresh_from_db()
    notice = notice_from({**row.payload, "of_a_newer_version": 1})
    assert notice.payload() == row.payload
    assert (notice.given_back, notice.reason, notice.created_at) == (
        GivenBack("refund", 2500, "too_late"),
        "window_closed",
        row.created_at,
    )
    assert notice.message == "Your money has been given back. It may take some days until you see it."


def test_an_announcement_is_rolled_back_with_what_it_tells(attempt: PaymentAttempt) -> None:
    factories.submit(attempt)
    with rolled_back():
        now = clocks.database_now()
        fail(attempt, now=now)
        stage(kind=K.PAYMENT_FAILED, order=attempt.order, attempt=attempt, now=now)
    assert PaymentAttempt.objects.get().state == "queued"
    assert announced() == []
    assert AnnouncementDelivery.objects.count() == 0


def test_nothing_is_announced_outside_a_transaction(attempt: PaymentAttempt) -> None:
    with pytest.raises(RuntimeError, match="inside a transaction"):
        stage(kind=K.NEEDS_REVIEW, order=attempt.order, attempt=attempt, now=clocks.database_now())


def test_announcements_of_an_order_are_numbered(attempt: PaymentAttempt, customer: User, item: StockItem) -> None:
    other = factories.place_order(customer=customer, item=item, order_id="ORD-8")
    for one in (attempt, attempt, other, attempt):
        with committed():
            stage(kind=K.NEEDS_REVIEW, order=one.order, attempt=one, now=clocks.database_now())
    kinds = [("ORD-7", 1), ("ORD-7", 2), ("ORD-8", 1), ("ORD-7", 3)]
    assert announced() == [(order, number, "needs_review") for order, number in kinds]
    assert [row.payload["number"] for row in Announcement.objects.order_by("id")] == [1, 2, 1, 3]


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (kind, state)
        for kind, states in ANNOUNCED_STATES.items()
        for state in [*AttemptState, None]
        if state not in states
    ],
)
def test_what_the_row_does_not_say_is_not_announced(
    attempt: PaymentAttempt, kind: AnnouncementKind, state: AttemptState | None
) -> None:
    if state is not None:
        attempt.state = state
    with pytest.raises(ValueError, match="cannot be announced"), committed():
        stage(
            kind=kind,
            order=attempt.order,
            attempt=None if state is None else attempt,
            now=clocks.database_now(),
            given_back=GivenBack("void", 1, "too_late"),
        )


def test_a_refund_is_announced_with_its_amount_and_its_way(attempt: PaymentAttempt) -> None:
    with pytest.raises(ValueError, match="what was given back"), committed():
        stage(kind=K.REFUNDED, order=attempt.order, attempt=attempt, now=clocks.database_now())
    with pytest.raises(ValueError, match="'gift'"):
        GivenBack("gift", 2500, "too_late")


def test_every_kind_says_what_happened_to_the_money(attempt: PaymentAttempt) -> None:
    for kind, states in ANNOUNCED_STATES.items():
        for state in states:
            for owed in (None, GivenBack("void", 1, "too_late"), GivenBack("refund", 1, "too_late")):
                if kind is K.REFUNDED and owed is None:
                    continue
                if state is not None:
                    attempt.state, attempt.failure_code = state, "declined" if state == "failed" else ""
                with committed():
                    row = stage(
                        kind=kind,
                        order=attempt.order,
                        attempt=None if state is None else attempt,
                        now=clocks.database_now(),
                        given_back=owed,
                    )
                message = row.payload["message"]
                if owed is not None and kind is not K.NEEDS_REVIEW:
                    assert "not been charged" not in message or (kind is K.REFUNDED and owed.kind == "void"), message
                    assert "let go" in message if owed.kind == "void" else "back" in message, message
                elif kind is K.ORDER_PAID:
                    assert "received" in message
                elif kind is K.NEEDS_REVIEW:
                    assert "do not pay again" in message
                else:
                    assert "not been charged" in message, message


def test_without_a_destination_the_fact_is_kept_and_owed_to_nobody(attempt: PaymentAttempt, settings: Settings) -> None:
    settings.PAYMENT_ANNOUNCEMENT_HOOK, settings.PAYMENT_ANNOUNCEMENT_WEBHOOKS = "", {}
    factories.age_attempt(attempt.id, seconds_left=-1)
    lifecycle.sweep_expired()
    with committed():
        stage(kind=K.NEEDS_REVIEW, order=attempt.order, attempt=attempt, now=clocks.database_now())
    assert announced() == [("ORD-7", 1, "payment_expired"), ("ORD-7", 2, "needs_review")]
    assert AnnouncementDelivery.objects.count() == 0


# Expiry


def test_a_sweep_of_many_announces_each_order_once_and_no_other(
    customer: User, item: StockItem, destinations: list[str], settings: Settings
) -> None:
    settings.PAYMENT_SWEEP_BATCH_ROWS = 4
    attempts = [factories.place_order(customer=customer, item=item, order_id=f"ORD-{n}") for n in range(12)]
    for attempt in attempts[::2]:
        factories.submit(attempt)
    due = attempts[:10]
    factories.age_attempt(*(attempt.id for attempt in due), seconds_left=-1)
    assert lifecycle.sweep_expired().expired_orders == 10
    assert lifecycle.sweep_expired().expired_orders == 0
    assert sorted(announced()) == [(f"ORD-{n}", 1, "payment_expired") for n in range(10)]
    for row in Announcement.objects.select_related("attempt"):
        assert row.attempt is not None
        deliveries = AnnouncementDelivery.objects.filter(announcement=row).order_by("destination")
        assert [(one.destination, one.due_at, one.tries) for one in deliveries] == [
            (destination, row.created_at, 0) for destination in destinations
        ]
        assert row.created_at == row.attempt.closed_at
    assert Announcement.objects.values("attempt").distinct().count() == 10


def test_the_sweep_writes_the_payload_that_staging_would_write(attempt: PaymentAttempt) -> None:
    factories.submit(attempt, token="tok_visa")
    factories.age_attempt(attempt.id, seconds_left=-1)
    lifecycle.sweep_expired()
    swept = Announcement.objects.get()
    attempt.refresh_from_db()
    with committed():
        staged = stage(kind=K.PAYMENT_EXPIRED, order=attempt.order, attempt=attempt, now=swept.created_at)
    staged.refresh_from_db()
    assert swept.payload == staged.payload | {"id": swept.public_id, "number": 1}
    assert (swept.attempt, swept.order_id) == (attempt, attempt.order_id)
    assert "tok_visa" not in json.dumps(swept.payload)


def test_an_order_that_ends_after_a_failure_is_announced_without_a_payment(
    attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    factories.submit(attempt, token="tok_declined")
    lifecycle.charge_attempt(attempt_id=attempt.id)
    attempt.refresh_from_db()
    with committed():
        now = clocks.database_now()
        stage(kind=K.PAYMENT_FAILED, order=attempt.order, attempt=attempt, now=now)
    failed = Announcement.objects.latest("number").number  # Recording the charge may announce the failure by itself.
    factories.age_attempt(attempt.id, seconds_left=-1)
    lifecycle.sweep_expired()
    swept = Announcement.objects.get(kind="payment_expired")
    assert (swept.number, swept.attempt) == (failed + 1, None)
    with committed():
        staged = stage(kind=K.PAYMENT_EXPIRED, order=attempt.order, now=swept.created_at)
    staged.refresh_from_db()
    assert swept.payload == staged.payload | {"id": swept.public_id, "number": swept.number}
    assert (swept.payload["payment_id"], swept.payload["state"], swept.payload["amount_minor"]) == (None, None, 2500)


def test_a_late_claim_and_a_late_submit_announce_the_expiry_too(
    attempt: PaymentAttempt, customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    late_submit = factories.place_order(customer=customer, item=item, order_id="ORD-8")
    factories.submit(attempt)
    factories.age_attempt(attempt.id, late_submit.id, seconds_left=0)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) is NotClaimed.EXPIRED
    with pytest.raises(PaymentExpired):
        factories.submit(late_submit)
    assert announced() == [("ORD-7", 1, "payment_expired"), ("ORD-8", 1, "payment_expired")]
    lifecycle.sweep_expired()
    assert len(announced()) == 2


def test_of_several_locked_orders_only_those_that_end_are_announced(
    attempt: PaymentAttempt, customer: User, item: StockItem
) -> None:
    living = factories.place_order(customer=customer, item=item, order_id="ORD-8")
    factories.age_attempt(attempt.id, seconds_left=-1)
    with committed():
        for one in (attempt, living):
            locks.lock_order_of(attempt_id=one.id)
        reading = clocks.read()
        judgement = guard.judge(attempt, reading=reading)
        over = Over(attempt.order_id, "ORD-7", attempt.id, attempt.expires_at, judgement)
        assert len(expire_locked_orders([over], now=reading.now, actor="test")) == 1
    assert announced() == [("ORD-7", 1, "payment_expired")]


def test_a_sweep_that_is_rolled_back_announced_nothing(attempt: PaymentAttempt) -> None:
    factories.age_attempt(attempt.id, seconds_left=-1)
    with rolled_back():
        locks.lock_order_of(attempt_id=attempt.id)
        reading = clocks.read()
        judgement = guard.judge(attempt, reading=reading)
        over = Over(attempt.order_id, "ORD-7", attempt.id, attempt.expires_at, judgement)
        assert len(expire_locked_orders([over], now=reading.now, actor="test")) == 1
        assert len(announced()) == 1
    assert PaymentAttempt.objects.get().state == "open"
    assert announced() == []
