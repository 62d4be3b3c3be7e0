"""The payment timer's own paths, for front ends that know them."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from ninja import Router

from payments import lifecycle, queries
from payments.api import auth
from payments.api.answers import send, send_status
from payments.api.limiting import limited
from payments.api.openapi import refuses
from payments.api.schemas import CheckOut, PaymentStatusOut
from payments.domain import errors
from payments.ratelimits import Act
from payments.standing import OrderPayment

router = Router(tags=["payment timer"])


@router.get(
    "/payment-status/{order_id}/",
    response={200: PaymentStatusOut, 304: None},
    openapi_extra=refuses(errors.NotFound),
    summary="Ask how long an order can still be paid",
)
@limited(Act.STATUS, "order_id")
def order_payment_status(request: HttpRequest, order_id: str) -> HttpResponse:
    """Read an order's payment window by the shop's number."""
    view = queries.order_for(order_id=order_id, customer_id=auth.visible_to(request))
    return send_status(request, PaymentStatusOut.of(OrderPayment.of(view)))


@router.post(
    "/check-payment/{order_id}/",
    response={202: CheckOut},
    openapi_extra=refuses(errors.NotFound),
    summary="Have somebody find out how a payment stands",
)
@limited(Act.CHECK, "order_id")
def check_payment(request: HttpRequest, order_id: str) -> HttpResponse:
    """Have the gateway asked soon about a payment whose outcome is not known, and answer how the order stands now.

    Nothing is charged by it, and asking again is safe: the gateway is not asked more often than it should be.
    """
    view = queries.order_for(order_id=order_id, customer_id=auth.customer_id(request))
    is_asking = view.latest is not None and lifecycle.ask_soon(attempt_id=view.latest.attempt.id)
    return send(CheckOut.asking(OrderPayment.of(view), is_asking=is_asking), status=HTTPStatus.ACCEPTED)
