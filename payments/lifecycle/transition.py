"""One step of an attempt: the row and its history entry, together or not at all."""

from collections.abc import Mapping
from datetime import datetime

from payments.domain.states import TERMINAL, AttemptState
from payments.models import HistoryEntry, PaymentAttempt
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
    require_transaction()
    columns: dict[str, object] = {
        "state": to.value,
        "version": attempt.version + 1,
        "due_at": due_at,
        "closed_at": now if to in TERMINAL else None,
        **changes,
    }
    same_row = PaymentAttempt.objects.filter(id=attempt.id, version=attempt.version, state=attempt.state)
    if same_row.update(**columns) != 1:
        message = f"{attempt.public_id} changed while its order was locked"
        raise RuntimeError(message)
    HistoryEntry.objects.create(
        attempt=attempt,
        number=attempt.version + 1,
        from_state=attempt.state,
        to_state=to.value,
        at=now,
        actor=actor,
        reason=reason,
        evidence=dict(evidence or {}),
    )
    for name, value in columns.items():
        setattr(attempt, name, value)
