"""Expire: the window closed first. Attempt, history, order, reservations and stock end in one transaction.

The sweep works on sets: it locks the orders of the oldest due attempts, skipping those that somebody holds, reads the
clock again, and ends what is still due in one statement. Several sweeps may run at once. A claim or a submission that
comes too late ends its own order the same way, so there is one piece of SQL that expires.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

import structlog
from django.db import connection

from payments import clocks, config, locks
from payments.domain.ids import Prefix, public_id
from payments.domain.states import SLOT_HOLDING, SWEEPABLE
from payments.transactions import after_commit, require_transaction, transaction

log = structlog.get_logger(__name__)

SWEEP = "sweep"

_EXPIRE_SQL = """
WITH due AS (
    SELECT id, state FROM payments_paymentattempt
    WHERE order_id = ANY(%(order_ids)s) AND state = ANY(%(sweepable)s) AND expires_at <= %(now)s
), expired AS (
    UPDATE payments_paymentattempt a
    SET state = 'expired', version = a.version + 1, closed_at = %(now)s, due_at = NULL
    FROM due WHERE a.id = due.id
    RETURNING a.id, a.order_id, a.version, a.expires_at, due.state AS from_state
), recorded AS (
    INSERT INTO payments_historyentry (attempt_id, number, from_state, to_state, at, actor, reason, evidence)
    SELECT id, version, from_state, 'expired', %(now)s, %(actor)s, 'window_closed',
        jsonb_build_object('now', %(now)s::timestamptz, 'expires_at', expires_at)
    FROM expired
), closed AS (
    UPDATE payments_order o SET status = 'cancelled', payment_status = 'expired', closed_at = %(now)s
    WHERE o.id = ANY(%(order_ids)s) AND o.status = 'under_paying'
        AND (o.payment_expires_at <= %(now)s OR o.id IN (SELECT order_id FROM expired))
        AND NOT EXISTS (
            SELECT 1 FROM payments_paymentattempt a
            WHERE a.order_id = o.id AND a.state = ANY(%(slot_holding)s)
                AND NOT EXISTS (SELECT 1 FROM due WHERE due.id = a.id)
        )
    RETURNING o.id, o.order_id, o.payment_expires_at
), released AS (
    UPDATE payments_reservation r SET state = 'released', closed_at = %(now)s
    FROM closed WHERE r.order_id = closed.id AND r.state = 'active'
    RETURNING r.item_id, r.quantity
), returned AS (
    UPDATE payments_stockitem s SET reserved = s.reserved - freed.quantity
    FROM (SELECT item_id, sum(quantity) AS quantity FROM released GROUP BY item_id) freed WHERE s.id = freed.item_id
)
SELECT closed.order_id, expired.id, coalesce(expired.expires_at, closed.payment_expires_at)
FROM closed LEFT JOIN expired ON expired.order_id = closed.id
"""


@dataclass(frozen=True, slots=True)
class SweepRun:
    """What one run of the sweep did."""

    expired_orders: int
    batches: int
    duration_seconds: float
    is_finished: bool  # False when the run ended at its cap and more may be due.


def sweep_expired() -> SweepRun:
    """Expire everything that is due, batch by batch, up to the cap of a run."""
    limits = config.limits()
    started = time.monotonic()
    expired = 0
    for batch in range(1, limits.sweep_batches_per_run + 1):
        locked, ended = _sweep_batch(limit=limits.sweep_batch_rows)
        expired += ended
        if locked < limits.sweep_batch_rows:
            return _finish(expired, batches=batch, started=started, is_finished=True)
    return _finish(expired, batches=limits.sweep_batches_per_run, started=started, is_finished=False)


def expire_locked_orders(*, order_ids: Sequence[UUID], now: datetime, actor: str) -> int:
    """End every attempt and order among `order_ids` whose deadline is over at `now`; returns how many orders ended.

    The caller holds the locks of the orders and read `now` after it got them.
    """
    require_transaction()
    locks.lock_stock_of_orders(order_ids=order_ids)
    with connection.cursor() as cursor:
        cursor.execute(
            _EXPIRE_SQL,
            {
                "order_ids": list(order_ids),
                "now": now,
                "actor": actor,
                "sweepable": sorted(SWEEPABLE),
                "slot_holding": sorted(SLOT_HOLDING),
            },
        )
        ended = cursor.fetchall()
    after_commit(lambda: _log_expiries(ended, actor=actor))
    return len(ended)


def _sweep_batch(*, limit: int) -> tuple[int, int]:
    """Sweep one batch; returns how many orders were locked and how many ended."""
    with transaction():
        candidates_at = clocks.database_now()
        order_ids = locks.lock_orders_due(now=candidates_at, limit=limit)
        if len(order_ids) < limit:
            order_ids += locks.lock_orders_due_after_failure(now=candidates_at, limit=limit - len(order_ids))
        if not order_ids:
            return 0, 0
        ended = expire_locked_orders(order_ids=order_ids, now=clocks.database_now(), actor=SWEEP)
    return len(order_ids), ended


def _log_expiries(ended: Sequence[tuple[str, UUID | None, datetime]], *, actor: str) -> None:
    for order_id, attempt_id, expires_at in ended:
        facts = {"order_id": order_id, "expires_at": expires_at.isoformat(), "actor": actor}
        if attempt_id is None:  # Its attempt had failed before: only the order's time ran out.
            log.info("order_expired", **facts)
        else:
            log.info("payment_expired", payment_id=public_id(Prefix.PAYMENT, attempt_id), **facts)


def _finish(expired: int, *, batches: int, started: float, is_finished: bool) -> SweepRun:
    run = SweepRun(
        expired_orders=expired,
        batches=batches,
        duration_seconds=round(time.monotonic() - started, 6),
        is_finished=is_finished,
    )
    if expired or not is_finished:
        log.info("sweep_finished", **asdict(run))
    return run
