"""What the database refuses of money that goes back, whatever the code above it believes."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, ProgrammingError, connection, transaction

from payments import clocks
from payments.domain.compensations import CompensationKind, CompensationState, compensation_edges
from payments.models import Compensation, CompensationEntry, GatewayCall, PaymentAttempt, StockItem
from tests import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.breaks_invariants]

AT_REST = {"done", "needs_review"}


@pytest.fixture
def attempt(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.place_order(customer=customer, item=item)


def insert(attempt: PaymentAttempt, **columns: Any) -> Compensation:
    """Insert a compensation behind the lifecycle's back, in whatever state a test wants to try."""
    now = clocks.database_now()
    state = columns.get("state", "owed")
    values: dict[str, Any] = {
        "order": attempt.order,
        "attempt": attempt,
        "gateway": "sandbox",
        "charge_key": attempt.public_id,
        "charge_reference": "ch_1",
        "kind": "refund",
        "reason": "staff",
        "amount_minor": 100,
        "currency": "USD",
        "state": state,
        "version": 1,
        "created_at": now,
        "due_at": None if state in AT_REST else now,
        "closed_at": now if state == "done" else None,
    } | columns
    with transaction.atomic():  # noqa: TID251 - behind the lifecycle's back
        row = Compensation.objects.create(**values)
        if state in set(CompensationState):
            enter(row)
    return row


def enter(row: Compensation) -> None:
    CompensationEntry.objects.create(
        compensation=row, number=1, to_state=row.state, at=row.created_at, actor="test", reason="test"
    )


@pytest.mark.parametrize("kind", CompensationKind)
def test_a_second_compensation_of_one_kind_for_a_charge(attempt: PaymentAttempt, kind: str) -> None:
    """Whoever found it and however often, and however the first one ended."""
    insert(attempt, kind=kind, state="done")
    with pytest.raises(IntegrityError, match="compensation_once_per_charge"):
        insert(attempt, kind=kind, charge_key="another")


def test_a_second_void_of_a_key(attempt: PaymentAttempt) -> None:
    insert(attempt, kind="void", charge_reference="")
    with pytest.raises(IntegrityError, match="compensation_once_per_key"):
        insert(attempt, kind="void", charge_reference="")


def test_a_void_and_a_refund_and_another_charge_are_accepted(attempt: PaymentAttempt) -> None:
    insert(attempt, kind="void")
    insert(attempt, kind="refund")
    insert(attempt, kind="void", charge_reference="")
    insert(attempt, charge_reference="ch_2")
    insert(attempt, gateway="another")
    assert Compensation.objects.count() == 5


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"state": "unheard_of"}, "compensation_state_known"),
        ({"kind": "gift"}, "compensation_kind_known"),
        ({"amount_minor": 0}, "compensation_amount_positive"),
        ({"amount_minor": 10**12}, "compensation_amount_positive"),
        ({"charge_reference": ""}, "compensation_refund_names_its_charge"),
        ({"state": "done", "closed_at": None}, "compensation_closed_when_done"),
        ({"state": "done", "due_at": "now"}, "compensation_due_unless_at_rest"),
        ({"due_at": None}, "compensation_due_unless_at_rest"),
        ({"state": "in_doubt", "due_at": None}, "compensation_due_unless_at_rest"),
    ],
)
def test_rows_that_contradict_themselves(attempt: PaymentAttempt, columns: dict[str, Any], constraint: str) -> None:
    if columns.get("due_at") == "now":
        columns = columns | {"due_at": clocks.database_now()}
    with pytest.raises(IntegrityError, match=constraint):
        insert(attempt, **columns)


def test_every_transition_outside_the_table_and_none_inside(attempt: PaymentAttempt) -> None:
    """All 20 pairs: the trigger and the table say the same."""
    allowed, tried = set(compensation_edges()), 0
    for before in CompensationState:
        for after in set(CompensationState) - {before}:
            tried += 1
            with transaction.atomic():  # noqa: TID251 - rolled back below
                row = insert(attempt, state=before.value)
                values: dict[str, Any] = {
                    "state": after.value,
                    "due_at": None if after in AT_REST else row.created_at,
                    "closed_at": row.created_at if after == "done" else None,
                    "version": 2,
                }
                try:
                    with transaction.atomic():  # noqa: TID251 - the savepoint of one try
                        Compensation.objects.filter(id=row.id).update(**values)
                    accepted = True
                except ProgrammingError as error:
                    assert "Invalid transition" in str(error)  # noqa: PT017 - every pair must be tried
                    accepted = False
                assert accepted == ((before.value, after.value) in allowed), (before, after)
                transaction.set_rollback(True)
    assert tried == 20


@pytest.mark.parametrize(
    "columns",
    [
        {"amount_minor": 99},
        {"charge_reference": "ch_2"},
        {"charge_key": "another"},
        {"kind": "void"},
        {"reason": "too_late"},
        {"currency": "EUR"},
        {"gateway": "another"},
    ],
)
def test_changing_what_a_compensation_is_about(attempt: PaymentAttempt, columns: dict[str, Any]) -> None:
    row = insert(attempt)
    with pytest.raises(ProgrammingError, match="Cannot update"):
        Compensation.objects.filter(id=row.id).update(**columns)
    with pytest.raises(ProgrammingError, match="Cannot update"):
        Compensation.objects.filter(id=row.id).update(created_at=row.created_at - timedelta(hours=1))


def test_rewriting_its_history(attempt: PaymentAttempt) -> None:
    row = insert(attempt)
    for act in (lambda: row.history.update(reason="nothing happened"), lambda: row.history.all().delete()):
        with pytest.raises(ProgrammingError, match="Cannot update or delete"):
            act()
    with pytest.raises(IntegrityError, match="compensation_history_numbered"):
        enter(row)


def test_a_transition_that_does_not_count_or_leaves_no_entry(attempt: PaymentAttempt) -> None:
    row = insert(attempt)
    with pytest.raises(ProgrammingError, match="counts the version up"):
        Compensation.objects.filter(id=row.id).update(state="calling")
    with pytest.raises(IntegrityError, match="compensation_version_has_history"):
        Compensation.objects.filter(id=row.id).update(state="calling", version=2)


@pytest.mark.parametrize("table", ["payments_compensation", "payments_gatewaycall"])
def test_deleting_what_must_be_kept(attempt: PaymentAttempt, table: str) -> None:
    row = insert(attempt)
    GatewayCall.objects.create(
        attempt=attempt,
        compensation=row,
        operation="refund",
        idempotency_key="k",
        request_hash="h",
        fence=1,
        started_at=row.created_at,
        deadline_seconds=30,
    )
    with pytest.raises(ProgrammingError, match="Cannot delete"), connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table}")


def test_giving_a_call_to_another_compensation_or_an_ending_without_an_outcome(attempt: PaymentAttempt) -> None:
    row, other = insert(attempt), insert(attempt, kind="void")
    call = GatewayCall.objects.create(
        attempt=attempt,
        compensation=row,
        operation="refund",
        idempotency_key="k",
        request_hash="h",
        fence=1,
        started_at=row.created_at,
        deadline_seconds=30,
    )
    calls = GatewayCall.objects.filter(id=call.id)
    for columns in ({"compensation": other}, {"request_hash": "i"}, {"idempotency_key": "l"}, {"fence": 2}):
        with pytest.raises(ProgrammingError, match="Cannot update"):
            calls.update(**columns)
    with pytest.raises(IntegrityError, match="gateway_call_ends_with_an_outcome"):
        calls.update(finished_at=row.created_at)
