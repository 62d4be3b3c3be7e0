"""What the database refuses by itself, whatever the code above it believes."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, ProgrammingError, connection, transaction

from payments import clocks
from payments.domain.ids import new_id
from payments.domain.states import SLOT_HOLDING, TERMINAL, AttemptState, edges
from payments.lifecycle.transition import move_attempt
from payments.models import HistoryEntry, Order, PaymentAttempt, Reservation, StockItem
from tests import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.breaks_invariants]


def insert_attempt(order: Order, **columns: Any) -> PaymentAttempt:
    """Insert an attempt and its opening behind the lifecycle's back, in whatever state a test wants to try."""
    now = clocks.database_now()
    state = columns.get("state", "open")
    claimed = state in SLOT_HOLDING - {"open", "queued"} or state == "failed"
    values: dict[str, Any] = {
        "id": new_id(),
        "order": order,
        "customer_id": order.customer_id,
        "number": 2,
        "method": "card",
        "gateway": "sandbox",
        "amount_minor": 100,
        "currency": "USD",
        "state": "open",
        "version": 1,
        "opened_at": now,
        "expires_at": now + timedelta(minutes=15),
        "grace_seconds": 30,
        "late_allowance_seconds": 300,
        "due_at": None if state in TERMINAL or state == "needs_review" else now,
        "closed_at": now if state in TERMINAL else None,
        "fence": 1 if claimed else 0,
        "gateway_key": "key" if claimed else "",
        "failure_code": "declined" if state == "failed" else "",
        "doubt_code": "gateway_timeout" if state in {"in_doubt", "needs_review"} else "",
    } | columns
    with transaction.atomic():  # noqa: TID251 - behind the lifecycle's back
        attempt = PaymentAttempt.objects.create(**values)
        HistoryEntry.objects.create(attempt=attempt, number=1, to_state=state, at=now, actor="test", reason="test")
    return attempt


def move(attempt: PaymentAttempt, *states: str) -> None:
    """Move an attempt along a way that the table has, with its history."""
    now = clocks.database_now()
    for state in states:
        with transaction.atomic():  # noqa: TID251 - behind the lifecycle's back
            move_attempt(
                attempt,
                to=AttemptState(state),
                now=now,
                actor="test",
                reason="test",
                due_at=None if state in TERMINAL else now,
                fence=1,
                gateway_key=str(attempt.id),
                failure_code="declined" if state == "failed" else "",
                doubt_code="gateway_timeout" if state in {"in_doubt", "needs_review"} else "",
            )


@pytest.fixture
def attempt(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.place_order(customer=customer, item=item)


@pytest.fixture
def free_order(attempt: PaymentAttempt) -> Order:
    """An order whose slot is free: its attempt has failed."""
    move(attempt, "queued", "charging", "failed")
    return attempt.order


@pytest.mark.parametrize(
    "window",
    [timedelta(minutes=5) - timedelta(microseconds=1), timedelta(hours=24, microseconds=1), timedelta(0)],
)
def test_a_window_outside_5_minutes_to_24_hours(free_order: Order, window: timedelta) -> None:
    now = clocks.database_now()
    with pytest.raises(IntegrityError, match="attempt_window_5_minutes_to_24_hours"):
        insert_attempt(free_order, opened_at=now, expires_at=now + window)


@pytest.mark.parametrize("window", [timedelta(minutes=5), timedelta(hours=24)])
def test_the_bounds_themselves_are_accepted(free_order: Order, window: timedelta) -> None:
    now = clocks.database_now()
    row = insert_attempt(free_order, opened_at=now, expires_at=now + window)
    assert row.expires_at - row.opened_at == window


def test_a_grace_of_more_than_5_minutes(free_order: Order) -> None:
    with pytest.raises(IntegrityError, match="attempt_grace_at_most_5_minutes"):
        insert_attempt(free_order, grace_seconds=301)
    assert insert_attempt(free_order, grace_seconds=300, late_allowance_seconds=0).grace_seconds == 300


@pytest.mark.parametrize("column", ["grace_seconds", "late_allowance_seconds"])
def test_less_than_no_time(free_order: Order, column: str) -> None:
    with pytest.raises(IntegrityError, match=f"{column}_check"):
        insert_attempt(free_order, **{column: -1})


@pytest.mark.parametrize("state", sorted(SLOT_HOLDING))
def test_a_second_live_attempt_of_an_order(attempt: PaymentAttempt, state: str) -> None:
    with pytest.raises(IntegrityError, match="attempt_one_live_per_order"):
        insert_attempt(attempt.order, state=state)


@pytest.mark.parametrize("state", sorted(frozenset(AttemptState) - SLOT_HOLDING))
def test_an_ended_attempt_leaves_room_for_another(attempt: PaymentAttempt, state: str) -> None:
    assert insert_attempt(attempt.order, state=state).number == 2


def test_a_second_success_of_an_order_even_without_the_slot_index(free_order: Order) -> None:
    with connection.cursor() as cursor, transaction.atomic():  # noqa: TID251 - rolled back below
        cursor.execute("DROP INDEX attempt_one_live_per_order")
        insert_attempt(free_order, number=2, state="succeeded")
        with pytest.raises(IntegrityError, match="attempt_one_success_per_order"):
            insert_attempt(free_order, number=3, state="succeeded")
        transaction.set_rollback(True)


def test_two_charges_of_one_customer_at_once(customer: User, item: StockItem) -> None:
    first, second = (factories.submit(factories.place_order(customer=customer, item=item)) for _ in range(2))
    move(first, "charging")
    with pytest.raises(IntegrityError, match="attempt_one_charging_per_customer"):
        move(second, "charging")


@pytest.mark.parametrize("number", [0, 4])
def test_an_attempt_number_outside_1_to_3(free_order: Order, number: int) -> None:
    with pytest.raises(IntegrityError, match="attempt_number_within_limit"):
        insert_attempt(free_order, number=number)


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"amount_minor": 0}, "attempt_amount_positive"),
        ({"amount_minor": 10**12}, "attempt_amount_positive"),
        ({"state": "unheard_of", "fence": 1, "gateway_key": "k"}, "attempt_state_known"),
        ({"due_at": None}, "attempt_due_unless_at_rest"),
        ({"state": "expired", "closed_at": None}, "attempt_closed_when_terminal"),
        ({"state": "failed", "failure_code": ""}, "attempt_failed_with_code"),
        ({"state": "charging", "fence": 0}, "attempt_claimed_with_fence_and_key"),
        ({"state": "charging", "gateway_key": ""}, "attempt_claimed_with_fence_and_key"),
        ({"number": 1}, "attempt_number_once"),
    ],
)
def test_rows_that_contradict_themselves(free_order: Order, columns: dict[str, Any], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        insert_attempt(free_order, **columns)


def test_every_transition_outside_the_table_and_none_inside(free_order: Order) -> None:
    """All 90 pairs: the trigger and the table say the same."""
    allowed, tried = set(edges()), 0
    for before in AttemptState:
        for after in AttemptState:
            if before == after:
                continue
            tried += 1
            with transaction.atomic():  # noqa: TID251 - rolled back below
                row = insert_attempt(free_order, state=before.value)
                values: dict[str, Any] = {
                    "state": after.value,
                    "due_at": None if after in TERMINAL or after == "needs_review" else row.opened_at,
                    "closed_at": row.opened_at if after in TERMINAL else None,
                    "failure_code": "declined" if after == "failed" else "",
                    "doubt_code": "gateway_timeout" if after in {"in_doubt", "needs_review"} else "",
                    "fence": 1,
                    "gateway_key": "k",
                    "version": 2,
                }
                try:
                    with transaction.atomic():  # noqa: TID251 - the savepoint of one try
                        PaymentAttempt.objects.filter(id=row.id).update(**values)
                    accepted = True
                except ProgrammingError as error:
                    assert "Invalid transition" in str(error)  # noqa: PT017 - every pair must be tried
                    accepted = False
                assert accepted == ((before.value, after.value) in allowed), (before, after)
                transaction.set_rollback(True)
    assert tried == 90


def test_a_transition_that_does_not_count(attempt: PaymentAttempt) -> None:
    for version in (1, 3):
        with pytest.raises(ProgrammingError, match="counts the version up"):
            PaymentAttempt.objects.filter(id=attempt.id).update(state="queued", version=version)


def test_a_transition_without_its_history_entry(attempt: PaymentAttempt) -> None:
    with pytest.raises(IntegrityError, match="attempt_version_has_history"):
        PaymentAttempt.objects.filter(id=attempt.id).update(state="queued", version=2)


def test_moving_a_deadline(attempt: PaymentAttempt) -> None:
    later = attempt.expires_at + timedelta(minutes=1)
    with pytest.raises(ProgrammingError, match="Cannot update"):
        PaymentAttempt.objects.filter(id=attempt.id).update(expires_at=later)


@pytest.mark.parametrize("column", ["amount_minor", "number", "opened_at", "currency", "gateway"])
def test_changing_what_an_attempt_is_about(attempt: PaymentAttempt, column: str) -> None:
    other = {"opened_at": attempt.opened_at - timedelta(seconds=1), "currency": "EUR", "gateway": "x"}.get(column, 2)
    with pytest.raises(ProgrammingError, match="Cannot update"):
        PaymentAttempt.objects.filter(id=attempt.id).update(**{column: other})


def test_rewriting_or_deleting_history(attempt: PaymentAttempt) -> None:
    with pytest.raises(ProgrammingError, match="Cannot update or delete"):
        HistoryEntry.objects.filter(attempt=attempt).update(reason="nothing happened")
    with pytest.raises(ProgrammingError, match="Cannot update or delete"):
        HistoryEntry.objects.filter(attempt=attempt).delete()
    with pytest.raises(IntegrityError, match="history_numbered_per_attempt"):
        HistoryEntry.objects.create(
            attempt=attempt, number=1, to_state="open", at=attempt.opened_at, actor="x", reason="x"
        )


@pytest.mark.parametrize("table", ["payments_order", "payments_paymentattempt", "payments_reservation"])
@pytest.mark.usefixtures("attempt")
def test_deleting_what_must_be_kept(table: str) -> None:
    with pytest.raises(ProgrammingError, match="Cannot delete"), connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table}")


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"reserved": 101}, "stock_reserved_within_on_hand"),
        ({"reserved": -1}, "reserved"),
        ({"on_hand": 99}, "stock_adds_up"),
        ({"sold": 1}, "stock_adds_up"),
    ],
)
def test_stock_that_does_not_add_up(item: StockItem, columns: dict[str, int], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        StockItem.objects.filter(id=item.id).update(**columns)


def test_using_a_reservation_twice(attempt: PaymentAttempt) -> None:
    now = clocks.database_now()
    rows = Reservation.objects.filter(order=attempt.order)
    assert rows.update(state="released", closed_at=now) == 1
    for state in ("active", "consumed"):
        with pytest.raises(DatabaseError, match="Invalid transition"):
            rows.update(state=state, closed_at=None if state == "active" else now)


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "paid"},
        {"status": "paid", "payment_status": "paid"},
        {"status": "cancelled", "payment_status": "pending"},
        {"payment_status": "paid"},
        {"total_minor": -5},
    ],
)
def test_orders_whose_sides_disagree(attempt: PaymentAttempt, columns: dict[str, Any]) -> None:
    with pytest.raises(DatabaseError):
        Order.objects.filter(id=attempt.order_id).update(**columns)


def test_opening_a_closed_order_again(attempt: PaymentAttempt) -> None:
    orders = Order.objects.filter(id=attempt.order_id)
    orders.update(status="cancelled", payment_status="expired", closed_at=clocks.database_now())
    with pytest.raises(ProgrammingError, match="Invalid transition"):
        orders.update(status="under_paying", payment_status="pending", closed_at=None)
