"""Refusals with a stable code. They know nothing of HTTP; payments/api/problems.py gives each its status."""

from typing import ClassVar


class PaymentError(Exception):
    """Something that was asked for is refused, and nothing was changed."""

    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str, **facts: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.facts = facts  # Named values that a program can read beside the sentence.


class PaymentExpired(PaymentError):
    """The payment window has closed; no other failure shares this code."""

    code = "payment_expired"
    title = "The payment window has expired"


class NotFound(PaymentError):
    """There is no such thing, or it belongs to somebody else: the two are not told apart."""

    code = "not_found"
    title = "Not found"


class InvalidState(PaymentError):
    """The attempt is past the point where this could be done."""

    code = "invalid_state"
    title = "Not possible any more"


class ReasonRequired(PaymentError):
    """Staff did not say why they act on what is somebody else's; it would be on record."""

    code = "reason_required"
    title = "A reason is required"


class AlreadySubmitted(PaymentError):
    """The attempt is on its way already; the first click counts."""

    code = "already_submitted"
    title = "The payment was already submitted"


class TokenRequired(PaymentError):
    """The payment method is paid with a token of the gateway, and none was given."""

    code = "payment_token_required"
    title = "A payment token is required"


class TokenRefused(PaymentError):
    """It is a card number and no token, or the payment method is paid on the gateway's own page and takes none."""

    code = "payment_token_refused"
    title = "A payment token is not taken"


class RetryRefused(PaymentError):
    """The order may not be tried again; `reason` says why, `attempts_left` how often it still could be."""

    code = "retry_refused"
    title = "The payment cannot be tried again"


class RefundRefused(PaymentError):
    """There is nothing to give back, or not this much."""

    code = "refund_refused"
    title = "The payment cannot be refunded"


class PaymentInFlight(PaymentError):
    """Another submission of the attempt passed the gate a moment ago."""

    code = "payment_in_flight"
    title = "The payment is in flight"


class RateLimited(PaymentError):
    """The user has asked too often; `retry_after_seconds` says when it is worth asking again."""

    code = "rate_limited"
    title = "Too many requests"


class IdempotencyKeyInUse(PaymentError):
    """A request with this idempotency key is still being carried out."""

    code = "idempotency_key_in_use"
    title = "The idempotency key is in use"


class IdempotencyKeyReused(PaymentError):
    """The idempotency key belongs to another request."""

    code = "idempotency_key_reused"
    title = "The idempotency key was used for another request"


class DuplicateOrder(PaymentError):
    """The shop's order id is taken."""

    code = "duplicate_order"
    title = "The order id is already in use"


class UnknownItem(PaymentError):
    """An order line names an item that is not sold here."""

    code = "unknown_item"
    title = "Unknown item"


class OutOfStock(PaymentError):
    """Less is available than an order line asks for."""

    code = "out_of_stock"
    title = "Not enough in stock"


class AmountMismatch(PaymentError):
    """The total that the customer saw is not what the lines add up to."""

    code = "amount_mismatch"
    title = "The amount does not add up"


class UnsupportedCurrency(PaymentError):
    """The currency is not taken here, or not for this item."""

    code = "unsupported_currency"
    title = "Unsupported currency"


class UnknownKind(PaymentError):
    """There is no such kind of order."""

    code = "unknown_kind"
    title = "Unknown kind of order"


class WebhookRefused(PaymentError):
    """What came as an event of a gateway is not signed by it, or is no event."""

    code = "webhook_refused"
    title = "The event was not taken"


class UnsupportedMethod(PaymentError):
    """The payment method is not offered."""

    code = "unsupported_method"
    title = "Unsupported payment method"
