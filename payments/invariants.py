"""Truths that hold in every committed state, each a small named query that returns what breaks it.

They run after every integration test, as `manage.py check_invariants`, and from beat in production. Each reads rows
only, never what the code believes; a break is a bug or a tampering, never a state that passes.

`SAFETY` holds at every moment. `LIVENESS` says that somebody is at work: it may be broken for a while by an outage, and
it is broken for good when nobody works.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from payments import clocks
from payments.domain import states
from payments.domain.outcomes import BEGINS_CHARGE
from payments.domain.window import LONGEST_HOLD_AFTER_WINDOW

ROWS_PER_RULE = 100  # Enough to see what is wrong; a rule that is broken everywhere does not flood the log.

# When nothing has moved for so long past its time, nobody is at work.
OVERDUE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Rule:
    """One truth. Its query returns (what, detail) for every row that breaks it."""

    name: str
    says: str
    sql: str


@dataclass(frozen=True, slots=True)
class Break:
    """One row that breaks a rule."""

    rule: str
    what: str  # An id that a person can look up.
    detail: str


SAFETY: tuple[Rule, ...] = (
    Rule(
        "one_slot_holder",
        "An order has at most one attempt that lives or has succeeded.",
        """
        SELECT o.order_id, count(*) || ' attempts hold the slot' FROM payments_paymentattempt a
        JOIN payments_order o ON o.id = a.order_id
        WHERE a.state = ANY(%(slot_holding)s) GROUP BY o.order_id HAVING count(*) > 1
        """,
    ),
    Rule(
        "paid_by_one_success",
        "An order is paid exactly when one of its attempts has succeeded.",
        """
        SELECT o.order_id, o.status || ' with ' || count(a.id) || ' successes' FROM payments_order o
        LEFT JOIN (
            SELECT id, order_id FROM payments_paymentattempt WHERE state = 'succeeded'
            UNION ALL SELECT id, order_id FROM payments_archivedattempt WHERE state = 'succeeded'
        ) a ON a.order_id = o.id
        GROUP BY o.id HAVING (o.status = 'paid' AND count(a.id) <> 1) OR (o.status <> 'paid' AND count(a.id) <> 0)
        """,
    ),
    Rule(
        "waiting_for_something",
        "An order that waits has a living attempt, or its last one failed and may be tried again.",
        """
        SELECT o.order_id, 'waits as ' || o.payment_status || ' without a living attempt' FROM payments_order o
        WHERE o.status = 'under_paying' AND o.payment_status <> 'failed' AND NOT EXISTS (
            SELECT 1 FROM payments_paymentattempt a WHERE a.order_id = o.id AND a.state = ANY(%(slot_holding)s)
        )
        """,
    ),
    Rule(
        "closed_for_good",
        "An order that was cancelled has no living attempt.",
        """
        SELECT o.order_id, 'cancelled with an attempt in ' || a.state FROM payments_order o
        JOIN payments_paymentattempt a ON a.order_id = o.id AND a.state = ANY(%(slot_holding)s)
        WHERE o.status = 'cancelled'
        """,
    ),
    Rule(
        "kept_within_the_total",
        "Once everything is settled, what was captured for an order less what went back is at most its total.",
        """
        WITH captured AS (
            SELECT a.order_id, count(DISTINCT (a.gateway, c.reference)) * min(a.amount_minor) AS amount
            FROM payments_gatewaycall c JOIN payments_paymentattempt a ON a.id = c.attempt_id
            WHERE c.outcome = 'captured' GROUP BY a.order_id
        ), returned AS (
            SELECT order_id, sum(amount_minor) AS amount FROM payments_compensation
            WHERE kind = 'refund' AND state = 'done' GROUP BY order_id
        )
        SELECT o.order_id, captured.amount - coalesce(returned.amount, 0) || ' kept of ' || o.total_minor
        FROM captured JOIN payments_order o ON o.id = captured.order_id
        LEFT JOIN returned ON returned.order_id = o.id
        WHERE captured.amount - coalesce(returned.amount, 0) > o.total_minor
            AND NOT EXISTS (SELECT 1 FROM payments_compensation p WHERE p.order_id = o.id AND p.state <> 'done')
            AND NOT EXISTS (
                SELECT 1 FROM payments_paymentattempt a WHERE a.order_id = o.id AND a.state = ANY(%(unresolved)s)
            )
        """,
    ),
    Rule(
        "successes_are_accounted_for",
        "Money that was seen to move belongs to a success, to a compensation, or to something that is still open.",
        """
        SELECT c.reference, 'captured under an attempt that is ' || a.state FROM payments_gatewaycall c
        JOIN payments_paymentattempt a ON a.id = c.attempt_id
        WHERE c.outcome = 'captured' AND a.state <> ALL(%(unresolved)s)
            AND NOT (a.state = 'succeeded' AND a.gateway_reference = c.reference)
            AND NOT EXISTS (
                SELECT 1 FROM payments_compensation p WHERE p.gateway = a.gateway
                    AND (p.charge_reference = c.reference OR (p.charge_reference = '' AND p.attempt_id = a.id))
            )
        """,
    ),
    Rule(
        "nothing_is_left_held",
        "Money that was held under an attempt that has ended was captured, let go, or is about to be.",
        """
        SELECT c.reference, c.outcome || ' under an attempt that is ' || a.state FROM payments_gatewaycall c
        JOIN payments_paymentattempt a ON a.id = c.attempt_id
        WHERE c.outcome IN ('authorized', 'pending') AND a.state IN ('failed', 'expired', 'cancelled')
            AND NOT EXISTS (
                SELECT 1 FROM payments_compensation p WHERE p.gateway = a.gateway
                    AND (p.charge_reference = c.reference OR (p.charge_reference = '' AND p.attempt_id = a.id))
            )
            AND NOT EXISTS (
                SELECT 1 FROM payments_gatewaycall later WHERE later.attempt_id = a.id
                    AND later.finished_at >= c.finished_at
                    AND later.outcome IN ('undone', 'declined', 'captured', 'several')
            )
        """,
    ),
    Rule(
        "written_before_it_was_sent",
        "Every charge was claimed first, under the key and with the fence that its call has.",
        """
        SELECT a.id::text, c.operation || ' under fence ' || c.fence || ' and key ' || c.idempotency_key
        FROM payments_gatewaycall c JOIN payments_paymentattempt a ON a.id = c.attempt_id
        WHERE c.operation = ANY(%(begins_charge)s) AND NOT (
            c.fence BETWEEN 1 AND a.fence AND c.idempotency_key = a.gateway_key AND c.request_hash <> ''
            AND EXISTS (
                SELECT 1 FROM payments_historyentry h WHERE h.attempt_id = a.id AND h.to_state = 'charging'
            )
        )
        """,
    ),
    Rule(
        "one_key_and_body",
        "An attempt is charged under one key with one body, however often it is sent.",
        """
        SELECT a.id::text, count(DISTINCT (c.idempotency_key, c.request_hash)) || ' requests'
        FROM payments_gatewaycall c JOIN payments_paymentattempt a ON a.id = c.attempt_id
        WHERE c.operation = ANY(%(begins_charge)s)
        GROUP BY a.id HAVING count(DISTINCT (c.idempotency_key, c.request_hash)) > 1
        """,
    ),
    Rule(
        "begun_inside_the_window",
        "No charge and no authorisation begins at or after the end of the window.",
        """
        SELECT a.id::text, c.operation || ' at ' || c.started_at || ', window until ' || a.expires_at
        FROM payments_gatewaycall c JOIN payments_paymentattempt a ON a.id = c.attempt_id
        WHERE c.operation = ANY(%(begins_charge)s) AND c.started_at >= a.expires_at
        """,
    ),
    Rule(
        "captured_inside_the_grace",
        "No capture begins at or after the end of window and grace.",
        """
        SELECT a.id::text, 'capture at ' || c.started_at || ', window until ' || a.expires_at
            || ', grace of ' || a.grace_seconds || ' s'
        FROM payments_gatewaycall c JOIN payments_paymentattempt a ON a.id = c.attempt_id
        WHERE c.operation = 'capture' AND c.started_at >= a.expires_at + make_interval(secs => a.grace_seconds)
        """,
    ),
    Rule(
        "archived_whole",
        "An order whose payments were archived is closed, and has none that was not.",
        """
        SELECT o.order_id, o.status || ' with ' || count(a.id) || ' archived and '
            || (SELECT count(*) FROM payments_paymentattempt l WHERE l.order_id = o.id) || ' other attempts'
        FROM payments_archivedattempt a JOIN payments_order o ON o.id = a.order_id
        WHERE o.closed_at IS NULL OR EXISTS (SELECT FROM payments_paymentattempt l WHERE l.order_id = o.id)
        GROUP BY o.id
        """,
    ),
    Rule(
        "stock_adds_up",
        "What is reserved and sold of an item is what its reservations say.",
        """
        SELECT s.sku, 'reserved ' || s.reserved || ' for ' || coalesce(r.active, 0)
            || ', sold ' || s.sold || ' for ' || coalesce(r.consumed, 0)
        FROM payments_stockitem s LEFT JOIN (
            SELECT item_id, sum(quantity) FILTER (WHERE state = 'active') AS active,
                sum(quantity) FILTER (WHERE state = 'consumed') AS consumed
            FROM payments_reservation GROUP BY item_id
        ) r ON r.item_id = s.id
        WHERE s.reserved <> coalesce(r.active, 0) OR s.sold <> coalesce(r.consumed, 0)
        """,
    ),
    Rule(
        "stock_follows_the_order",
        "A paid order has used its stock, a cancelled one has given it back, and no other has used any.",
        """
        SELECT o.order_id, 'stock is ' || r.state || ' for an order that is ' || o.status FROM payments_reservation r
        JOIN payments_order o ON o.id = r.order_id
        WHERE (o.status = 'paid' AND r.state <> 'consumed') OR (o.status = 'cancelled' AND r.state <> 'released')
            OR (o.status = 'under_paying' AND r.state = 'consumed')
        """,
    ),
    Rule(
        "history_tells_the_state",
        "An attempt's history has no gap, and its last entry is the attempt's state.",
        """
        SELECT a.id::text, a.state || ' at version ' || a.version || ', history ends with '
            || coalesce(h.last_state, 'nothing') || ' at ' || coalesce(h.last, 0) || ' of ' || coalesce(h.entries, 0)
        FROM payments_paymentattempt a LEFT JOIN (
            SELECT attempt_id, count(*) AS entries, max(number) AS last,
                (array_agg(to_state ORDER BY number DESC))[1] AS last_state
            FROM payments_historyentry GROUP BY attempt_id
        ) h ON h.attempt_id = a.id
        WHERE h.entries IS DISTINCT FROM a.version OR h.last IS DISTINCT FROM a.version OR h.last_state <> a.state
        """,
    ),
    Rule(
        "compensation_history_tells_the_state",
        "A compensation's history has no gap, and its last entry is the compensation's state.",
        """
        SELECT p.id::text, p.state || ' at version ' || p.version FROM payments_compensation p LEFT JOIN (
            SELECT compensation_id, count(*) AS entries, max(number) AS last,
                (array_agg(to_state ORDER BY number DESC))[1] AS last_state
            FROM payments_compensationentry GROUP BY compensation_id
        ) h ON h.compensation_id = p.id
        WHERE h.entries IS DISTINCT FROM p.version OR h.last IS DISTINCT FROM p.version OR h.last_state <> p.state
        """,
    ),
)

LIVENESS: tuple[Rule, ...] = (
    Rule(
        "expiry_is_on_time",
        "No attempt that nobody charges waits long past its deadline.",
        """
        SELECT a.id::text, a.state || ' since the window closed at ' || a.expires_at FROM payments_paymentattempt a
        WHERE a.state = ANY(%(sweepable)s) AND a.expires_at < %(overdue)s
        """,
    ),
    Rule(
        "doubt_holds_no_stock_for_good",
        "What nobody knows the end of holds its stock for a day after the window at most.",
        """
        SELECT o.order_id, 'stock is held for an attempt that is ' || a.state || ', window until ' || a.expires_at
        FROM payments_paymentattempt a JOIN payments_order o ON o.id = a.order_id
        WHERE a.state = ANY(%(unresolved)s) AND a.expires_at < %(held_too_long)s AND o.stock_given_back_at IS NULL
        """,
    ),
    Rule(
        "everything_moves",
        "Whatever is due is taken up soon.",
        """
        SELECT a.id::text, a.state || ' is due since ' || a.due_at FROM payments_paymentattempt a
        WHERE a.due_at < %(overdue)s AND a.state NOT IN ('open')
        UNION ALL
        -- The rescue moves a queued attempt's due time on; whether anybody claims it shows in its history. Those that
        -- the clocks hold, and that wait for the customer's other charge, have a reason.
        SELECT a.id::text, 'queued and unclaimed since ' || h.at FROM payments_paymentattempt a
        JOIN payments_historyentry h ON h.attempt_id = a.id AND h.number = a.version
        WHERE a.state = 'queued' AND a.held_since IS NULL AND h.at < %(overdue)s AND a.due_at >= %(overdue)s
            AND NOT EXISTS (
                SELECT FROM payments_paymentattempt other
                WHERE other.customer_id = a.customer_id AND other.state = 'charging'
            )
        UNION ALL
        SELECT p.id::text, 'compensation ' || p.state || ' is due since ' || p.due_at FROM payments_compensation p
        WHERE p.due_at < %(overdue)s
        UNION ALL
        SELECT w.id::text, 'event ' || w.event_id || ' is due since ' || w.due_at FROM payments_webhookevent w
        WHERE w.due_at < %(overdue)s
        """,
    ),
)


def broken(rules: Sequence[Rule] = SAFETY, *, now: datetime | None = None) -> Iterator[Break]:
    """Yield what breaks the rules, at most `ROWS_PER_RULE` for each. `now` is the database's, read when not given."""
    overdue = (now or clocks.database_now()) - timedelta(seconds=OVERDUE_SECONDS)
    parameters: dict[str, Any] = {
        "slot_holding": sorted(states.SLOT_HOLDING),
        "sweepable": sorted(states.SWEEPABLE),
        "unresolved": sorted(states.UNRESOLVED),
        "begins_charge": sorted(BEGINS_CHARGE),
        "overdue": overdue,
        "held_too_long": overdue - LONGEST_HOLD_AFTER_WINDOW,
    }
    for rule in rules:
        with connection.cursor() as cursor:
            cursor.execute(f"{rule.sql} LIMIT {ROWS_PER_RULE}", parameters)
            rows = cursor.fetchall()
        for what, detail in rows:
            yield Break(rule=rule.name, what=str(what), detail=str(detail))
