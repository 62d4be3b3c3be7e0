"""Open: checkout hands over an order; its stock is held and attempt 1 gets its deadline, in one transaction."""

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from django.db import IntegrityError

from payments import clocks, config, idempotency, locks, policies
from payments.domain.clock import Reading
from payments.domain.errors import (
    AmountMismatch,
    DuplicateOrder,
    OutOfStock,
    UnknownItem,
    UnknownKind,
    UnsupportedCurrency,
    UnsupportedMethod,
)
from payments.domain.money import Priced, total_minor
from payments.domain.states import AttemptState, OrderStatus, PaymentStatus, ReservationState
from payments.lifecycle.stock import reserve_stock
from payments.models import HistoryEntry, Order, OrderLine, PaymentAttempt, Reservation, StockItem
from payments.queries import AttemptView
from payments.transactions import transaction

log = structlog.get_logger(__name__)

_ORDER_ID_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # Nothing that is read wrongly over the telephone.


@dataclass(frozen=True, slots=True)
class RequestedLine:
    """What a customer wants of one item."""

    sku: str
    quantity: int


def open_order(
    *,
    customer_id: int,
    lines: Sequence[RequestedLine],
    expected_total_minor: int,
    currency: str,
    method: str,
    order_id: str | None = None,
    kind: str = "",
    idempotency_id: UUID | None = None,
) -> AttemptView:
    """Store an order, hold its stock, and open its first attempt.

    Prices come from our own items; `expected_total_minor` is what the customer saw. Without `order_id`, the shop's
    number, one is made. `kind` is one of PAYMENT_ORDER_KINDS, or empty. `idempotency_id` is the claim on a request's
    key that this is written under, if it has one.

    :raises UnsupportedMethod: for a method that is not offered.
    :raises UnknownKind: for a kind of order that does not exist.
    :raises UnsupportedCurrency: for a currency that we, or the method, do not take, or that an item is not sold in.
    :raises UnknownItem: for a sku that does not exist.
    :raises AmountMismatch: when the lines do not add up to the expected total.
    :raises OutOfStock: when an item has too few left.
    :raises DuplicateOrder: when the shop's number is taken.
    :raises IdempotencyKeyInUse: when another request has taken over the claim meanwhile.
    """
    in_force = require_method(method)
    _check_kind(kind)
    if currency not in config.currencies():
        message = f"{currency} is not accepted; accepted are {', '.join(sorted(config.currencies()))}."
        raise UnsupportedCurrency(message, currency=currency)
    require_currency(currency, method=in_force.method)
    number = order_id or f"ORD-{''.join(secrets.choice(_ORDER_ID_ALPHABET) for _ in range(10))}"
    try:
        with transaction():
            items = locks.lock_stock(skus={line.sku for line in lines})
            _check_lines(lines=lines, items=items, currency=currency)
            _check_total(lines=lines, items=items, expected_total_minor=expected_total_minor)
            quantities = _check_stock(lines=lines, items=items)
            # From here on time counts: every lock is held.
            reading = clocks.read()
            now = reading.now
            order = Order.objects.create(
                order_id=number,
                kind=kind,
                customer_id=customer_id,
                status=OrderStatus.UNDER_PAYING,
                payment_status=PaymentStatus.PENDING,
                currency=currency,
                total_minor=expected_total_minor,
                payment_expires_at=now + in_force.method.window,
                created_at=now,
            )
            reserve_stock(quantities=quantities)
            _hold_lines(order=order, lines=lines, items=items)
            attempt = open_attempt(order=order, in_force=in_force, number=1, reading=reading)
            idempotency.note_effect(claim_id=idempotency_id, attempt_id=attempt.id)
    except IntegrityError as error:
        if "payments_order_order_id" in str(error):
            message = f"There is already an order {number}."
            raise DuplicateOrder(message, order_id=number) from None
        raise
    log.info(
        "order_opened",
        order_id=number,
        payment_id=attempt.public_id,
        expires_at=attempt.expires_at.isoformat(),
    )
    return AttemptView(attempt=attempt, reading=reading)


def require_method(name: str) -> policies.MethodInForce:
    """Give the payment method called `name` as it is for an attempt that is opened now.

    :raises UnsupportedMethod: when it is not offered.
    """
    methods = config.payment_methods()
    if name not in methods:
        message = f"{name!r} is not offered; offered are {', '.join(sorted(methods))}."
        raise UnsupportedMethod(message, method=name)
    return policies.in_force(methods[name])


def _check_kind(kind: str) -> None:
    kinds = config.returns().kinds
    if kind and kind not in kinds:
        message = f"There is no kind of order {kind!r}; known are {', '.join(sorted(kinds)) or 'none'}."
        raise UnknownKind(message, kind=kind)


def require_currency(currency: str, *, method: config.PaymentMethod) -> None:
    """Refuse a method that cannot be paid in the order's currency.

    :raises UnsupportedCurrency: with the currencies that it takes.
    """
    if currency not in method.currencies:
        message = f"{method.name!r} takes {', '.join(sorted(method.currencies))}, not {currency}."
        raise UnsupportedCurrency(message, method=method.name, currency=currency)


def _check_lines(*, lines: Sequence[RequestedLine], items: Mapping[str, StockItem], currency: str) -> None:
    for line in lines:
        item = items.get(line.sku)
        if item is None:
            message = f"There is no item {line.sku!r}."
            raise UnknownItem(message, sku=line.sku)
        if item.currency != currency:
            message = f"{line.sku!r} is sold in {item.currency}, not in {currency}."
            raise UnsupportedCurrency(message, sku=line.sku, currency=currency)


def _check_total(*, lines: Sequence[RequestedLine], items: Mapping[str, StockItem], expected_total_minor: int) -> None:
    actual = total_minor(Priced(line.quantity, items[line.sku].unit_price_minor) for line in lines)
    if actual != expected_total_minor:
        message = f"The lines add up to {actual}, not to {expected_total_minor} (both in minor units)."
        raise AmountMismatch(message, total_minor=actual, expected_total_minor=expected_total_minor)


def _check_stock(*, lines: Sequence[RequestedLine], items: Mapping[str, StockItem]) -> dict[int, int]:
    wanted: Counter[str] = Counter()
    for line in lines:
        wanted[line.sku] += line.quantity
    for sku, quantity in wanted.items():
        available = items[sku].available
        if quantity > available:
            message = f"{quantity} of {sku!r} were asked for; {available} are available."
            raise OutOfStock(message, sku=sku, requested=quantity, available=available)
    return {items[sku].id: quantity for sku, quantity in wanted.items()}


def _hold_lines(*, order: Order, lines: Sequence[RequestedLine], items: Mapping[str, StockItem]) -> None:
    rows = OrderLine.objects.bulk_create(
        OrderLine(
            order=order,
            item=items[line.sku],
            quantity=line.quantity,
            unit_price_minor=items[line.sku].unit_price_minor,
        )
        for line in lines
    )
    Reservation.objects.bulk_create(
        Reservation(line=row, order=order, item_id=row.item_id, quantity=row.quantity, state=ReservationState.ACTIVE)
        for row in rows
    )


def open_attempt(*, order: Order, in_force: policies.MethodInForce, number: int, reading: Reading) -> PaymentAttempt:
    """Open an order's next attempt with a full window. Hold the order's lock, unless it was just created.

    Window, grace and late allowance are stamped on it: what is changed later is for attempts that are opened later.
    """
    now, method = reading.now, in_force.method
    expires_at = now + method.window
    attempt = PaymentAttempt.objects.create(
        order=order,
        customer_id=order.customer_id,
        number=number,
        method=method.name,
        gateway=method.gateway,
        amount_minor=order.total_minor,
        currency=order.currency,
        state=AttemptState.OPEN,
        version=1,
        opened_at=now,
        expires_at=expires_at,
        grace_seconds=method.grace_seconds,
        late_allowance_seconds=method.late_allowance_seconds,
        due_at=expires_at,
        reminder_at=_reminder_at(method=method, opened_at=now, expires_at=expires_at),
        opened_stamp=reading.as_stamp(),
    )
    HistoryEntry.objects.create(
        attempt=attempt,
        number=1,
        to_state=AttemptState.OPEN,
        at=now,
        actor=f"customer:{order.customer_id}",
        reason="opened",
        evidence={
            "expires_at": expires_at.isoformat(),
            "window_minutes": method.window_minutes,
            "grace_seconds": method.grace_seconds,
            "late_allowance_seconds": method.late_allowance_seconds,
            # Where an operator wished otherwise (docs/policies.md).
            "clamped": [clamp.as_evidence() for clamp in in_force.clamps],
        },
    )
    return attempt


def _reminder_at(*, method: config.PaymentMethod, opened_at: datetime, expires_at: datetime) -> datetime | None:
    """Say when the customer is to be reminded; None for never."""
    reminder_at = expires_at - method.reminder_lead
    is_wanted = bool(config.reminders().channels) and opened_at < reminder_at < expires_at
    return reminder_at if is_wanted else None
