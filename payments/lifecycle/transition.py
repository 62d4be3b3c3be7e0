"""One step of an attempt or a compensation: the row and its history entry, together or not at all."""

from collections.abc import Mapping
from datetime import datetime

from django.db import connection

from payments.domain.compensations import CompensationState
from payments.domain.states import TERMINAL, AttemptState
from payments.models import Compensation, CompensationEntry, HistoryEntry, PaymentAttempt
from payments.models.chain import ChainedEntry
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
    closed_at = now if to in TERMINAL else None
    _move(
        attempt,
        {"state": to.value, "due_at": due_at, "closed_at": closed_at, **changes},
        entry=HistoryEntry(at=now, actor=actor, reason=reason, evidence=dict(evidence or {})),
        owner="attempt",
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
    closed_at = now if to is CompensationState.DONE else None
    _move(
        compensation,
        {"state": to.value, "due_at": due_at, "closed_at": closed_at, **changes},
        entry=CompensationEntry(at=now, actor=actor, reason=reason, evidence=dict(evidence or {})),
        owner="compensation",
    )


def _move(row: PaymentAttempt | Compensation, columns: dict[str, object], *, entry: ChainedEntry, owner: str) -> None:
    """Change a row that is still as it was read, and write its entry, in one statement; its version counts up by one.

    `entry` says who, when and why; `owner` is its foreign key to the row.
    """
    require_transaction()
    columns["version"] = row.version + 1
    entry.number, entry.from_state, entry.to_state = row.version + 1, row.state, str(columns["state"])
    known = {field.name: field for field in row._meta.concrete_fields}  # noqa: SLF001 - Django's own, documented
    told = [field for field in entry._meta.concrete_fields if field.name in _ENTRY]  # noqa: SLF001 - the same
    changed = ", ".join(f'"{known[name].column}" = %s' for name in columns)
    statement = f"""
        WITH moved AS (
            UPDATE {row._meta.db_table} SET {changed} WHERE id = %s AND version = %s AND state = %s RETURNING id
        )
        INSERT INTO {entry._meta.db_table} ({owner}_id, {", ".join(f'"{field.column}"' for field in told)})
        SELECT id, {", ".join(["%s"] * len(told))} FROM moved
    """  # noqa: S608, SLF001 - of names that are our models'
    parameters = [
        *(known[name].get_db_prep_save(value, connection) for name, value in columns.items()),
        *(row.id, row.version, row.state),
        *(field.get_db_prep_save(getattr(entry, field.name), connection) for field in told),
    ]
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        if cursor.rowcount != 1:
            message = f"{row.public_id} changed while its order was locked"
            raise RuntimeError(message)
    for name, value in columns.items():
        setattr(row, name, value)


_ENTRY = frozenset({"number", "from_state", "to_state", "at", "actor", "reason", "evidence"})  # Hashes: the trigger's.
