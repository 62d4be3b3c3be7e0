"""Archive: payments of orders that closed long ago go into files, and only then out of the tables.

The file is on the disk, with its name and its folder, before anything is deleted. Then one transaction for each file
locks its orders, reads them again, and deletes those that are still what was written, with a row for each attempt that
says where it went. Whoever dies in between leaves a file that nothing refers to, and the next run writes it again.

Orders, lines and reservations stay: stock adds up from them.
"""

import enum
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from django.db import connection

from payments import archive, clocks, locks
from payments.archive import ArchiveFile
from payments.domain import states
from payments.failpoints import reach
from payments.transactions import after_commit, roll_back, transaction

log = structlog.get_logger(__name__)

ORDERS_PER_FILE = 200  # A transaction of some thousand rows: a second, of the many that it may take.
MIN_DAYS = 1  # Whoever still works on a payment, a stopped worker too, has come back or given up by then.

_CLOSED_SQL = """
SELECT o.id FROM payments_order o
WHERE o.closed_at <= %(before)s AND (%(order_ids)s::uuid[] IS NULL OR o.id = ANY(%(order_ids)s::uuid[]))
    AND EXISTS (SELECT FROM payments_paymentattempt a WHERE a.order_id = o.id)
    AND NOT EXISTS (
        SELECT FROM payments_paymentattempt a
        WHERE a.order_id = o.id AND (a.state <> ALL(%(terminal)s) OR a.closed_at > %(before)s)
    )
    AND NOT EXISTS (
        SELECT FROM payments_compensation c
        WHERE c.order_id = o.id AND (c.state <> 'done' OR c.closed_at > %(before)s)
    )
    AND NOT EXISTS (
        SELECT FROM payments_announcement n JOIN payments_announcementdelivery d ON d.announcement_id = n.id
        WHERE n.order_id = o.id AND d.due_at IS NOT NULL
    )
    AND NOT EXISTS (
        SELECT FROM payments_reminder r JOIN payments_paymentattempt a ON a.id = r.attempt_id
        WHERE a.order_id = o.id AND r.due_at IS NOT NULL
    )
    -- The answer to a repeated request may still need the attempt.
    AND NOT EXISTS (
        SELECT FROM payments_idempotencyrecord i JOIN payments_paymentattempt a ON a.id = i.attempt_id
        WHERE a.order_id = o.id
    )
ORDER BY o.closed_at, o.id LIMIT %(limit)s
"""

# Whole rows, so that no column is forgotten, but for the gateway's token. A history's evidence is the text that its
# hash was made of.
_LINES_SQL = """
SELECT o.id, o.order_id, (SELECT count(*) FROM payments_paymentattempt a WHERE a.order_id = o.id), jsonb_build_object(
    'order', to_jsonb(o),
    'attempts', (
        SELECT jsonb_agg(to_jsonb(a) - '{payment_token,return_url}'::text[] || jsonb_build_object('history', coalesce((
            SELECT jsonb_agg(to_jsonb(h) || jsonb_build_object(
                'evidence', h.evidence::text, 'at_microseconds', (extract(epoch FROM h.at) * 1000000)::bigint
            ) ORDER BY h.number) FROM payments_historyentry h WHERE h.attempt_id = a.id
        ), '[]')) ORDER BY a.number) FROM payments_paymentattempt a WHERE a.order_id = o.id
    ),
    'gateway_calls', coalesce((
        SELECT jsonb_agg(to_jsonb(c) ORDER BY c.started_at, c.id) FROM payments_gatewaycall c
        JOIN payments_paymentattempt a ON a.id = c.attempt_id WHERE a.order_id = o.id
    ), '[]'),
    'reminders', coalesce((
        SELECT jsonb_agg(to_jsonb(r) ORDER BY r.id) FROM payments_reminder r
        JOIN payments_paymentattempt a ON a.id = r.attempt_id WHERE a.order_id = o.id
    ), '[]'),
    'compensations', coalesce((
        SELECT jsonb_agg(to_jsonb(c) || jsonb_build_object('history', coalesce((
            SELECT jsonb_agg(to_jsonb(h) || jsonb_build_object(
                'evidence', h.evidence::text, 'at_microseconds', (extract(epoch FROM h.at) * 1000000)::bigint
            ) ORDER BY h.number) FROM payments_compensationentry h WHERE h.compensation_id = c.id
        ), '[]')) ORDER BY c.created_at, c.id) FROM payments_compensation c WHERE c.order_id = o.id
    ),'[]'),
    'announcements', coalesce((
        SELECT jsonb_agg(to_jsonb(n) || jsonb_build_object('deliveries', coalesce((
            SELECT jsonb_agg(to_jsonb(d) ORDER BY d.id) FROM payments_announcementdelivery d
            WHERE d.announcement_id = n.id
        ), '[]')) ORDER BY n.number) FROM payments_announcement n WHERE n.order_id = o.id
    ), '[]')
)::text
FROM unnest(%(order_ids)s::uuid[]) WITH ORDINALITY AS wanted(id, place) JOIN payments_order o ON o.id = wanted.id
ORDER BY wanted.place
"""

# What is left of them is written first: the tables' triggers let go only of what it names.
_NOTE_SQL = """
WITH attempts AS (
    INSERT INTO payments_archivedattempt (id, order_id, number, state, version, amount_minor, currency, gateway,
        gateway_reference, head_hash, head_at, archive, archive_sha256, archived_at)
    SELECT a.id, a.order_id, a.number, a.state, a.version, a.amount_minor, a.currency, a.gateway,
        a.gateway_reference, h.entry_hash, h.at, %(archive)s, %(sha256)s, %(now)s
    FROM payments_paymentattempt a JOIN payments_historyentry h ON h.attempt_id = a.id AND h.number = a.version
    WHERE a.order_id = ANY(%(order_ids)s)
    RETURNING id
)
INSERT INTO payments_archivedcompensation (id, attempt_id, state, version, head_hash, head_at)
SELECT c.id, c.attempt_id, c.state, c.version, h.entry_hash, h.at
FROM payments_compensation c JOIN payments_compensationentry h ON h.compensation_id = c.id AND h.number = c.version
WHERE c.attempt_id IN (SELECT id FROM attempts)
"""

_DELETE_SQL = (
    """
    DELETE FROM payments_announcementdelivery d USING payments_announcement n
    WHERE n.id = d.announcement_id AND n.order_id = ANY(%(order_ids)s)
    """,
    "DELETE FROM payments_announcement WHERE order_id = ANY(%(order_ids)s)",
    """
    DELETE FROM payments_compensationentry e USING payments_compensation c
    WHERE c.id = e.compensation_id AND c.order_id = ANY(%(order_ids)s)
    """,
    """
    DELETE FROM payments_gatewaycall c USING payments_archivedattempt r
    WHERE r.id = c.attempt_id AND r.order_id = ANY(%(order_ids)s)
    """,
    """
    DELETE FROM payments_reminder m USING payments_archivedattempt r
    WHERE r.id = m.attempt_id AND r.order_id = ANY(%(order_ids)s)
    """,
    "DELETE FROM payments_compensation WHERE order_id = ANY(%(order_ids)s)",
    "DELETE FROM payments_paymentattempt WHERE order_id = ANY(%(order_ids)s)",
    """
    DELETE FROM payments_historyentry h USING payments_archivedattempt r
    WHERE r.id = h.attempt_id AND r.order_id = ANY(%(order_ids)s)
    """,
)


class Result(enum.StrEnum):
    """What became of an order's payments."""

    ARCHIVED = "archived"
    CHANGED = "changed_meanwhile"  # Or somebody holds it; it stays, and the next run looks again.
    BROKEN = "broken_history"  # It stays as it is: what was tampered with is evidence.


@dataclass(frozen=True, slots=True)
class Archived:
    """An order and what became of its payments."""

    order_number: str
    attempts: int
    result: Result
    archive: str = ""  # The file's name.
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    order_number: str
    attempts: int
    text: str


def archive_attempts(
    *, older_than: timedelta, folder: Path, limit: int | None = None, is_dry_run: bool = False
) -> Iterator[Archived]:
    """Archive the payments of orders that closed longer ago, oldest first, and tell of each what became of it.

    `limit` is of orders. What was told is committed; a dry run tells the same and leaves nothing behind.

    :raises ValueError: for less than a day.
    :raises OSError: when a file cannot be written; then nothing of it was deleted.
    """
    if older_than < timedelta(days=MIN_DAYS):
        message = f"payments are archived after {MIN_DAYS} day at the earliest"
        raise ValueError(message)
    before = clocks.database_now() - older_than
    order_ids = _closed(before=before, limit=limit)
    for start in range(0, len(order_ids), ORDERS_PER_FILE):
        batch = order_ids[start : start + ORDERS_PER_FILE]
        yield from _archive_batch(batch, before=before, folder=folder, is_dry_run=is_dry_run)


def _archive_batch(
    order_ids: Sequence[UUID], *, before: datetime, folder: Path, is_dry_run: bool
) -> Iterator[Archived]:
    lines, broken = dict[UUID, _Line](), list[Archived]()
    for order_id, line in _read(order_ids).items():
        why = archive.whats_broken(line.text)
        if why:
            broken.append(Archived(line.order_number, line.attempts, Result.BROKEN, why=why))
        else:
            lines[order_id] = line
    yield from broken
    if not lines:
        return
    file = archive.build([line.text for line in lines.values()])
    if not is_dry_run:
        archive.write(file, folder=folder)
        reach("archive.written")
    gone = _delete(lines, file=file, before=before, is_dry_run=is_dry_run)
    if not is_dry_run:
        reach("archive.deleted")
    for order_id, line in lines.items():
        if order_id in gone:
            yield Archived(line.order_number, line.attempts, Result.ARCHIVED, archive=file.name)
        else:
            yield Archived(line.order_number, line.attempts, Result.CHANGED)


def _delete(lines: Mapping[UUID, _Line], *, file: ArchiveFile, before: datetime, is_dry_run: bool) -> set[UUID]:
    """Delete what is still what was written, and give the orders that it was."""
    with transaction():
        free = locks.lock_orders(order_ids=list(lines))
        now = clocks.database_now()
        closed = set(_closed(before=before, limit=None, order_ids=free))
        same = [order_id for order_id, line in _read(free).items() if line == lines[order_id] and order_id in closed]
        parameters: dict[str, Any] = {"order_ids": same, "archive": file.name, "sha256": file.sha256, "now": now}
        with connection.cursor() as cursor:
            cursor.execute(_NOTE_SQL, parameters)
            for sql in _DELETE_SQL:
                cursor.execute(sql, {"order_ids": same})
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # What a commit would refuse, a dry run is told, too.
        reach("archive.deleting")
        after_commit(lambda: log.info("payments_archived", archive=file.name, orders=len(same)))
        if is_dry_run:
            roll_back()
    return set(same)


def _closed(*, before: datetime, limit: int | None, order_ids: Collection[UUID] | None = None) -> list[UUID]:
    parameters: dict[str, Any] = {
        "before": before,
        "limit": limit,
        "order_ids": None if order_ids is None else list(order_ids),
        "terminal": sorted(states.TERMINAL),
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLOSED_SQL, parameters)
        return [order_id for (order_id,) in cursor.fetchall()]


def _read(order_ids: Collection[UUID]) -> dict[UUID, _Line]:
    """Read the lines of orders, in their order, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(_LINES_SQL, {"order_ids": list(order_ids)})
        return {order_id: _Line(number, attempts, text) for order_id, number, attempts, text in cursor.fetchall()}
