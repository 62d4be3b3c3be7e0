"""Where gateways send word. The signature says who speaks, so there is neither token nor session, and no CSRF."""

from django.http import HttpRequest
from ninja import Router, Schema

from payments import lifecycle
from payments.api.openapi import refuses
from payments.domain import errors

router = Router(tags=["webhooks"])


class HeardOut(Schema):
    """The event is stored; sending it again changes nothing."""

    is_new: bool


@router.post(
    "/{gateway}/",
    auth=None,
    response={200: HeardOut},
    openapi_extra=refuses(errors.NotFound, errors.WebhookRefused),
    summary="Gateways: send word of a payment",
)
def hear_event(request: HttpRequest, gateway: str) -> HeardOut:
    """Store an event of a gateway, signed as that gateway signs. It is answered after its commit and applied later."""
    return HeardOut(is_new=lifecycle.hear_event(gateway=gateway, headers=dict(request.headers), body=request.body))
