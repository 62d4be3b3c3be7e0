"""Books of a shop that contradict themselves, one case each, and what is found and put right in them.

The names in the statements are those of tests/stockroom.py.
"""

import pytest

from payments.reconcile import Kind

RESERVED = "UPDATE payments_stockitem SET reserved = 11 WHERE id = %(item)s"
SOLD = "UPDATE payments_stockitem SET sold = 5, on_hand = 95 WHERE id = %(item)s"
HELD_AGAIN = "UPDATE payments_reservation SET state = 'active', closed_at = NULL WHERE order_id = %({})s"
RELEASED = "UPDATE payments_reservation SET state = 'released', closed_at = now() WHERE order_id = %({})s"
CONSUMED = "UPDATE payments_reservation SET state = 'consumed', closed_at = now() WHERE order_id = %({})s"
ENDED_ATTEMPT = (
    "UPDATE payments_paymentattempt SET state = 'cancelled', due_at = NULL, closed_at = now() WHERE order_id = %({})s"
)
NO_ATTEMPT = "DELETE FROM payments_paymentattempt WHERE order_id = %({})s"
OVER = (
    "UPDATE payments_order SET payment_expires_at = now() - interval '1 minute', "
    "created_at = now() - interval '20 minutes' WHERE id = %({})s"
)
HOUR_AGO = (
    "UPDATE payments_paymentattempt SET opened_at = opened_at - interval '1 hour', "
    "expires_at = expires_at - interval '1 hour', opened_stamp = opened_stamp || jsonb_build_object("
    "'database', opened_at - interval '1 hour', 'boot', (opened_stamp->>'boot')::float - 3600) "
    "WHERE order_id = %({})s"
)
CLOSED_AS = "UPDATE payments_order SET status = '{}', payment_status = '{}', closed_at = now() WHERE id = %(waiting)s"
OPEN_AGAIN = (
    "UPDATE payments_order SET status = 'under_paying', payment_status = 'pending', closed_at = NULL "
    "WHERE id = %(paid)s"
)
CALLS_HOUR_AGO = (
    "UPDATE payments_gatewaycall SET started_at = started_at - interval '1 hour', "
    "finished_at = finished_at - interval '1 hour' "
    "WHERE attempt_id IN (SELECT id FROM payments_paymentattempt WHERE order_id = %(failed)s)"
)
CHEAPER = "UPDATE payments_orderline SET unit_price_minor = 1 WHERE order_id = %(waiting)s"
PENDING = "UPDATE payments_order SET payment_status = 'pending' WHERE id = %(failed)s"
MORE_RESERVED = "UPDATE payments_stockitem SET reserved = reserved + {} WHERE id = %(item)s"

# What was broken, what is found, and the counters (on hand, reserved, sold) after the repair.
REPAIRABLE = [
    pytest.param([RESERVED], {Kind.RESERVED_DIFFERS}, (98, 9, 2), id="reserved"),
    pytest.param([SOLD], {Kind.SOLD_DIFFERS}, (98, 9, 2), id="sold"),
    pytest.param([RESERVED, SOLD], {Kind.RESERVED_DIFFERS, Kind.SOLD_DIFFERS}, (98, 9, 2), id="both-counters"),
    pytest.param(
        [HELD_AGAIN.format("cancelled"), MORE_RESERVED.format(3)],
        {Kind.HELD_FOR_CANCELLED},
        (98, 9, 2),
        id="held-for-cancelled",
    ),
    pytest.param(
        [HELD_AGAIN.format("cancelled")],
        {Kind.HELD_FOR_CANCELLED, Kind.RESERVED_DIFFERS},
        (98, 9, 2),
        id="half-released",
    ),
    pytest.param(
        [
            HELD_AGAIN.format("paid"),
            "UPDATE payments_stockitem SET reserved = 11, sold = 0, on_hand = 100 WHERE id = %(item)s",
        ],
        {Kind.HELD_FOR_PAID},
        (98, 9, 2),
        id="held-for-paid",
    ),
    pytest.param(
        [HELD_AGAIN.format("paid")],
        {Kind.HELD_FOR_PAID, Kind.RESERVED_DIFFERS, Kind.SOLD_DIFFERS},
        (98, 9, 2),
        id="half-sold",
    ),
    pytest.param([PENDING], {Kind.WAITS_WITHOUT_LIVING_ATTEMPT}, (98, 9, 2), id="pending-after-failure"),
    pytest.param(
        [
            ENDED_ATTEMPT.format("waiting"),
            HOUR_AGO.format("waiting"),
            OVER.format("waiting"),
        ],
        {Kind.WAITS_WITHOUT_LIVING_ATTEMPT},
        (98, 5, 2),
        id="orphaned-and-over",
    ),
    pytest.param(
        [NO_ATTEMPT.format("waiting"), OVER.format("waiting")],
        {Kind.WAITS_WITHOUT_ATTEMPT},
        (98, 5, 2),
        id="without-attempt-and-over",
    ),
    pytest.param(
        [
            HOUR_AGO.format("waiting"),
        ],
        {Kind.WAITS_FOR_SWEEP},
        (98, 5, 2),
        id="not-swept",
    ),
    pytest.param(
        [
            OVER.format("failed"),
            HOUR_AGO.format("failed"),
            CALLS_HOUR_AGO,
        ],
        {Kind.WAITS_FOR_SWEEP},
        (98, 4, 2),
        id="not-swept-after-failure",
    ),
]

# What was broken, what is found of it, and a word of why a person has to decide.
FOR_A_PERSON = [
    pytest.param(
        [CONSUMED.format("waiting")],
        {Kind.SOLD_WITHOUT_PAYMENT, Kind.RESERVED_DIFFERS, Kind.SOLD_DIFFERS},
        "final",
        id="sold-without-payment",
    ),
    pytest.param(
        [RELEASED.format("paid")], {Kind.PAID_WITHOUT_STOCK, Kind.SOLD_DIFFERS}, "final", id="paid-without-stock"
    ),
    pytest.param(
        [RELEASED.format("waiting"), "UPDATE payments_stockitem SET reserved = 5 WHERE id = %(item)s"],
        {Kind.WAITS_WITHOUT_STOCK},
        "the sweep ends the order",
        id="waits-without-stock",
    ),
    pytest.param(
        ["DELETE FROM payments_reservation WHERE order_id = %(waiting)s"],
        {Kind.LINE_WITHOUT_RESERVATION, Kind.RESERVED_DIFFERS},
        "nobody knows what became",
        id="line-without-reservation",
    ),
    pytest.param(
        ["DELETE FROM payments_orderline WHERE order_id = %(waiting)s"],
        {Kind.RESERVATION_WITHOUT_LINE, Kind.TOTAL_DIFFERS},
        "nobody knows what was ordered",
        id="reservation-without-line",
    ),
    pytest.param(
        ["UPDATE payments_reservation SET quantity = 6 WHERE order_id = %(waiting)s"],
        {Kind.RESERVATION_DIFFERS, Kind.RESERVED_DIFFERS},
        "nobody knows which is right",
        id="another-quantity",
    ),
    pytest.param(
        ["UPDATE payments_reservation SET order_id = %(failed)s WHERE order_id = %(waiting)s"],
        {Kind.LINE_WITHOUT_RESERVATION, Kind.RESERVATION_WITHOUT_LINE},
        "nobody knows",
        id="another-order",
    ),
    pytest.param(
        [CHEAPER],
        {Kind.TOTAL_DIFFERS},
        "nobody knows which is right",
        id="total",
    ),
    pytest.param(
        [NO_ATTEMPT.format("waiting")], {Kind.WAITS_WITHOUT_ATTEMPT}, "until its deadline", id="without-attempt"
    ),
    pytest.param(
        [ENDED_ATTEMPT.format("waiting")],
        {Kind.WAITS_WITHOUT_LIVING_ATTEMPT},
        "until its deadline",
        id="orphaned",
    ),
    pytest.param(
        [
            OPEN_AGAIN,
        ],
        {Kind.WAITS_ALTHOUGH_PAID, Kind.SOLD_WITHOUT_PAYMENT},
        "look at the history",
        id="waits-although-paid",
    ),
    pytest.param(
        [
            CLOSED_AS.format("paid", "paid"),
        ],
        {Kind.HELD_FOR_PAID},
        "none of its attempts succeeded",
        id="paid-without-success",
    ),
    pytest.param(
        [
            CLOSED_AS.format("cancelled", "expired"),
        ],
        {Kind.HELD_FOR_CANCELLED},
        "an attempt of it is open",
        id="cancelled-and-living",
    ),
    pytest.param(
        ["UPDATE payments_stockitem SET received = 8, on_hand = 6, reserved = 6 WHERE id = %(item)s"],
        {Kind.RESERVED_DIFFERS},
        "only 6 would be on hand for 9",
        id="more-reserved-than-there-is",
    ),
    pytest.param(
        ["UPDATE payments_stockitem SET received = 1, on_hand = 1, reserved = 1, sold = 0 WHERE id = %(item)s"],
        {Kind.RESERVED_DIFFERS, Kind.SOLD_DIFFERS},
        "only 1 ever came in",
        id="more-sold-than-came-in",
    ),
]
