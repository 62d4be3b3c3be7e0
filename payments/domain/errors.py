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
    """The payment window has closed; no other failure shares this code (requirement W2)."""

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


class AlreadySubmitted(PaymentError):
    """The attempt is on its way already; the first click counts."""

    code = "already_submitted"
    title = "The payment was already submitted"


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


class UnsupportedMethod(PaymentError):
    """The payment method is not offered."""

    code = "unsupported_method"
    title = "Unsupported payment method"
