"""The way back from a hosted page to us, and from us to the shop.

The link that a gateway is given names one payment and is signed, with a salt of its own and without a time: whoever
holds it may see where that payment stands, in whatever browser, and nothing else. Where the shop wants its customers is
in the settings, and nowhere else.
"""

from urllib.parse import urlencode
from uuid import UUID

import structlog
from django.core.signing import BadSignature, Signer
from django.urls import reverse

from payments import config
from payments.domain.ids import Prefix, parse_public_id
from payments.domain.returns import fill, origin_of
from payments.models import Order, PaymentAttempt

log = structlog.get_logger(__name__)

PARAMETER = "payment"


def _signer() -> Signer:
    return Signer(sep=".", salt="payments.returns")


def return_token(*, payment_id: str) -> str:
    """Sign the public id of a payment."""
    return _signer().sign(payment_id)


def payment_of(token: str) -> UUID | None:
    """Give the attempt that a token names; None when it was not made here."""
    try:
        return parse_public_id(Prefix.PAYMENT, _signer().unsign(token))
    except BadSignature:
        return None


def return_url(attempt: PaymentAttempt) -> str:
    """Give the address that the gateway sends an attempt's customer back to; empty when customers do not reach us.

    It depends on settings: whoever says it to a gateway stores it first, and says the stored one from then on.
    """
    public_url = config.returns().public_url
    if not public_url:
        return ""
    path = reverse("payment-return", kwargs={"gateway": attempt.gateway})
    return f"{public_url}{path}?{urlencode({PARAMETER: return_token(payment_id=attempt.public_id)})}"


def target(*, order: Order, payment_id: str, is_paid: bool) -> str | None:
    """Give the shop's own page for an ending of an order's payment; None when ours has to do.

    The allow-list is asked once more, of the very URL that the customer would follow.
    """
    known = config.returns()
    kind = known.kinds.get(order.kind)
    template = "" if kind is None else kind.success_url if is_paid else kind.failure_url
    if not template:
        return None
    url = fill(template, order_id=order.order_id, payment_id=payment_id)
    if origin_of(url) not in known.origins:
        log.error("return_target_refused", order_id=order.order_id, kind=order.kind, url=url)
        return None
    return url
