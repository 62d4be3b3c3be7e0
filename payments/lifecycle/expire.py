"""Expire: the window closed first. Attempt, history, order, reservations and stock end in one transaction.

The announcement is part of it. The sweep ends a thousand at once (sweep.py); a claim, a submission or a retry that
comes too late ends its own order the same way, so there is one piece of SQL that expires.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import structlog
from django.db import connection

from payments import queries
from payments.domain.announcements import AnnouncementKind, GivenBack
from payments.domain.clock import Judgement
from payments.domain.errors import PaymentExpired
from payments.domain.ids import Prefix, new_id, public_id
from payments.domain.states import SLOT_HOLDING, SWEEPABLE
from payments.lifecycle.announce import expiry_parameters, stage
from payments.lifecycle.stock import give_back_stock
from payments.models import Order, PaymentAttempt
from payments.transactions import after_commit, require_transaction

log = structlog.get_logger(__name__)


class Over(NamedTuple):
    """An order, the attempt that its time is measured by, and the judgement that this time is over."""

    order_id: UUID
    order_number: str  # The shop's.
    attempt_id: UUID | None  # None for an order that has none.
    expires_at: datetime
    judgement: Judgement


_EXPIRE_SQL = """
WITH judged AS MATERIALIZED (
    SELECT judged.*, a.id AS living_id, a.state
    FROM jsonb_to_recordset(%(judged)s::jsonb)
        AS judged(order_id uuid, attempt_id uuid, announcement_id uuid, clocks jsonb)
    LEFT JOIN payments_paymentattempt a ON a.id = judged.attempt_id AND a.state = ANY(%(sweepable)s)
), expired AS (
    UPDATE payments_paymentattempt a
    SET state = 'expired', version = a.version + 1, closed_at = %(now)s, due_at = NULL, held_since = NULL
    FROM judged WHERE a.id = judged.living_id
    RETURNING a.id, a.order_id, a.version, a.expires_at, a.amount_minor, judged.state AS from_state, judged.clocks
), recorded AS (
    INSERT INTO payments_historyentry (attempt_id, number, from_state, to_state, at, actor, reason, evidence)
    SELECT id, version, from_state, 'expired', %(now)s, %(actor)s, 'window_closed',
        jsonb_build_object('now', %(now)s::timestamptz, 'expires_at', expires_at, 'clocks', clocks)
    FROM expired
), closed AS (
    UPDATE payments_order o SET status = 'cancelled', payment_status = 'expired', closed_at = %(now)s
    FROM judged WHERE o.id = judged.order_id AND o.status = 'under_paying'
        AND NOT EXISTS (
            SELECT FROM payments_paymentattempt a
            WHERE a.order_id = o.id AND a.state = ANY(%(slot_holding)s) AND a.id IS DISTINCT FROM judged.living_id
        )
    RETURNING o.id, o.order_id, o.total_minor, o.currency, judged.announcement_id
), resolved AS (
    UPDATE payments_expiryfailure f SET resolved_at = %(now)s
    FROM closed WHERE f.order_id = closed.id AND f.resolved_at IS NULL
), released AS (
    UPDATE payments_reservation r SET state = 'released', closed_at = %(now)s
    FROM closed WHERE r.order_id = closed.id AND r.state = 'active'
    RETURNING r.item_id, r.quantity
), news AS (
    SELECT closed.announcement_id AS id, closed.id AS order_id, closed.order_id AS order_number, closed.currency,
        expired.id AS attempt_id,
        coalesce(expired.amount_minor, closed.total_minor) AS amount_minor,
        1 + coalesce((SELECT max(number) FROM payments_announcement e WHERE e.order_id = closed.id), 0) AS number
    FROM closed LEFT JOIN expired ON expired.order_id = closed.id
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
SELECT (
    SELECT jsonb_object_agg(closed.id, expired.id IS NOT NULL)
    FROM closed LEFT JOIN expired ON expired.order_id = closed.id
), (
    SELECT jsonb_object_agg(item_id, quantity)
    FROM (SELECT item_id, sum(quantity) AS quantity FROM released GROUP BY item_id) freed
)
"""


class Ended(NamedTuple):
    """An order that ended, and its attempt if that ended with it."""

    order_id: UUID
    order_number: str
    attempt_id: UUID | None
    expires_at: datetime


def expire_locked_orders(over: Sequence[Over], *, now: datetime, actor: str) -> list[Ended]:
    """End orders and their living attempts, each with the judgement that its time is over; returns those that ended.

    The caller holds the locks of the orders, and read the clocks after it got them.
    """
    ended = _expire(over, now=now, actor=actor, is_announced=True)
    after_commit(lambda: _log_expiries(ended, actor=actor))
    return ended


def late(attempt: PaymentAttempt) -> PaymentExpired:
    """Give the refusal of whatever comes after an attempt's window, with what became of its money."""
    message = f"The payment window closed at {attempt.expires_at.isoformat()}. You have not been charged."
    if attempt.fence:  # Money may have come, too late.
        message = queries.attempt_for(attempt_id=attempt.id, customer_id=None).message
    return PaymentExpired(message, payment_id=attempt.public_id, expires_at=attempt.expires_at.isoformat())


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
    over = Over(order.id, order.order_id, attempt.id, attempt.expires_at, judgement)
    if _expire([over], now=now, actor=actor, is_announced=False):
        stage(kind=AnnouncementKind.PAYMENT_EXPIRED, order=order, attempt=attempt, now=now, given_back=given_back)
    ended = Ended(order.id, order.order_id, attempt.id, attempt.expires_at)
    after_commit(lambda: _log_expiries([ended], actor=actor))


def _expire(over: Sequence[Over], *, now: datetime, actor: str, is_announced: bool) -> list[Ended]:
    require_transaction()
    judged = [
        {
            "order_id": str(one.order_id),
            "attempt_id": None if one.attempt_id is None else str(one.attempt_id),
            "announcement_id": str(new_id()),
            "clocks": one.judgement.as_evidence(),
        }
        for one in over
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            _EXPIRE_SQL,
            {
                "judged": json.dumps(judged),
                "now": now,
                "actor": actor,
                "sweepable": sorted(SWEEPABLE),
                "slot_holding": sorted(SLOT_HOLDING),
                "is_announced": is_announced,
                **expiry_parameters(now=now),
            },
        )
        ended, freed = (json.loads(column or "{}") for column in cursor.fetchone())
    give_back_stock(quantities={int(item_id): quantity for item_id, quantity in freed.items()})
    return [
        Ended(one.order_id, one.order_number, one.attempt_id if ended[key] else None, one.expires_at)
        for one in over
        if (key := str(one.order_id)) in ended
    ]


def _log_expiries(ended: Sequence[Ended], *, actor: str) -> None:
    for order in ended:
        facts = {"order_id": order.order_number, "expires_at": order.expires_at.isoformat(), "actor": actor}
        if order.attempt_id is None:  # Its attempt had failed before: only the order's time ran out.
            log.info("order_expired", **facts)
        else:
            log.info("payment_expired", payment_id=public_id(Prefix.PAYMENT, order.attempt_id), **facts)
