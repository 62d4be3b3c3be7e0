"""What tests need to begin with, made the way the product makes it."""

import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pgtrigger
from django.contrib.auth.models import User
from django.db.models import F

from payments import clocks, lifecycle, queries
from payments.models import GatewayCall, Order, PaymentAttempt, StockItem


def make_user(username: str | None = None, *, is_staff: bool = False) -> User:
    return User.objects.create(username=username or f"user-{secrets.token_hex(4)}", is_staff=is_staff)


def make_item(
    sku: str | None = None, *, price_minor: int = 1250, on_hand: int = 100, currency: str = "USD"
) -> StockItem:
    sku = sku or f"SKU-{secrets.token_hex(4)}"
    return StockItem.objects.create(
        sku=sku, name=sku, unit_price_minor=price_minor, currency=currency, received=on_hand, on_hand=on_hand
    )


def place_order(
    *, customer: User, item: StockItem, quantity: int = 1, order_id: str | None = None, method: str = "card"
) -> PaymentAttempt:
    view = lifecycle.open_order(
        customer_id=customer.id,
        lines=[lifecycle.RequestedLine(sku=item.sku, quantity=quantity)],
        expected_total_minor=item.unit_price_minor * quantity,
        currency=item.currency,
        method=method,
        order_id=order_id,
    )
    return view.attempt


def submit(attempt: PaymentAttempt, *, token: str = "tok_visa") -> PaymentAttempt:
    lifecycle.submit_attempt(attempt_id=attempt.id, customer_id=attempt.customer_id, payment_token=token)
    attempt.refresh_from_db()
    return attempt


def age_attempt(*attempt_ids: UUID, seconds_left: float) -> None:
    """Move the whole windows of attempts back in time, until `seconds_left` are left of each.

    The database never lets a deadline be moved; a test that cannot wait a quarter of an hour switches that one
    trigger off for its own statement.
    """
    deadline = clocks.database_now() + timedelta(seconds=seconds_left)
    attempts = PaymentAttempt.objects.filter(id__in=attempt_ids)
    with pgtrigger.ignore("payments.PaymentAttempt:attempt_facts"):
        for attempt in attempts:
            moved = attempt.expires_at - deadline
            attempts.filter(id=attempt.id).update(
                opened_at=attempt.opened_at - moved,
                expires_at=deadline,
                reminder_at=F("reminder_at") - moved,
                opened_stamp=aged(attempt.opened_stamp, by=moved),
                enqueued_stamp=aged(attempt.enqueued_stamp, by=moved),
            )
            with pgtrigger.ignore("payments.GatewayCall:gateway_call_facts"):
                calls = GatewayCall.objects.filter(attempt=attempt)
                calls.update(started_at=F("started_at") - moved, finished_at=F("finished_at") - moved)
    Order.objects.filter(attempts__in=attempts).update(payment_expires_at=deadline)


def aged(stamp: dict[str, Any], *, by: timedelta) -> dict[str, Any]:
    """Move every clock of a stamp back."""
    times = {"database", "expected", "watched_since"} & stamp.keys()
    seconds = {"boot", "wall", "redis"} & stamp.keys()
    return {
        **stamp,
        **{name: (datetime.fromisoformat(stamp[name]) - by).isoformat() for name in times},
        **{name: stamp[name] - by.total_seconds() for name in seconds},
    }


def stock_of(item: StockItem) -> tuple[int, int, int]:
    """(on hand, reserved, sold) as the database has it."""
    item.refresh_from_db()
    return item.on_hand, item.reserved, item.sold


def steps(attempt: PaymentAttempt) -> list[tuple[str, str, str]]:
    """(to, actor, reason) of an attempt's history; the numbers have no gap and each step starts where one ended."""
    rows = queries.history_of(attempt_id=attempt.id)
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert [row.from_state for row in rows] == ["", *(row.to_state for row in rows[:-1])]
    assert [row.at for row in rows] == sorted(row.at for row in rows)
    attempt.refresh_from_db()
    assert (rows[-1].to_state, rows[-1].number) == (attempt.state, attempt.version)
    return [(row.to_state, row.actor.partition(":")[0], row.reason) for row in rows]
