"""Checkout: place an order, pay it, watch it."""

from uuid import UUID

import structlog
from django.http import HttpRequest
from ninja import Router
from ninja.responses import Status

from payments import lifecycle, queries
from payments.api import auth
from payments.api.schemas import AttemptOut, OrderIn, OrderOut, ProblemOut, SubmitIn
from payments.domain.errors import NotFound
from payments.domain.ids import Prefix, parse_public_id

orders = Router(tags=["checkout"])
payments = Router(tags=["checkout"])


@orders.post(
    "/",
    response={201: OrderOut, frozenset({401, 409, 413, 422}): ProblemOut},
    summary="Place an order and hold its stock",
)
def create_order(request: HttpRequest, payload: OrderIn) -> Status[OrderOut]:
    """Store the order, reserve its stock, and open its first payment attempt."""
    view = lifecycle.open_order(
        customer_id=auth.customer_id(request),
        lines=[lifecycle.RequestedLine(sku=line.sku, quantity=line.quantity) for line in payload.lines],
        expected_total_minor=payload.total_minor,
        currency=payload.currency,
        method=payload.payment_method,
        order_id=payload.order_id,
    )
    return Status(201, OrderOut.of(view))


@payments.post(
    "/{payment_id}/submit/",
    response={202: AttemptOut, frozenset({401, 404, 409, 410, 422}): ProblemOut},
    summary="Pay: queue the charge",
)
def submit_payment(request: HttpRequest, payment_id: str, payload: SubmitIn) -> Status[AttemptOut]:
    """Queue the attempt for its charge while its window is open; 410 `payment_expired` afterwards."""
    view = lifecycle.submit_attempt(
        attempt_id=_attempt_id(payment_id),
        customer_id=auth.customer_id(request),
        payment_token=payload.payment_token,
        correlation_id=str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64],
    )
    return Status(202, AttemptOut.of(view))


@payments.get(
    "/{payment_id}/",
    response={200: AttemptOut, frozenset({401, 404}): ProblemOut},
    summary="Ask where a payment stands",
)
def read_payment(request: HttpRequest, payment_id: str) -> AttemptOut:
    """Read an attempt. Past its deadline it reads as expired at once, swept or not."""
    attempt_id = _attempt_id(payment_id)
    return AttemptOut.of(queries.attempt_for(attempt_id=attempt_id, customer_id=auth.visible_to(request)))


def _attempt_id(payment_id: str) -> UUID:
    attempt_id = parse_public_id(Prefix.PAYMENT, payment_id)
    if attempt_id is None:
        message = "There is no such payment."
        raise NotFound(message)
    return attempt_id
