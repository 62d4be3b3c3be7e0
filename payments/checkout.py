"""Checkout, for a host in the same project: what the HTTP API offers, as typed calls.

Each call is one transaction of its own, or one read, and must not be made inside a transaction of the caller: what it
answers has been committed. Ids are the public ones, `pay_...`, and orders go by the shop's own number. A customer sees
only their own; `NotFound` does not tell a stranger's from nothing. Every refusal is a `PaymentError` with a stable
`code` (payments/domain/errors.py).
"""

from collections.abc import Sequence
from datetime import timedelta

from payments import lifecycle, queries
from payments.domain.states import AttemptState
from payments.lifecycle import RequestedLine
from payments.queries import AttemptView
from payments.standing import OrderPayment, Payment

__all__ = [
    "OrderPayment",
    "Payment",
    "RequestedLine",
    "can_retry_payment",
    "cancel_payment",
    "is_payment_expired",
    "open_payment",
    "payment_time_left",
    "read_order",
    "read_payment",
    "retry_payment",
    "submit_payment",
]


def open_payment(
    *,
    customer_id: int,
    lines: Sequence[RequestedLine],
    total_minor: int,
    currency: str,
    method: str = "card",
    order_id: str | None = None,
    kind: str = "",
) -> Payment:
    """Place an order, hold its stock, and open its first payment.

    `total_minor` is what the customer saw, in minor units; it is refused unless the lines add up to it. `order_id` is
    the shop's own number; one is made when there is none. Placing the same number again is refused, so a number of the
    host's own makes a repeated call safe. `kind`, one of PAYMENT_ORDER_KINDS, says where its customer goes after a
    hosted page.

    :raises UnsupportedMethod: for a method that is not offered.
    :raises UnsupportedCurrency: for a currency that we, or the method, do not take, or that an item is not sold in.
    :raises UnknownItem: for a sku that does not exist.
    :raises AmountMismatch: when the lines do not add up to the total.
    :raises OutOfStock: when an item has too few left.
    :raises DuplicateOrder: when the number is taken.
    :raises UnknownKind: for a kind that the settings do not name.
    """
    return Payment.of(
        lifecycle.open_order(
            customer_id=customer_id,
            lines=lines,
            expected_total_minor=total_minor,
            currency=currency,
            method=method,
            order_id=order_id,
            kind=kind,
        )
    )


def submit_payment(*, payment_id: str, customer_id: int, payment_token: str = "") -> Payment:
    """Pay: queue the charge. A worker makes it, if the window is still open when it has the order's lock.

    `payment_token` is the gateway's token for the customer's card or account; never card data. A method that is paid on
    the gateway's own page takes none.

    :raises TokenRequired: when the method needs a token and there is none.
    :raises TokenRefused: when there is one, and the method is paid on the gateway's page.
    :raises PaymentExpired: when the window has closed; the payment is then expired for good.
    :raises PaymentInFlight: when it was submitted a moment ago.
    :raises AlreadySubmitted: when it was submitted before.
    :raises InvalidState: when it has failed or was cancelled.
    :raises NotFound: when there is no such payment of this customer.
    """
    view = lifecycle.submit_attempt(
        attempt_id=queries.attempt_id_of(payment_id), customer_id=customer_id, payment_token=payment_token
    )
    return Payment.of(view)


def read_payment(*, payment_id: str, customer_id: int) -> Payment:
    """Read where a payment stands. Past its deadline it reads as expired at once, swept or not.

    :raises NotFound: when there is no such payment of this customer.
    """
    return Payment.of(_read(payment_id, customer_id=customer_id))


def read_order(*, order_id: str, customer_id: int) -> OrderPayment:
    """Read where an order stands, by the shop's number, with its latest payment.

    :raises NotFound: when there is no such order of this customer.
    """
    return OrderPayment.of(queries.order_for(order_id=order_id, customer_id=customer_id))


def is_payment_expired(*, payment_id: str, customer_id: int) -> bool:
    """Tell whether a payment ended because its window closed first. One that is in doubt has not.

    :raises NotFound: when there is no such payment of this customer.
    """
    return _read(payment_id, customer_id=customer_id).state is AttemptState.EXPIRED


def payment_time_left(*, payment_id: str, customer_id: int) -> timedelta:
    """Give how long a payment's window is still open, by the database's clock; zero when it has come to its end.

    :raises NotFound: when there is no such payment of this customer.
    """
    payment = read_payment(payment_id=payment_id, customer_id=customer_id)
    return payment.expires_at - payment.server_now if payment.is_payment_window_active else timedelta()


def can_retry_payment(*, payment_id: str, customer_id: int) -> bool:
    """Tell whether the order of a payment may be tried again now; `read_payment` says why not, and how often still.

    :raises NotFound: when there is no such payment of this customer.
    """
    return read_payment(payment_id=payment_id, customer_id=customer_id).can_retry


def retry_payment(*, payment_id: str, customer_id: int, method: str | None = None) -> Payment:
    """Open the next payment of an order whose last one failed: another id, another key, a full window.

    :raises PaymentExpired: when the window has closed; the order is then cancelled for good.
    :raises RetryRefused: with why, and how many attempts are left.
    :raises UnsupportedMethod: for a method that is not offered.
    :raises UnsupportedCurrency: for a method that does not take the order's currency.
    :raises NotFound: when there is no such payment of this customer.
    """
    order_id = queries.order_id_of(payment_id=payment_id, customer_id=customer_id)
    return Payment.of(lifecycle.retry_order(order_id=order_id, customer_id=customer_id, method=method))


def cancel_payment(*, payment_id: str, customer_id: int, reason: str = "") -> Payment:
    """Give an order up before anything is charged, and its stock back. Cancelling twice does nothing more.

    :raises PaymentExpired: when the window has closed; the payment is then expired for good.
    :raises InvalidState: when a worker has it, or it has ended otherwise.
    :raises NotFound: when there is no such payment of this customer.
    """
    view = lifecycle.cancel_payment(attempt_id=queries.attempt_id_of(payment_id), user_id=customer_id, reason=reason)
    return Payment.of(view)


def _read(payment_id: str, *, customer_id: int) -> AttemptView:
    return queries.attempt_for(attempt_id=queries.attempt_id_of(payment_id), customer_id=customer_id)
