"""Finds every difference between stock items, reservations, order lines and orders, and every order that is orphaned.

All of it is one statement, so it sees one state that was committed: what is only in motion is in both sides of a
comparison, or in neither. `payments/lifecycle/reconcile.py` asks the same again for one order or one item, under its
lock, before it repairs anything; so there is one piece of SQL that says what is wrong.

Reservations are what counters are held against: the database lets nobody delete one, change what it holds, or take it
back to active. Where reservations themselves are in dispute, nothing that follows from them is repaired.
"""

import enum
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from django.db import connection

from payments import clocks, config
from payments.domain import states


class Kind(enum.StrEnum):
    """What is wrong."""

    RESERVED_DIFFERS = "reserved_differs"
    SOLD_DIFFERS = "sold_differs"
    HELD_FOR_CANCELLED = "held_for_cancelled_order"
    HELD_FOR_PAID = "held_for_paid_order"
    SOLD_WITHOUT_PAYMENT = "sold_without_payment"
    PAID_WITHOUT_STOCK = "paid_without_stock"
    WAITS_WITHOUT_STOCK = "waits_without_stock"
    LINE_WITHOUT_RESERVATION = "line_without_reservation"
    RESERVATION_WITHOUT_LINE = "reservation_without_line"
    RESERVATION_DIFFERS = "reservation_differs_from_line"
    TOTAL_DIFFERS = "total_differs_from_lines"
    WAITS_WITHOUT_ATTEMPT = "waits_without_attempt"
    WAITS_WITHOUT_LIVING_ATTEMPT = "waits_without_living_attempt"
    WAITS_ALTHOUGH_PAID = "waits_although_paid"
    WAITS_FOR_SWEEP = "waits_for_the_sweep"


# What a repair does; a kind that is not here has none that is provably right.
_END = "end the order as the sweep does, if the clocks say that its window is over"
REPAIRS: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.RESERVED_DIFFERS: "count anew what is reserved, from the reservations",
        Kind.SOLD_DIFFERS: "count anew what is sold and on hand, from the reservations",
        Kind.HELD_FOR_CANCELLED: "release the reservation",
        Kind.HELD_FOR_PAID: "turn the reservation into sold stock",
        Kind.WAITS_WITHOUT_ATTEMPT: _END,
        Kind.WAITS_WITHOUT_LIVING_ATTEMPT: "mark it as failed, or end it if the clocks say that its window is over",
        Kind.WAITS_FOR_SWEEP: _END,
    }
)

OF_ITEMS = frozenset({Kind.RESERVED_DIFFERS, Kind.SOLD_DIFFERS})

# Both give: kind, order, its number, item, sku, line, detail, obstacle. %(..._ids)s is NULL for everything.

# What is wrong with reservations is wrong with every number that is counted from them.
_ITEM_FINDINGS = """
(WITH counted AS (
    SELECT item_id, coalesce(sum(quantity) FILTER (WHERE state = 'active'), 0) AS active,
        coalesce(sum(quantity) FILTER (WHERE state = 'consumed'), 0) AS consumed
    FROM payments_reservation WHERE %(item_ids)s::bigint[] IS NULL OR item_id = ANY(%(item_ids)s::bigint[])
    GROUP BY item_id
), wrong AS (
    SELECT s.id, s.sku, s.received, s.reserved, s.sold,
        coalesce(c.active, 0) AS active, coalesce(c.consumed, 0) AS consumed
    FROM payments_stockitem s LEFT JOIN counted c ON c.item_id = s.id
    WHERE (%(item_ids)s::bigint[] IS NULL OR s.id = ANY(%(item_ids)s::bigint[]))
        AND (s.reserved <> coalesce(c.active, 0) OR s.sold <> coalesce(c.consumed, 0))
), dispute AS (
    SELECT unnest(ARRAY[l.item_id, r.item_id]) AS item_id, o.order_id
    FROM payments_orderline l JOIN payments_order o ON o.id = l.order_id
    LEFT JOIN payments_reservation r ON r.line_id = l.id
    WHERE o.status <> 'cancelled'
        AND (l.item_id, l.quantity, l.order_id) IS DISTINCT FROM (r.item_id, r.quantity, r.order_id)
    UNION ALL
    SELECT r.item_id, o.order_id FROM payments_reservation r JOIN payments_order o ON o.id = r.order_id
    WHERE (r.state = 'consumed' AND o.status <> 'paid') OR (r.state = 'released' AND o.status = 'paid')
        OR NOT EXISTS (SELECT FROM payments_orderline l WHERE l.id = r.line_id)
), disputed AS (
    SELECT item_id, min(order_id) AS order_id FROM dispute WHERE item_id IN (SELECT id FROM wrong) GROUP BY item_id
), judged AS (
    SELECT w.*, CASE
        WHEN d.item_id IS NOT NULL
            THEN 'it is counted from reservations, and that of order ' || d.order_id || ' is wrong itself'
        WHEN w.consumed > w.received
            THEN 'reservations say that ' || w.consumed || ' were sold, and only ' || w.received || ' ever came in'
        WHEN w.active > w.received - w.consumed
            THEN 'only ' || w.received - w.consumed || ' would be on hand for ' || w.active || ' that are reserved'
        END AS obstacle
    FROM wrong w LEFT JOIN disputed d ON d.item_id = w.id
)
SELECT 'reserved_differs', NULL::uuid, NULL, id, sku, NULL::bigint,
    'reserved is ' || reserved || ', active reservations hold ' || active, obstacle
FROM judged WHERE reserved <> active
UNION ALL
SELECT 'sold_differs', NULL, NULL, id, sku, NULL,
    'sold is ' || sold || ', consumed reservations say ' || consumed, obstacle
FROM judged WHERE sold <> consumed)
"""

# A reservation that names another order than its line does counts as missing here, and as one without a line there.
_ORDER_FINDINGS = """
(WITH orders AS (
    SELECT * FROM payments_order WHERE %(order_ids)s::uuid[] IS NULL OR id = ANY(%(order_ids)s::uuid[])
), lines AS (
    SELECT * FROM payments_orderline WHERE %(order_ids)s::uuid[] IS NULL OR order_id = ANY(%(order_ids)s::uuid[])
), held AS (
    SELECT * FROM payments_reservation WHERE %(order_ids)s::uuid[] IS NULL OR order_id = ANY(%(order_ids)s::uuid[])
), pairs AS (
    SELECT coalesce(l.order_id, r.order_id) AS order_id, coalesce(l.id, r.line_id) AS line_id,
        l.id IS NOT NULL AS has_line, l.quantity AS ordered, l.item_id AS ordered_item,
        r.quantity AS held, r.item_id AS held_item, r.state
    FROM lines l FULL JOIN held r ON r.line_id = l.id AND r.order_id = l.order_id
), stock AS (
    SELECT o.id, o.order_id AS number, o.status, o.payment_status, o.payment_expires_at, p.line_id, p.has_line,
        p.state, coalesce(p.held_item, p.ordered_item) AS item_id, coalesce(h.sku, w.sku) AS sku,
        p.ordered || ' of ' || w.sku AS wanted, p.held || ' of ' || h.sku AS reserved,
        (p.held, p.held_item) IS DISTINCT FROM (p.ordered, p.ordered_item) AS is_other
    FROM pairs p JOIN orders o ON o.id = p.order_id
    LEFT JOIN payments_stockitem w ON w.id = p.ordered_item LEFT JOIN payments_stockitem h ON h.id = p.held_item
), waiting AS (
    SELECT o.id, o.order_id AS number, o.payment_status, o.payment_expires_at, a.state, a.expires_at,
        EXISTS (SELECT FROM payments_paymentattempt l WHERE l.order_id = o.id AND l.state = ANY(%(slot_holding)s))
            AS has_living
    FROM orders o LEFT JOIN LATERAL (
        SELECT state, expires_at FROM payments_paymentattempt WHERE order_id = o.id ORDER BY number DESC LIMIT 1
    ) a ON true
    WHERE o.status = 'under_paying'
)
SELECT 'held_for_cancelled_order', id, number, item_id, sku, line_id,
    'the reservation of ' || reserved || ' is active, the order is cancelled',
    (SELECT 'an attempt of it is ' || a.state FROM payments_paymentattempt a
        WHERE a.order_id = stock.id AND a.state = ANY(%(slot_holding)s) LIMIT 1)
FROM stock WHERE state = 'active' AND status = 'cancelled'
UNION ALL
SELECT 'held_for_paid_order', id, number, item_id, sku, line_id,
    'the reservation of ' || reserved || ' is active, the order is paid',
    CASE WHEN NOT EXISTS (
        SELECT FROM payments_paymentattempt a WHERE a.order_id = stock.id AND a.state = 'succeeded'
        UNION ALL
        SELECT FROM payments_archivedattempt a WHERE a.order_id = stock.id AND a.state = 'succeeded'
    ) THEN 'none of its attempts succeeded' END
FROM stock WHERE state = 'active' AND status = 'paid'
UNION ALL
SELECT 'sold_without_payment', id, number, item_id, sku, line_id,
    reserved || ' count as sold, the order is ' || status || ' and ' || payment_status,
    'a consumed reservation is final: find out whether the goods left, and whether money came'
FROM stock WHERE state = 'consumed' AND status <> 'paid'
UNION ALL
SELECT 'paid_without_stock', id, number, item_id, sku, line_id,
    'the reservation of ' || reserved || ' was released, the order is paid',
    'a released reservation is final, and its goods may be sold to others: deliver, or give the money back'
FROM stock WHERE state = 'released' AND status = 'paid'
UNION ALL
-- Stock is given back before the order ends only where money is in doubt; after its deadline the sweep ends the order.
SELECT 'waits_without_stock', id, number, item_id, sku, line_id,
    'the reservation of ' || reserved || ' was released, the order waits until ' || payment_expires_at,
    'a released reservation is final: a payment would be given back, and the sweep ends the order'
FROM stock WHERE state = 'released' AND status = 'under_paying' AND payment_expires_at > %(now)s
    AND NOT EXISTS (
        SELECT FROM payments_paymentattempt a WHERE a.order_id = stock.id AND a.state = ANY(%(unresolved)s)
    )
UNION ALL
SELECT 'line_without_reservation', id, number, item_id, sku, line_id,
    wanted || ' were ordered and nothing is reserved, the order is ' || status,
    'nobody knows what became of the reservation'
FROM stock WHERE has_line AND state IS NULL
UNION ALL
SELECT 'reservation_without_line', id, number, item_id, sku, line_id,
    'the reservation of ' || reserved || ' is ' || state || ', and the order has no such line',
    'nobody knows what was ordered'
FROM stock WHERE NOT has_line
UNION ALL
SELECT 'reservation_differs_from_line', id, number, item_id, sku, line_id,
    wanted || ' were ordered, the reservation is of ' || reserved || ' and ' || state,
    'neither can be changed, and nobody knows which is right'
FROM stock WHERE has_line AND state IS NOT NULL AND is_other
UNION ALL
SELECT 'total_differs_from_lines', o.id, o.order_id, NULL, NULL, NULL,
    'its total is ' || o.total_minor || ', its lines add up to ' || coalesce(sum(l.quantity * l.unit_price_minor), 0)
        || ' (minor units)',
    'neither can be changed, and nobody knows which is right'
FROM orders o LEFT JOIN lines l ON l.order_id = o.id GROUP BY o.id, o.order_id, o.total_minor
HAVING o.total_minor <> coalesce(sum(l.quantity * l.unit_price_minor), 0)
UNION ALL
SELECT 'waits_without_attempt', id, number, NULL, NULL, NULL,
    'it waits as ' || payment_status || ' and has no attempt, deadline ' || payment_expires_at,
    CASE WHEN payment_expires_at > %(now)s THEN 'it may wait until its deadline; from then on a repair ends it' END
FROM waiting WHERE state IS NULL
UNION ALL
SELECT 'waits_without_living_attempt', id, number, NULL, NULL, NULL,
    'it waits as pending, its last attempt is ' || state || ', deadline ' || payment_expires_at,
    CASE WHEN state <> 'failed' AND payment_expires_at > %(now)s
        THEN 'it may wait until its deadline; from then on a repair ends it' END
FROM waiting WHERE state IS NOT NULL AND NOT has_living AND payment_status = 'pending'
UNION ALL
SELECT 'waits_although_paid', w.id, w.number, NULL, NULL, NULL,
    'it waits as ' || w.payment_status || ', and its attempt ' || a.number || ' has succeeded',
    'money came and the order was not closed with it: look at the history'
FROM waiting w JOIN payments_paymentattempt a ON a.order_id = w.id AND a.state = 'succeeded'
UNION ALL
SELECT 'waits_for_the_sweep', id, number, NULL, NULL, NULL,
    'its attempt is ' || state || ', its window was over at ' || coalesce(expires_at, payment_expires_at)
        || ', and it waits for the sweep',
    NULL
FROM waiting WHERE (state = ANY(%(sweepable)s) AND expires_at <= %(overdue)s)
    OR (payment_status = 'failed' AND state IS NOT NULL AND NOT has_living AND payment_expires_at <= %(overdue)s))
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference, with the numbers on both sides. It is of an item or of an order."""

    kind: Kind
    detail: str
    obstacle: str  # Why a person has to decide; empty when a repair is provably right.
    order_id: UUID | None = None
    order_number: str = ""  # The shop's own.
    item_id: int | None = None
    sku: str = ""
    line_id: int | None = None

    @property
    def key(self) -> tuple[Kind, UUID | None, int | None, int | None]:
        """What makes it the same difference when it is found again."""
        return self.kind, self.order_id, self.item_id if self.order_id is None else None, self.line_id

    @property
    def what(self) -> str:
        """Name what it is of, as a person would look it up."""
        line = "" if self.line_id is None else f", line {self.line_id}"
        return f"item {self.sku}" if self.order_id is None else f"order {self.order_number}{line}"

    @property
    def repair(self) -> str:
        """Say what a repair does; empty when a person has to decide."""
        return "" if self.obstacle else REPAIRS[self.kind]


def differences_everywhere() -> list[Difference]:
    """Find every difference there is: items by id, then orders by the shop's number."""
    scope = {"order_ids": None, "item_ids": None}
    return _found(f"{_ITEM_FINDINGS} UNION ALL {_ORDER_FINDINGS}", scope)


def differences_of_order(*, order_id: UUID) -> list[Difference]:
    """Find what is wrong with one order, its lines and reservations."""
    return _found(_ORDER_FINDINGS, {"order_ids": [order_id]})


def differences_of_item(*, item_id: int) -> list[Difference]:
    """Find what is wrong with one item's counters."""
    return _found(_ITEM_FINDINGS, {"item_ids": [item_id]})


def keys(differences: Iterable[Difference]) -> Collection[object]:
    """Give what the differences are recognised by."""
    return {difference.key for difference in differences}


def _found(findings: str, scope: Mapping[str, Any]) -> list[Difference]:
    limits = config.limits()
    patience = timedelta(seconds=limits.expiry_objective_seconds + limits.sweep_period_seconds)
    now = clocks.database_now()  # Before the statement takes its snapshot: nothing looks later than it is.
    parameters: dict[str, Any] = {
        **scope,
        "slot_holding": sorted(states.SLOT_HOLDING),
        "sweepable": sorted(states.SWEEPABLE),
        "unresolved": sorted(states.UNRESOLVED),
        "now": now,
        "overdue": now - patience,
    }
    with connection.cursor() as cursor:
        cursor.execute(findings, parameters)
        rows = cursor.fetchall()
    found = [
        Difference(
            kind=Kind(kind),
            detail=detail,
            obstacle=obstacle or "",
            order_id=order_id,
            order_number=number or "",
            item_id=item_id,
            sku=sku or "",
            line_id=line_id,
        )
        for kind, order_id, number, item_id, sku, line_id, detail, obstacle in rows
    ]
    return sorted(found, key=lambda row: (row.order_number, row.item_id or 0, row.line_id or 0, row.kind))
