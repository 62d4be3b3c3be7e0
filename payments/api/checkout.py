"""Checkout: place an order, pay it, watch it."""

from uuid import UUID

import structlog
from django.http import HttpRequest, HttpResponse
from ninja import Router
from ninja.responses import Status

from payments import lifecycle, queries
from payments.api import auth
from payments.api.idempotency import IdempotencyKey, answer_once
from payments.api.schemas import AttemptOut, OrderIn, OrderOut, ProblemOut, RefundIn, RefundOut, RetryIn, SubmitIn
from payments.domain.errors import NotFound
from payments.domain.ids import Prefix, parse_public_id
from payments.queries import AttemptView

orders = Router(tags=["checkout"])
payments = Router(tags=["checkout"])


@orders.post(
    "/",
    response={201: OrderOut, frozenset({401, 409, 413, 422}): ProblemOut},
    summary="Place an order and hold its stock",
)
def create_order(
    request: HttpRequest, payload: OrderIn, idempotency_key: IdempotencyKey = None
) -> Status[OrderOut] | HttpResponse:
    """Store the order, reserve its stock, and open its first payment attempt."""
    return answer_once(
        request,
        key=idempotency_key,
        act=lambda claim_id: lifecycle.open_order(
            customer_id=auth.customer_id(request),
            lines=[lifecycle.RequestedLine(sku=line.sku, quantity=line.quantity) for line in payload.lines],
            expected_total_minor=payload.total_minor,
            currency=payload.currency,
            method=payload.payment_method,
            order_id=payload.order_id,
            idempotency_id=claim_id,
        ),
        describe=lambda view: Status(201, OrderOut.of(view)),
    )


@payments.post(
    "/retry/",  # Before the paths that begin with an id.
    response={201: AttemptOut, frozenset({401, 404, 409, 410, 422}): ProblemOut},
    summary="Try again: open the next attempt of an order",
)
def retry_payment(
    request: HttpRequest, payload: RetryIn, idempotency_key: IdempotencyKey = None
) -> Status[AttemptOut] | HttpResponse:
    """Open a new attempt with a full window after a failure; 409 `retry_refused` says why not, and what is left."""
    return answer_once(
        request,
        key=idempotency_key,
        act=lambda claim_id: lifecycle.retry_order(
            order_id=payload.order_id,
            customer_id=auth.customer_id(request),
            method=payload.payment_method,
            idempotency_id=claim_id,
        ),
        describe=lambda view: Status(201, AttemptOut.of(view)),
    )


@payments.post(
    "/{payment_id}/refund/",
    response={202: RefundOut, frozenset({401, 403, 404, 409, 422}): ProblemOut},
    summary="Staff: give a payment back",
)
def refund_payment(
    request: HttpRequest, payment_id: str, payload: RefundIn, idempotency_key: IdempotencyKey = None
) -> Status[RefundOut] | HttpResponse:
    """Owe the customer a refund; a payment has one, so asking again for the same amount shows it again."""
    attempt_id, staff_id = _attempt_id(payment_id), auth.staff_id(request)

    def refund(claim_id: UUID | None) -> AttemptView:
        lifecycle.refund_payment(
            attempt_id=attempt_id,
            amount_minor=payload.amount_minor,
            staff_id=staff_id,
            reason=payload.reason,
            idempotency_id=claim_id,
        )
        return queries.attempt_for(attempt_id=attempt_id, customer_id=None)

    return answer_once(
        request,
        key=idempotency_key,
        act=refund,
        describe=lambda view: Status(202, RefundOut.of(queries.refund_of(attempt=view.attempt))),
    )


@payments.post(
    "/{payment_id}/submit/",
    response={202: AttemptOut, frozenset({401, 404, 409, 410, 422}): ProblemOut},
    summary="Pay: queue the charge",
)
def submit_payment(
    request: HttpRequest, payment_id: str, payload: SubmitIn, idempotency_key: IdempotencyKey = None
) -> Status[AttemptOut] | HttpResponse:
    """Queue the attempt for its charge while its window is open; 410 `payment_expired` afterwards."""
    attempt_id = _attempt_id(payment_id)
    return answer_once(
        request,
        key=idempotency_key,
        act=lambda claim_id: lifecycle.submit_attempt(
            attempt_id=attempt_id,
            customer_id=auth.customer_id(request),
            payment_token=payload.payment_token,
            correlation_id=str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64],
            idempotency_id=claim_id,
        ),
        describe=lambda view: Status(202, AttemptOut.of(view)),
    )


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
