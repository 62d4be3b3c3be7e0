"""One step of an attempt or a compensation: the row and its history entry, together or not at all."""

from collections.abc import Mapping
from datetime import datetime

from payments.domain.compensations import CompensationState
from payments.domain.states import TERMINAL, AttemptState
from payments.models import Compensation, CompensationEntry, HistoryEntry, PaymentAttempt
from payments.transactions import require_transaction


def move_attempt(
    attempt: PaymentAttempt,
    *,
    to: AttemptState,
    now: datetime,
    actor: str,
    reason: str,
    due_at: datetime | None = None,
    evidence: Mapping[str, object] | None = None,
    **changes: object,
) -> None:
    """Move `attempt` to a state and write its history; `changes` are further columns. Hold the order's lock.

    :raises RuntimeError: when the row is no longer what `attempt` says, so that nothing is written over it.
    """
    before = attempt.state
    closed_at = now if to in TERMINAL else None
    _write(attempt, {"state": to.value, "due_at": due_at, "closed_at": closed_at, **changes})
    HistoryEntry.objects.create(
        attempt=attempt,
        number=attempt.version,
        from_state=before,
        to_state=to.value,
        at=now,
        actor=actor,
        reason=reason,
        evidence=dict(evidence or {}),
    )


def move_compensation(
    compensation: Compensation,
    *,
    to: CompensationState,
    now: datetime,
    actor: str,
    reason: str,
    due_at: datetime | None = None,
    evidence: Mapping[str, object] | None = None,
    **changes: object,
) -> None:
    """Move `compensation` to a state and write its history, as `move_attempt` does. Hold the order's lock.

    :raises RuntimeError: when the row is no longer what `compensation` says.
    """
    before = compensation.state
    closed_at = now if to is CompensationState.DONE else None
    _write(compensation, {"state": to.value, "due_at": due_at, "closed_at": closed_at, **changes})
    CompensationEntry.objects.create(
        compensation=compensation,
        number=compensation.version,
        from_state=before,
        to_state=to.value,
        at=now,
        actor=actor,
        reason=reason,
        evidence=dict(evidence or {}),
    )


def _write(row: PaymentAttempt | Compensation, columns: dict[str, object]) -> None:
    """Change a row that is still as it was read, counting its version up by one."""
    require_transaction()
    columns["version"] = row.version + 1
    same_row = type(row)._default_manager.filter(id=row.id, version=row.version, state=row.state)  # noqa: SLF001 - Django's
    if same_row.update(**columns) != 1:
        message = f"{row.public_id} changed while its order was locked"
        raise RuntimeError(message)
    for name, value in columns.items():
        setattr(row, name, value)
