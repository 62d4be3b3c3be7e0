"""How a call can end otherwise: refused by the server, or without an answer that can be believed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from payments.client.answers import Payment

_STANDARD_MEMBERS = {"type", "title", "status", "code", "detail"}


class PaywindowError(Exception):
    """A call did not end as wished. `idempotency_key` is that of the call, if it had one."""

    idempotency_key: str | None = None


class Unreachable(PaywindowError):
    """There was no answer within the deadline. Whether the work was done is not known: repeat it under its key."""


class BadAnswer(PaywindowError):
    """The answer is none of Paywindow's; of a POST the same holds as if there had been none."""


class NotSettled(PaywindowError):
    """The payment had not ended when the wait did; `payment` is where it stood last."""

    def __init__(self, payment: "Payment") -> None:
        super().__init__(f"{payment.id} is still {payment.state}.")
        self.payment = payment


class Refused(PaywindowError):
    """The server refused, and nothing was changed. `code` is stable; `facts` are the values beside the sentence."""

    code: str = "error"

    def __init__(self, *, status: int, problem: Mapping[str, Any], retry_after_seconds: float | None) -> None:
        self.status = status
        self.code = str(problem["code"])
        self.title, self.detail = str(problem.get("title", "")), str(problem.get("detail", ""))
        self.facts = {name: value for name, value in problem.items() if name not in _STANDARD_MEMBERS}
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{status} {self.code}: {self.detail}")


class PaymentExpired(Refused):
    """The payment window has closed. The customer starts again from the cart."""

    code = "payment_expired"


class NotFound(Refused):
    """There is no such thing, or it belongs to somebody else."""

    code = "not_found"


class AlreadySubmitted(Refused):
    """The payment is on its way: ask where it stands."""

    code = "already_submitted"


class PaymentInFlight(Refused):
    """Another submission of the payment came a moment earlier: ask where it stands."""

    code = "payment_in_flight"


class TokenRequired(Refused):
    """The payment method needs a payment token."""

    code = "payment_token_required"


class TokenRefused(Refused):
    """The payment method is paid on the gateway's page, and takes no payment token."""

    code = "payment_token_refused"


class InvalidState(Refused):
    """The payment is past the point where this could be done."""

    code = "invalid_state"


class RetryRefused(Refused):
    """The order may not be tried again; the facts say why, and how many attempts are left."""

    code = "retry_refused"


class RefundRefused(Refused):
    """There is nothing to give back, or not this much."""

    code = "refund_refused"


class OutOfStock(Refused):
    """Less is available than a line asks for; nothing was ordered."""

    code = "out_of_stock"


class DuplicateOrder(Refused):
    """The shop's order number is taken."""

    code = "duplicate_order"


class IdempotencyKeyInUse(Refused):
    """A request under the key is still being carried out."""

    code = "idempotency_key_in_use"


class IdempotencyKeyReused(Refused):
    """The key belongs to another request. A new request needs a new key."""

    code = "idempotency_key_reused"


class NotAuthenticated(Refused):
    """The token is missing, over or wrong."""

    code = "not_authenticated"


class RateLimited(Refused):
    """Too many requests; `retry_after_seconds` says how long to wait."""

    code = "rate_limited"


_BY_CODE = {kind.code: kind for kind in Refused.__subclasses__()}


def refusal(*, status: int, problem: Mapping[str, Any], retry_after_seconds: float | None) -> Refused:
    """Make the error of a problem: of the class that has its code, or a plain `Refused`."""
    kind = _BY_CODE.get(str(problem["code"]), Refused)
    return kind(status=status, problem=problem, retry_after_seconds=retry_after_seconds)
