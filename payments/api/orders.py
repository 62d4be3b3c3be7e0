"""The payment timer's own paths, for front ends that know them."""

from django.http import HttpRequest
from ninja import Router

from payments import queries
from payments.api import auth
from payments.api.schemas import PaymentStatusOut, ProblemOut

router = Router(tags=["payment timer"])


@router.get(
    "/payment-status/{order_id}/",
    response={200: PaymentStatusOut, frozenset({401, 404}): ProblemOut},
    exclude_none=True,
    summary="Ask how long an order can still be paid",
)
def payment_status(request: HttpRequest, order_id: str) -> PaymentStatusOut:
    """Read an order's payment window by the shop's number."""
    return PaymentStatusOut.of(queries.order_for(order_id=order_id, customer_id=auth.visible_to(request)))
