"""Checkout: place an order, pay it, watch it, try it again, or give it up."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

import structlog
from django.http import HttpRequest, HttpResponse
from ninja import Body, Query, Router

from payments import lifecycle, queries
from payments.api import auth
from payments.api.answers import send, send_status
from payments.api.idempotency import IdempotencyKey, answer_once
from payments.api.limiting import limited
from payments.api.openapi import refuses
from payments.api.schemas import (
    AttemptOut,
    CancelIn,
    OrderIn,
    OrderOut,
    RefundIn,
    RefundOut,
    RetryIn,
    StatusQuery,
    SubmitIn,
)
from payments.domain import errors
from payments.queries import AttemptView
from payments.ratelimits import Act
from payments.standing import Payment

orders = Router(tags=["checkout"])
payments = Router(tags=["checkout"])


@orders.post(
    "/",
    response={201: OrderOut},
    openapi_extra=refuses(
        errors.DuplicateOrder,
        errors.OutOfStock,
        errors.UnknownItem,
        errors.AmountMismatch,
        errors.UnsupportedCurrency,
        errors.UnsupportedMethod,
        errors.UnknownKind,
    ),
    summary="Place an order and hold its stock",
)
@limited(Act.PLACE)
def create_order(request: HttpRequest, payload: OrderIn, idempotency_key: IdempotencyKey = None) -> HttpResponse:
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
            kind=payload.kind or "",
            idempotency_id=claim_id,
        ),
        describe=lambda view: send(OrderOut.of(view), status=HTTPStatus.CREATED),
    )


@payments.get(
    "/status/",  # Before the paths that begin with an id.
    response={200: AttemptOut, 304: None},
    openapi_extra=refuses(errors.NotFound),
    summary="Ask where a payment stands, by its id or by its order's number",
)
@limited(Act.STATUS, "payment_id", "order_id")
def payment_status(request: HttpRequest, asked: Query[StatusQuery]) -> HttpResponse:
    """Read a payment, or the latest of an order. Name exactly one of the two."""
    if asked.payment_id is not None:
        return _send_payment(request, asked.payment_id)
    found = queries.order_for(order_id=asked.order_id or "", customer_id=auth.visible_to(request))
    if found.latest is None:
        message = "The payments of this order are archived."
        raise errors.NotFound(message)
    return send_status(request, AttemptOut.of(Payment.of(found.latest)))


@payments.post(
    "/retry/",
    response={201: AttemptOut},
    openapi_extra=refuses(
        errors.NotFound,
        errors.RetryRefused,
        errors.PaymentExpired,
        errors.UnsupportedMethod,
        errors.UnsupportedCurrency,
    ),
    summary="Try again: open the next attempt of an order",
)
@limited(Act.RETRY, "order_id", "payment_id")
def retry_payment(request: HttpRequest, payload: RetryIn, idempotency_key: IdempotencyKey = None) -> HttpResponse:
    """Open a new attempt with a full window after a failure; 409 `retry_refused` says why not, and what is left."""
    customer_id = auth.customer_id(request)

    def retry(claim_id: UUID | None) -> AttemptView:
        return lifecycle.retry_order(
            order_id=payload.order_id
            or queries.order_id_of(payment_id=payload.payment_id or "", customer_id=customer_id),
            customer_id=customer_id,
            method=payload.payment_method,
            idempotency_id=claim_id,
        )

    return answer_once(request, key=idempotency_key, act=retry, describe=_created)


@payments.post(
    "/{payment_id}/submit/",
    response={202: AttemptOut},
    openapi_extra=refuses(
        errors.NotFound,
        errors.PaymentExpired,
        errors.InvalidState,
        errors.AlreadySubmitted,
        errors.PaymentInFlight,
        errors.TokenRequired,
        errors.TokenRefused,
    ),
    summary="Pay: queue the charge",
)
@limited(Act.SUBMIT, "payment_id")
def submit_payment(
    request: HttpRequest, payment_id: str, payload: SubmitIn, idempotency_key: IdempotencyKey = None
) -> HttpResponse:
    """Queue the attempt for its charge while its window is open; 410 `payment_expired` afterwards."""
    attempt_id = queries.attempt_id_of(payment_id)
    return answer_once(
        request,
        key=idempotency_key,
        act=lambda claim_id: lifecycle.submit_attempt(
            attempt_id=attempt_id,
            customer_id=auth.customer_id(request),
            payment_token=payload.payment_token or "",
            correlation_id=str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64],
            idempotency_id=claim_id,
        ),
        describe=lambda view: send(AttemptOut.of(Payment.of(view)), status=HTTPStatus.ACCEPTED),
    )


@payments.post(
    "/{payment_id}/cancel/",
    response={200: AttemptOut},
    openapi_extra=refuses(errors.NotFound, errors.PaymentExpired, errors.InvalidState, errors.ReasonRequired),
    summary="Give the order up before anything is charged",
)
@limited(Act.CANCEL, "payment_id")
def cancel_payment(
    request: HttpRequest,
    payment_id: str,
    payload: Annotated[CancelIn | None, Body(description="May be left out by the order's own customer.")] = None,
    idempotency_key: IdempotencyKey = None,
) -> HttpResponse:
    """Cancel the order and give its stock back; 409 `invalid_state` once a worker has the payment.

    Staff may cancel anybody's order, with a reason.
    """
    attempt_id, user_id = queries.attempt_id_of(payment_id), auth.customer_id(request)
    return answer_once(
        request,
        key=idempotency_key,
        act=lambda claim_id: lifecycle.cancel_payment(
            attempt_id=attempt_id,
            user_id=user_id,
            is_staff=auth.is_staff(request),
            reason="" if payload is None or payload.reason is None else payload.reason,
            idempotency_id=claim_id,
        ),
        describe=lambda view: send(AttemptOut.of(Payment.of(view))),
    )


@payments.post(
    "/{payment_id}/refund/",
    response={202: RefundOut},
    auth=auth.STAFF_AUTH,
    openapi_extra=refuses(errors.NotFound, errors.RefundRefused, is_for_staff=True),
    summary="Staff: give a payment back",
)
@limited(Act.OPERATE)
def refund_payment(
    request: HttpRequest, payment_id: str, payload: RefundIn, idempotency_key: IdempotencyKey = None
) -> HttpResponse:
    """Owe the customer a refund; a payment has one, so asking again for the same amount shows it again."""
    attempt_id, staff_id = queries.attempt_id_of(payment_id), auth.staff_id(request)

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
        describe=lambda view: send(RefundOut.of(queries.refund_of(attempt=view.attempt)), status=HTTPStatus.ACCEPTED),
    )


@payments.get(
    "/{payment_id}/",
    response={200: AttemptOut, 304: None},
    openapi_extra=refuses(errors.NotFound),
    summary="Ask where a payment stands",
)
@limited(Act.STATUS, "payment_id")
def read_payment(request: HttpRequest, payment_id: str) -> HttpResponse:
    """Read an attempt. Past its deadline it reads as expired at once, swept or not."""
    return _send_payment(request, payment_id)


def _send_payment(request: HttpRequest, payment_id: str) -> HttpResponse:
    view = queries.attempt_for(attempt_id=queries.attempt_id_of(payment_id), customer_id=auth.visible_to(request))
    return send_status(request, AttemptOut.of(Payment.of(view)))


def _created(view: AttemptView) -> HttpResponse:
    return send(AttemptOut.of(Payment.of(view)), status=HTTPStatus.CREATED)
