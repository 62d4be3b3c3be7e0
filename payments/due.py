"""What may be over: the candidates of the sweep, oldest first (decision 2), and those that could not be ended before.

A candidate carries what the clock guard judges it by, and none of that ever changes: the attempt, its deadline and the
stamp of its opening. So it may be read before its order is locked. Whether it still waits is decided by the statement
that ends it, under the lock (payments/lifecycle/expire.py).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection


class Due(NamedTuple):
    """An order that may be over, by its latest attempt."""

    expires_at: datetime
    order_id: UUID
    order_number: str  # The shop's.
    attempt_id: UUID
    opened_at: datetime | None  # None where there is a stamp, which says it.
    opened_stamp: dict[str, Any]
    failure: str = ""  # Why it could not be ended at the last try; empty when there was none.

    @property
    def place(self) -> tuple[datetime, UUID]:
        """Where it stands in its source; the next one has a greater one."""
        return self.expires_at, self.order_id


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of what ends by time: a query with an index that holds little else."""

    name: str
    sql: str


_OPENED = "CASE WHEN a.opened_stamp = '{}' THEN a.opened_at END, a.opened_stamp"

# Orders that failed to end are tried one by one, apart from the others (payments/lifecycle/sweep.py).
_HAS_NOT_FAILED = """
    NOT EXISTS (SELECT FROM payments_expiryfailure f WHERE f.order_id = o.id AND f.resolved_at IS NULL)
"""

ATTEMPTS = Source(
    "attempts",
    f"""
    SELECT a.expires_at, o.id, o.order_id, a.id, {_OPENED}, ''
    FROM payments_paymentattempt a JOIN payments_order o ON o.id = a.order_id
    WHERE a.state IN ('open', 'queued') AND a.expires_at <= %(now)s
        AND (a.expires_at, a.order_id) > (%(after)s, %(after_id)s) AND {_HAS_NOT_FAILED}
    ORDER BY a.expires_at, a.order_id LIMIT %(limit)s
    """,  # noqa: S608 - our own names
)

# An order whose last attempt failed keeps its stock until the deadline, so that the customer can try again.
ORDERS_AFTER_FAILURE = Source(
    "orders after a failure",
    f"""
    SELECT o.payment_expires_at, o.id, o.order_id, a.id, {_OPENED}, ''
    FROM payments_order o CROSS JOIN LATERAL (
        SELECT id, opened_at, opened_stamp FROM payments_paymentattempt
        WHERE order_id = o.id ORDER BY number DESC LIMIT 1
    ) a
    WHERE o.status = 'under_paying' AND o.payment_status = 'failed' AND o.payment_expires_at <= %(now)s
        AND (o.payment_expires_at, o.id) > (%(after)s, %(after_id)s) AND {_HAS_NOT_FAILED}
    ORDER BY o.payment_expires_at, o.id LIMIT %(limit)s
    """,  # noqa: S608 - our own names
)


def _failures(name: str, *, states: str, condition: str) -> Source:
    return Source(
        name,
        f"""
        SELECT a.expires_at, o.id, o.order_id, a.id, {_OPENED}, f.reason
        FROM payments_expiryfailure f JOIN payments_order o ON o.id = f.order_id CROSS JOIN LATERAL (
            SELECT id, expires_at, opened_at, opened_stamp, state FROM payments_paymentattempt
            WHERE order_id = o.id ORDER BY number DESC LIMIT 1
        ) a
        WHERE f.resolved_at IS NULL AND {condition} AND o.status = 'under_paying' AND a.state IN ({states})
            AND a.expires_at <= %(now)s AND (a.expires_at, o.id) > (%(after)s, %(after_id)s)
        ORDER BY a.expires_at, o.id LIMIT %(limit)s
        """,  # noqa: S608 - our own names
    )


# A due time further ahead than the longest wait is from a clock that was set back since.
_IS_DUE = "(f.due_at <= %(now)s OR f.due_at > %(now)s::timestamptz + interval '1 hour')"
_WAITING = "'open', 'queued'"
_ENDS_WITH_ITS_ORDER = "'open', 'queued', 'failed'"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a sweep looks at."""

    sources: tuple[Source, ...]
    failures: Source  # What failed before and is due again; each is tried by itself.
    all_failures: Source  # Those that are not due again yet, too.

    @property
    def everything(self) -> tuple[Source, ...]:
        """Every source whose orders are over and have not ended."""
        return *self.sources, self.all_failures


ORDERS = Scope(
    (ATTEMPTS, ORDERS_AFTER_FAILURE),
    _failures("what failed before", states=_ENDS_WITH_ITS_ORDER, condition=_IS_DUE),
    _failures("all that failed before", states=_ENDS_WITH_ITS_ORDER, condition="TRUE"),
)
PAYMENTS = Scope(
    (ATTEMPTS,),
    _failures("payments that failed to end", states=_WAITING, condition=_IS_DUE),
    _failures("all payments that failed to end", states=_WAITING, condition="TRUE"),
)

# The gateway may know of a payment for long, and meanwhile others want what it holds (payments/lifecycle/release.py).
HELD_TOO_LONG = Source(
    "stock in doubt",
    f"""
    SELECT a.expires_at, o.id, o.order_id, a.id, {_OPENED}, ''
    FROM payments_paymentattempt a JOIN payments_order o ON o.id = a.order_id
    WHERE a.state IN ('charging', 'confirming', 'in_doubt', 'needs_review')
        AND a.expires_at <= %(now)s::timestamptz - interval '24 hours'
        AND o.stock_given_back_at IS NULL AND (a.expires_at, a.order_id) > (%(after)s, %(after_id)s)
        AND NOT EXISTS (
            SELECT FROM payments_expiryfailure f WHERE f.order_id = o.id AND f.resolved_at IS NULL
                AND f.due_at > %(now)s AND f.due_at <= %(now)s::timestamptz + interval '1 hour'
        )
    ORDER BY a.expires_at, a.order_id LIMIT %(limit)s
    """,  # noqa: S608 - our own names
)

_BEFORE_ALL = (datetime(1, 1, 1, tzinfo=UTC), UUID(int=0))


def read(source: Source, *, now: datetime, after: Due | None, limit: int, lock: str = "") -> list[Due]:
    """Read the next candidates behind `after`. `now` only chooses: whoever ends one judges it by all clocks.

    `lock` is for payments/locks.py, the only place that says it.
    """
    last, last_id = _BEFORE_ALL if after is None else after.place
    with connection.cursor() as cursor:
        cursor.execute(f"{source.sql} {lock}", {"now": now, "after": last, "after_id": last_id, "limit": limit})
        rows = cursor.fetchall()
    return [
        Due(expires_at, order_id, number, attempt_id, opened_at, json.loads(stamp), failure)
        for expires_at, order_id, number, attempt_id, opened_at, stamp, failure in rows
    ]


def read_all(source: Source, *, now: datetime, limit: int) -> Iterator[Due]:
    """Read the candidates without a lock, a batch at a time."""
    after: Due | None = None
    while batch := read(source, now=now, after=after, limit=limit):
        yield from batch
        after = batch[-1]


def count(source: Source, *, now: datetime, limit: int) -> int:
    """Count the candidates, up to `limit`."""
    after, after_id = _BEFORE_ALL
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM ({source.sql}) found",  # noqa: S608 - our own names
            {"now": now, "after": after, "after_id": after_id, "limit": limit},
        )
        (found,) = cursor.fetchone()
    return int(found)
