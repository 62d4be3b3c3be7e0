"""What goes in and out. Unknown fields are refused by name, so nobody can set what is not theirs to set."""

from payments.api.schemas.checkout import (
    AttemptOut,
    CancelIn,
    LineIn,
    OrderIn,
    OrderOut,
    RefundIn,
    RefundOut,
    RetryIn,
    StatusQuery,
    SubmitIn,
)
from payments.api.schemas.operations import (
    CleanupIn,
    CleanupOut,
    CleanupRowOut,
    ExpiredCountOut,
    TriggeredOut,
    TriggerIn,
)
from payments.api.schemas.parts import ProblemOut
from payments.api.schemas.timer import CheckOut, PaymentStatusOut

__all__ = [
    "AttemptOut",
    "CancelIn",
    "CheckOut",
    "CleanupIn",
    "CleanupOut",
    "CleanupRowOut",
    "ExpiredCountOut",
    "LineIn",
    "OrderIn",
    "OrderOut",
    "PaymentStatusOut",
    "ProblemOut",
    "RefundIn",
    "RefundOut",
    "RetryIn",
    "StatusQuery",
    "SubmitIn",
    "TriggerIn",
    "TriggeredOut",
]
