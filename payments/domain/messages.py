"""What the customer reads in each state. Every sentence about an ending says what happened to the money."""

from payments.domain.failures import MESSAGES, FailureCode
from payments.domain.states import AttemptState, OrderStatus, PaymentStatus

# A claim that read its clock in time may be about to commit: until the attempt is ended under its lock, nothing is
# said about the money.
EXPIRING = "The time to pay has run out. We are making sure that nothing is charged."
PROCESSING = "Your payment is being processed. Please do not pay again."
RESOLVING = "We are finding out what happened to your payment. Please do not pay again; you will hear from us."

WINDOW_ACTIVE = "Payment window is still active"
WINDOW_EXPIRED = "Payment window has expired. Order will be cancelled automatically."


def attempt_message(*, state: AttemptState, failure_code: str) -> str:
    """Say where an attempt stands, in a sentence for its customer."""
    match state:
        case AttemptState.OPEN:
            return "Your order is reserved. Please pay before the time runs out."
        case AttemptState.QUEUED | AttemptState.CHARGING:
            return PROCESSING
        case AttemptState.CONFIRMING:
            return "Your payment waits for its confirmation. Please do not pay again."
        case AttemptState.IN_DOUBT | AttemptState.NEEDS_REVIEW:
            return RESOLVING
        case AttemptState.SUCCEEDED:
            return "Your payment was received. Thank you."
        case AttemptState.FAILED:
            return MESSAGES[FailureCode(failure_code)]
        case AttemptState.EXPIRED:
            return "The time to pay has run out. You have not been charged; please start again from the cart."
        case AttemptState.CANCELLED:
            return "This payment was cancelled. You have not been charged."


def order_message(
    *, status: OrderStatus, payment_status: PaymentStatus, is_window_active: bool, unresolved: AttemptState | None
) -> str:
    """Say where an order stands, in the words that front ends of the payment timer know.

    `unresolved` is the state of an attempt that the gateway may know of: such an order is not cancelled automatically.
    """
    match status:
        case OrderStatus.UNDER_PAYING if unresolved is not None and not is_window_active:
            return attempt_message(state=unresolved, failure_code="")
        case OrderStatus.UNDER_PAYING:
            return WINDOW_ACTIVE if is_window_active else WINDOW_EXPIRED
        case OrderStatus.PAID:
            return "Order is paid"
        case OrderStatus.CANCELLED if payment_status is PaymentStatus.EXPIRED:
            return "Payment window has expired. Order was cancelled."
        case OrderStatus.CANCELLED:
            return "Order was cancelled."
