"""Statements that are written by hand: they read what the ORM would, and write nothing over what moved on."""

import pytest
from django.contrib.auth.models import User
from django.db import models

from payments import locks, queries
from payments.domain.states import AttemptState
from payments.lifecycle.transition import move_attempt
from payments.models import HistoryEntry, Order, PaymentAttempt, StockItem
from payments.transactions import transaction
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

EVIDENCE = {"who": 'O\'Brien; "100 %s" of {0} \\ ünï', "nested": {"list": [1, None, 2.5]}}


@pytest.fixture
def attempt(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.submit(factories.place_order(customer=customer, item=item, order_id="ORD-1"))


def values(row: models.Model) -> dict[str, object]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def move(attempt: PaymentAttempt, *, reason: str = "held") -> None:
    move_attempt(
        attempt,
        to=AttemptState.QUEUED,
        now=attempt.opened_at,
        actor="worker",
        reason=reason,
        due_at=attempt.expires_at,
        evidence=EVIDENCE,
        held_since=attempt.opened_at,
        doubt_code="",
        enqueued_stamp=EVIDENCE,
    )


def test_what_is_read_by_hand_is_what_the_orm_reads(attempt: PaymentAttempt, customer: User) -> None:
    as_read, order = PaymentAttempt.objects.get(id=attempt.id), Order.objects.get(order_id="ORD-1")
    assert as_read.opened_stamp["host"]  # It is JSON, and not its text.
    view = queries.attempt_for(attempt_id=attempt.id, customer_id=customer.id)
    assert (values(view.attempt), values(view.attempt.order)) == (values(as_read), values(order))
    assert values(queries.order_for(order_id="ORD-1", customer_id=customer.id).order) == values(order)
    with transaction():
        locked = locks.lock_order_of(attempt_id=attempt.id)
        assert locked is not None
        under_lock, _ = queries.attempt_under_lock(attempt_id=attempt.id, order=locked)
    assert (values(under_lock), values(under_lock.order)) == (values(as_read), values(order))


def test_a_row_that_was_read_by_hand_is_saved_like_any_other(attempt: PaymentAttempt, customer: User) -> None:
    view = queries.attempt_for(attempt_id=attempt.id, customer_id=customer.id)
    view.attempt.questions = 3
    view.attempt.save(update_fields=["questions"])
    assert PaymentAttempt.objects.get(id=attempt.id).questions == 3


def test_a_transition_and_its_entry_hold_what_they_were_given(attempt: PaymentAttempt) -> None:
    with transaction():
        move(attempt)
    stored = PaymentAttempt.objects.get(id=attempt.id)
    assert values(stored) == values(attempt)
    assert (stored.version, stored.held_since, stored.enqueued_stamp) == (3, attempt.opened_at, EVIDENCE)
    entry = HistoryEntry.objects.get(attempt=attempt, number=3)
    assert (entry.from_state, entry.to_state, entry.reason) == ("queued", "queued", "held")
    assert (entry.at, entry.evidence) == (attempt.opened_at, EVIDENCE)


def test_nothing_is_written_over_a_row_that_moved_on(attempt: PaymentAttempt) -> None:
    stale = PaymentAttempt.objects.get(id=attempt.id)
    with transaction():
        move(attempt)
    before = values(PaymentAttempt.objects.get(id=attempt.id))
    with pytest.raises(RuntimeError, match=f"^{attempt.public_id} changed while its order was locked$"), transaction():
        move(stale, reason="late")
    assert values(PaymentAttempt.objects.get(id=attempt.id)) == before
    assert list(HistoryEntry.objects.filter(attempt=attempt).values_list("number", flat=True)) == [1, 2, 3]


def test_a_transition_outside_a_transaction_is_refused(attempt: PaymentAttempt) -> None:
    with pytest.raises(RuntimeError, match="must run inside a transaction"):
        move(attempt)
