"""The HTTP API for Python programs that are not this project: a checkout elsewhere, a load generator, a script.

It knows httpx, pydantic and the names of the states, and nothing else of this project: neither Django nor settings.
Every POST carries an `Idempotency-Key` that stays the same while the call is repeated, so a repeat is safe: the server
does the work once and answers as often as it is asked.
"""

from payments.client.answers import CheckedStatus, Failure, Line, Order, OrderStatus, Payment, Refund
from payments.client.calls import PaywindowClient
from payments.client.failures import (
    AlreadySubmitted,
    BadAnswer,
    DuplicateOrder,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    InvalidState,
    NotAuthenticated,
    NotFound,
    NotSettled,
    OutOfStock,
    PaymentExpired,
    PaymentInFlight,
    PaywindowError,
    RateLimited,
    RefundRefused,
    Refused,
    RetryRefused,
    TokenRefused,
    TokenRequired,
    Unreachable,
)

__all__ = [
    "AlreadySubmitted",
    "BadAnswer",
    "CheckedStatus",
    "DuplicateOrder",
    "Failure",
    "IdempotencyKeyInUse",
    "IdempotencyKeyReused",
    "InvalidState",
    "Line",
    "NotAuthenticated",
    "NotFound",
    "NotSettled",
    "Order",
    "OrderStatus",
    "OutOfStock",
    "Payment",
    "PaymentExpired",
    "PaymentInFlight",
    "PaywindowClient",
    "PaywindowError",
    "RateLimited",
    "Refund",
    "RefundRefused",
    "Refused",
    "RetryRefused",
    "TokenRefused",
    "TokenRequired",
    "Unreachable",
]
