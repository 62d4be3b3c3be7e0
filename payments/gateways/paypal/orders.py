"""What a PayPal order shows of a charge: the order is the charge, and its payments say how far it came."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from payments.domain.outcomes import (
    Authorized,
    Captured,
    ChargeSeen,
    Declined,
    InDoubt,
    Pending,
    Undoing,
    Undone,
)
from payments.gateways import failures
from payments.gateways.paypal.wording import Intent, amount_minor
from payments.gateways.protocol import ChargeRequest, Question
from payments.gateways.reading import declined, doubt, inner, is_address, is_text, spelled

FAILURES = failures.load("paypal")
LONGEST_ORDER_ID = 36  # paypal.orders, parameter `id`.
_FAILED_CAPTURES = frozenset({"DECLINED", "FAILED"})
_UNPAID = frozenset({"CREATED", "SAVED", "APPROVED", "PAYER_ACTION_REQUIRED"})
_APPROVE_LINKS = frozenset({"approve", "payer-action"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What an order has to be; None for what the question leaves open."""

    currency: str
    order_id: str | None = None
    reference: str | None = None
    amount_minor: int | None = None
    is_hosted: bool | None = None


@dataclass(frozen=True, slots=True)
class Payment:
    """One authorisation, capture or refund of an order."""

    id: str
    status: str
    amount_minor: int
    processor_code: str


@dataclass(frozen=True, slots=True)
class Order:
    """An order with one purchase unit, as every one of ours has."""

    id: str
    status: str
    intent: Intent
    made_for: Intent  # Its intent when it was made.
    reference: str
    amount_minor: int
    approve_url: str | None
    created_at_unix: float | None
    authorizations: tuple[Payment, ...]
    captures: tuple[Payment, ...]
    refunds: tuple[Payment, ...]

    @property
    def is_unpaid(self) -> bool:
        """Whether nobody has tried to pay it."""
        return not self.authorizations and not self.captures and self.status in _UNPAID


def asked_by(request: ChargeRequest | Question, *, order_id: str | None) -> Asked:
    """Say what the order of a charge has to be."""
    charge = request if isinstance(request, ChargeRequest) else request.charge
    return Asked(
        currency=request.currency,
        order_id=order_id,
        reference=request.reference,
        amount_minor=request.amount_minor,
        is_hosted=None if charge is None else charge.is_hosted,
    )


def read_order(value: object, *, asked: Asked) -> Order | InDoubt:
    """Read an order, if it is the one that was asked about."""
    if not isinstance(value, dict) or not is_order_id(value.get("id")):
        return doubt("no order where one belongs")
    order_id: str = value["id"]
    units = value.get("purchase_units")
    unit = units[0] if isinstance(units, list) and len(units) == 1 and isinstance(units[0], dict) else {}
    total = amount_minor(unit.get("amount"), currency=asked.currency)
    reference, status = unit.get("custom_id"), value.get("status")
    wanted = (asked.order_id, asked.reference, asked.amount_minor)
    shown = (order_id, reference, total)
    if any(want is not None and want != show for want, show in zip(wanted, shown, strict=True)):
        return doubt(f"the order {order_id} is another one: {shown[1:]}")
    try:
        intent, made_for = Intent(str(value.get("intent"))), Intent(str(unit.get("reference_id")))
    except ValueError:
        return doubt(f"the order {order_id} has no intent of ours")
    kinds = [_payments(unit, kind, currency=asked.currency) for kind in ("authorizations", "captures", "refunds")]
    authorizations, captures, refunds = kinds
    if total is None or not isinstance(reference, str) or not isinstance(status, str):
        return doubt(f"the order {order_id} is {status!r} with {shown[1:]}")
    if authorizations is None or captures is None or refunds is None:
        return doubt(f"the order {order_id} shows payments that cannot be read")
    return Order(
        id=order_id,
        status=status,
        intent=intent,
        made_for=made_for,
        reference=reference,
        amount_minor=total,
        approve_url=_approve_url(value),
        created_at_unix=_unix(value.get("create_time")),
        authorizations=authorizations,
        captures=captures,
        refunds=refunds,
    )


def judge(order: Order, *, is_hosted: bool | None) -> ChargeSeen | InDoubt:
    """Tell as what the charge is seen.

    A capture that failed leaves the hold as it was, so only one that stands says more than the authorisation.
    """
    standing = [capture for capture in order.captures if capture.status not in _FAILED_CAPTURES]
    if len(standing) > 1 or len(order.authorizations) > 1:
        return doubt(f"the order {order.id} was paid more than once", reference=order.id)
    amounts = {payment.amount_minor for payment in (*standing, *order.authorizations)}
    if not amounts <= {order.amount_minor}:
        return doubt(f"the order {order.id} is over {order.amount_minor}, its payments over {sorted(amounts)}")
    if standing:
        return _judge_capture(standing[0], order)
    if order.authorizations:
        return _judge_authorization(order.authorizations[0], order)
    if order.captures:
        return _declined(order.captures[-1], order)
    return _judge_unpaid(order, is_hosted=is_hosted)


def _judge_capture(capture: Payment, order: Order) -> ChargeSeen | InDoubt:
    returned = sum(refund.amount_minor for refund in order.refunds if refund.status == "COMPLETED")
    match capture.status:
        case "COMPLETED" | "PARTIALLY_REFUNDED" if returned < capture.amount_minor:
            return Captured(reference=order.id, refunded_minor=returned)
        case "REFUNDED" if returned in {0, capture.amount_minor}:
            return Undone(how=Undoing.REFUNDED, reference=order.id)
        case "PENDING" if not returned:
            return Pending(reference=order.id, redirect_url=None)
        case status:
            return doubt(f"the capture of {order.id} is {status!r} with {returned} returned", reference=order.id)


def _judge_authorization(authorization: Payment, order: Order) -> ChargeSeen | InDoubt:
    match authorization.status:
        case "CREATED":
            return Authorized(reference=order.id)
        case "PENDING":
            return Pending(reference=order.id, redirect_url=None)
        case "DENIED":
            return _declined(authorization, order)
        case "VOIDED":
            return Undone(how=Undoing.VOIDED, reference=order.id)
        case "EXPIRED":
            return Undone(how=Undoing.EXPIRED, reference=order.id)
        case status:
            return doubt(f"the authorisation of {order.id} is {status!r}", reference=order.id)


def _judge_unpaid(order: Order, *, is_hosted: bool | None) -> ChargeSeen | InDoubt:
    match order.status:
        case "VOIDED":
            return Undone(how=Undoing.VOIDED, reference=order.id)
        case status if status in _UNPAID and order.intent is not order.made_for:
            return Undone(how=Undoing.VOIDED, reference=order.id)  # By us: wording.barring.
        case "APPROVED":
            return Pending(reference=order.id, redirect_url=None, is_approved=True)
        case "PAYER_ACTION_REQUIRED" if is_hosted is False:
            return declined(FAILURES, order.status, reference=order.id)
        case status if status in _UNPAID and is_hosted is False:
            # The customer agreed by giving the token, and PayPal waits for us to say so.
            return Pending(reference=order.id, redirect_url=None, is_approved=True)
        case status if status in _UNPAID:
            return Pending(reference=order.id, redirect_url=order.approve_url)
        case status:
            return doubt(f"the order {order.id} is {status!r} without a payment", reference=order.id)


def _declined(payment: Payment, order: Order) -> Declined:
    return declined(FAILURES, payment.processor_code or payment.status, reference=order.id)


def is_order_id(value: object) -> bool:
    """Tell whether `value` can be the id of an order."""
    return is_text(value, longest=LONGEST_ORDER_ID) and value.isascii() and value.isalnum()


def read_payment(value: object, *, currency: str) -> Payment | None:
    """Read an authorisation, a capture or a refund; None for what is none."""
    if not isinstance(value, dict):
        return None
    payment_id, status = value.get("id"), value.get("status")
    amount = amount_minor(value.get("amount"), currency=currency)
    if not is_order_id(payment_id) or not isinstance(status, str) or amount is None:
        return None
    code = spelled(inner(value, "processor_response").get("response_code"))
    return Payment(id=str(payment_id), status=status, amount_minor=amount, processor_code=code)


def _payments(unit: Mapping[str, Any], kind: str, *, currency: str) -> tuple[Payment, ...] | None:
    shown = inner(unit, "payments").get(kind, [])
    if not isinstance(shown, list):
        return None
    payments = [read_payment(value, currency=currency) for value in shown]
    known = tuple(payment for payment in payments if payment is not None)
    return known if len(known) == len(payments) else None


def _approve_url(value: Mapping[str, Any]) -> str | None:
    links = value.get("links")
    for link in links if isinstance(links, list) else []:
        if isinstance(link, dict) and link.get("rel") in _APPROVE_LINKS and is_address(link.get("href")):
            return str(link["href"])
    return None


def _unix(value: object) -> float | None:
    try:
        at = dt.datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return None if at is None or at.tzinfo is None else at.timestamp()
