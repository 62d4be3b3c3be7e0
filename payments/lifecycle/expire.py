"""Expire: the window closed first. Attempt, history, order, reservations and stock end in one transaction.

The announcement is part of it. The sweep works on sets: it locks the orders of the oldest due attempts, skipping those
that somebody holds, reads the clocks, has the clock guard judge each, and ends those that are over in one statement.
Several sweeps may run at once. A claim or a submission that comes too late ends its own order the same way, so there
is one piece of SQL that expires.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

import structlog
from django.db import connection

from payments import clocks, config, guard, locks, queries
from payments.domain.announcements import AnnouncementKind, GivenBack
from payments.domain.clock import Judgement, Ruling
from payments.domain.ids import Prefix, public_id
from payments.domain.states import SLOT_HOLDING, SWEEPABLE
from payments.lifecycle.announce import expiry_parameters, stage
from payments.locks import Candidate, LockCandidates
from payments.models import Order, PaymentAttempt
from payments.transactions import after_commit, require_transaction, transaction

log = structlog.get_logger(__name__)

SWEEP = "sweep"

_EXPIRE_SQL = """
WITH due AS (
    SELECT id, state FROM payments_paymentattempt
    WHERE order_id = ANY(%(order_ids)s) AND state = ANY(%(sweepable)s)
), expired AS (
    UPDATE payments_paymentattempt a
    SET state = 'expired', version = a.version + 1, closed_at = %(now)s, due_at = NULL, held_since = NULL
    FROM due WHERE a.id = due.id
    RETURNING a.id, a.order_id, a.version, a.expires_at, a.amount_minor, due.state AS from_state
), recorded AS (
    INSERT INTO payments_historyentry (attempt_id, number, from_state, to_state, at, actor, reason, evidence)
    SELECT id, version, from_state, 'expired', %(now)s, %(actor)s, 'window_closed',
        jsonb_build_object('now', %(now)s::timestamptz, 'expires_at', expires_at, 'clocks', judged.clocks)
    FROM expired JOIN unnest(%(order_ids)s, %(clocks)s::jsonb[]) AS judged(order_id, clocks) USING (order_id)
), closed AS (
    UPDATE payments_order o SET status = 'cancelled', payment_status = 'expired', closed_at = %(now)s
    WHERE o.id = ANY(%(order_ids)s) AND o.status = 'under_paying'
        AND NOT EXISTS (
            SELECT 1 FROM payments_paymentattempt a
            WHERE a.order_id = o.id AND a.state = ANY(%(slot_holding)s)
                AND NOT EXISTS (SELECT 1 FROM due WHERE due.id = a.id)
        )
    RETURNING o.id, o.order_id, o.payment_expires_at, o.total_minor, o.currency
), released AS (
    UPDATE payments_reservation r SET state = 'released', closed_at = %(now)s
    FROM closed WHERE r.order_id = closed.id AND r.state = 'active'
    RETURNING r.item_id, r.quantity
), returned AS (
    UPDATE payments_stockitem s SET reserved = s.reserved - freed.quantity
    FROM (SELECT item_id, sum(quantity) AS quantity FROM released GROUP BY item_id) freed WHERE s.id = freed.item_id
), news AS (
    SELECT fresh.id, closed.id AS order_id, closed.order_id AS order_number, closed.currency, expired.id AS attempt_id,
        coalesce(expired.amount_minor, closed.total_minor) AS amount_minor,
        1 + coalesce((SELECT max(number) FROM payments_announcement e WHERE e.order_id = closed.id), 0) AS number
    FROM closed JOIN unnest(%(order_ids)s, %(announcement_ids)s) AS fresh(order_id, id) ON fresh.order_id = closed.id
    LEFT JOIN expired ON expired.order_id = closed.id
    WHERE %(is_announced)s
), announced AS (
    INSERT INTO payments_announcement (id, order_id, attempt_id, number, kind, created_at, payload)
    SELECT id, order_id, attempt_id, number, 'payment_expired', %(now)s,
        CASE WHEN attempt_id IS NULL THEN %(order_payload)s::jsonb ELSE %(attempt_payload)s::jsonb END
        || jsonb_build_object(
            'id', 'ann_' || replace(id::text, '-', ''), 'payment_id', 'pay_' || replace(attempt_id::text, '-', ''),
            'number', number, 'order_id', order_number, 'amount_minor', amount_minor, 'currency', currency
        )
    FROM news
    RETURNING id
), owed AS (
    INSERT INTO payments_announcementdelivery (announcement_id, destination, due_at, tries, fence, last_error)
    SELECT announced.id, destination, %(now)s, 0, 0, ''
    FROM announced CROSS JOIN unnest(%(destinations)s::text[]) AS destination
)
SELECT closed.order_id, expired.id, coalesce(expired.expires_at, closed.payment_expires_at)
FROM closed LEFT JOIN expired ON expired.order_id = closed.id
"""


# (the shop's number of the order, the attempt that ended with it if one did, its deadline)
_Ended = tuple[str, UUID | None, datetime]


@dataclass(frozen=True, slots=True)
class SweepRun:
    """What one run of the sweep did."""

    expired_orders: int
    held_orders: int  # Due by some clock, and left alone because the clocks do not agree.
    held_why: str
    batches: int
    duration_seconds: float
    is_finished: bool  # False when the run ended at its cap and more may be due.


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one transaction of the sweep did. `last` is where the next batch goes on; None when nothing is left."""

    ended: int
    held: list[Judgement]
    last: Candidate | None


def sweep_expired() -> SweepRun:
    """Expire everything that is due, batch by batch, up to the cap of a run."""
    limits = config.limits()
    started = time.monotonic()
    expired, batches, held = 0, 0, list[Judgement]()
    is_finished = True
    for lock_candidates in (locks.lock_orders_due, locks.lock_orders_due_after_failure):
        after: Candidate | None = None
        is_finished = False
        while batches < limits.sweep_batches_per_run:
            batches += 1
            batch = _sweep_batch(lock_candidates, after=after, limit=limits.sweep_batch_rows)
            expired, held, after = expired + batch.ended, held + batch.held, batch.last
            if batch.last is None:
                is_finished = True
                break
    run = SweepRun(
        expired_orders=expired,
        held_orders=len(held),
        held_why=held[0].why if held else "",
        batches=batches,
        duration_seconds=round(time.monotonic() - started, 6),
        is_finished=is_finished,
    )
    if expired or not is_finished:
        log.info("sweep_finished", **asdict(run))
    return run


def expire_locked_orders(over: Mapping[UUID, Judgement], *, now: datetime, actor: str) -> int:
    """End orders and their living attempts, each with the judgement that its window is over; returns how many ended.

    The caller holds the locks of the orders, and read the clocks after it got them.
    """
    ended = _expire(over, now=now, actor=actor, is_announced=True)
    after_commit(lambda: _log_expiries(ended, actor=actor))
    return len(ended)


def close_expired_order(
    order: Order,
    *,
    attempt: PaymentAttempt,
    judgement: Judgement,
    given_back: GivenBack | None,
    now: datetime,
    actor: str,
) -> None:
    """End the order of an attempt that the caller has just ended as expired, and announce what goes back of its money.

    The caller holds the order's lock.
    """
    closed = _expire({order.id: judgement}, now=now, actor=actor, is_announced=False)
    if closed:
        stage(kind=AnnouncementKind.PAYMENT_EXPIRED, order=order, attempt=attempt, now=now, given_back=given_back)
    ended = [(order.order_id, attempt.id, attempt.expires_at)]
    after_commit(lambda: _log_expiries(ended, actor=actor))


def _expire(over: Mapping[UUID, Judgement], *, now: datetime, actor: str, is_announced: bool) -> list[_Ended]:
    require_transaction()
    order_ids = list(over)
    locks.lock_stock_of_orders(order_ids=order_ids)
    with connection.cursor() as cursor:
        cursor.execute(
            _EXPIRE_SQL,
            {
                "order_ids": order_ids,
                "clocks": [json.dumps(judgement.as_evidence()) for judgement in over.values()],
                "now": now,
                "actor": actor,
                "sweepable": sorted(SWEEPABLE),
                "slot_holding": sorted(SLOT_HOLDING),
                "is_announced": is_announced,
                **expiry_parameters(order_ids=order_ids, now=now),
            },
        )
        ended: list[_Ended] = cursor.fetchall()
    return ended


def _sweep_batch(lock_candidates: LockCandidates, *, after: Candidate | None, limit: int) -> _Batch:
    """Sweep one batch: what is over ends, and what the clocks disagree about is passed by."""
    with transaction():
        first = clocks.read()
        # A clock that was set back must not keep the sweep from looking; what it finds is judged by all of them.
        found = lock_candidates(now=max(first.now, first.expected or first.now), after=after, limit=limit)
        if not found:
            return _Batch(ended=0, held=[], last=None)
        reading = clocks.read()
        judged = {
            attempt.order_id: guard.judge(attempt, reading=reading)
            for attempt in queries.latest_attempts(order_ids=[candidate.order_id for candidate in found])
        }
        over = {order_id: judgement for order_id, judgement in judged.items() if judgement.ruling is Ruling.EXPIRE}
        ended = expire_locked_orders(over, now=reading.now, actor=SWEEP) if over else 0
    held = [judgement for judgement in judged.values() if judgement.ruling is Ruling.HOLD]
    return _Batch(ended=ended, held=held, last=found[-1] if len(found) == limit else None)


def _log_expiries(ended: Sequence[_Ended], *, actor: str) -> None:
    for order_id, attempt_id, expires_at in ended:
        facts = {"order_id": order_id, "expires_at": expires_at.isoformat(), "actor": actor}
        if attempt_id is None:  # Its attempt had failed before: only the order's time ran out.
            log.info("order_expired", **facts)
        else:
            log.info("payment_expired", payment_id=public_id(Prefix.PAYMENT, attempt_id), **facts)
