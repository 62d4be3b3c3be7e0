"""What the customer reads in each state. Every sentence about an ending says what happened to the money."""

from payments.domain.announcements import AnnouncementKind, GivenBack
from payments.domain.failures import DOUBT_MESSAGES, MESSAGES, FailureCode
from payments.domain.states import AttemptState, OrderStatus, PaymentStatus

# A claim that read its clock in time may be about to commit: until the attempt is ended under its lock, nothing is
# said about the money.
EXPIRING = "The time to pay has run out. We are making sure that nothing is charged."
PROCESSING = "Your payment is being processed. Please do not pay again."
RESOLVING = "We are finding out what happened to your payment. Please do not pay again; you will hear from us."

WINDOW_ACTIVE = "Payment window is still active"
WINDOW_EXPIRED = "Payment window has expired. Order will be cancelled automatically."


def attempt_message(*, state: AttemptState, failure_code: str = "", doubt_code: str = "") -> str:
    """Say where an attempt stands, in a sentence for its customer; the codes are as the attempt has them."""
    match state:
        case AttemptState.OPEN:
            return "Your order is reserved. Please pay before the time runs out."
        case AttemptState.QUEUED | AttemptState.CHARGING:
            return PROCESSING
        case AttemptState.CONFIRMING:
            return "Your payment waits for its confirmation. Please do not pay again."
        case AttemptState.IN_DOUBT | AttemptState.NEEDS_REVIEW:
            return DOUBT_MESSAGES[FailureCode(doubt_code)] if doubt_code else RESOLVING
        case AttemptState.SUCCEEDED:
            return "Your payment was received. Thank you."
        case AttemptState.FAILED:
            return MESSAGES[FailureCode(failure_code)]
        case AttemptState.EXPIRED:
            return "The time to pay has run out. You have not been charged; please start again from the cart."
        case AttemptState.CANCELLED:
            return "This payment was cancelled. You have not been charged."


def returned_message(*, state: AttemptState, is_refund: bool, is_done: bool, is_whole: bool) -> str:
    """Say what becomes of money that does not stay with us, in a sentence for its customer."""
    if state is AttemptState.SUCCEEDED:
        what = "the money" if is_whole else "part of the money"
        return f"Your payment was received, and {what} {'has been' if is_done else 'is being'} given back to you."
    if is_refund:
        why = "came too late to be" if state is AttemptState.EXPIRED else "could not be"
        return f"Your payment {why} accepted. The money {'has been given' if is_done else 'is on its way'} back to you."
    if is_done:
        return "Your payment was not completed. Nothing is held on your card any more; you have not been charged."
    return "Your payment was not completed. What may be held on your card is being let go; you will not be charged."


def order_message(
    *, status: OrderStatus, payment_status: PaymentStatus, is_window_active: bool, unresolved: AttemptState | None
) -> str:
    """Say where an order stands, in the words that front ends of the payment timer know.

    `unresolved` is the state of an attempt that the gateway may know of: such an order is not cancelled automatically.
    """
    match status:
        case OrderStatus.UNDER_PAYING if unresolved is not None and not is_window_active:
            return attempt_message(state=unresolved)
        case OrderStatus.UNDER_PAYING:
            return WINDOW_ACTIVE if is_window_active else WINDOW_EXPIRED
        case OrderStatus.PAID if payment_status is PaymentStatus.REFUNDED:
            return "Order was paid and refunded"
        case OrderStatus.PAID:
            return "Order is paid"
        case OrderStatus.CANCELLED if payment_status is PaymentStatus.EXPIRED:
            return "Payment window has expired. Order was cancelled."
        case OrderStatus.CANCELLED:
            return "Order was cancelled."


def announcement_message(
    *, kind: AnnouncementKind, state: AttemptState | None, failure_code: str, given_back: GivenBack | None
) -> str:
    """Say what an announcement means for the customer. `state` None is an order without an attempt of its own."""
    match kind:
        case AnnouncementKind.NEEDS_REVIEW:
            return RESOLVING
        case AnnouncementKind.REFUNDED if given_back is not None and given_back.kind == "void":
            return "What was held for your payment has been let go. You have not been charged."
        case AnnouncementKind.REFUNDED:
            return "Your money has been given back. It may take some days until you see it."
        case _ if given_back is not None and given_back.kind == "void":
            return "Your payment could not be accepted. What was held for it is let go; you will not be charged."
        case _ if given_back is not None:
            return "Your payment could not be accepted. The money goes back to you by itself."
        case AnnouncementKind.PAYMENT_EXPIRED if state is None:
            return "Payment window has expired. Order was cancelled. You have not been charged."
        case _ if state is None:
            return "Order was cancelled. You have not been charged."
        case _:
            return attempt_message(state=state, failure_code=failure_code)
