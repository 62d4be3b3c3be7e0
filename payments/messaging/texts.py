"""What a reminder says.

A host that wants other words has templates of the same names in an app that is installed before `payments`.
"""

from dataclasses import dataclass
from datetime import datetime

from django.template.loader import render_to_string

from payments.domain import money
from payments.domain.window import remaining_seconds
from payments.messaging import links
from payments.models import PaymentAttempt

MINUTE = 60


@dataclass(frozen=True, slots=True)
class Texts:
    """One reminder in the words of each channel, and the link that stops them all."""

    subject: str
    body: str
    sms: str
    stop_url: str
    message_id: str  # The same for every try of one reminder: a mailbox may drop what comes twice.


def compose(attempt: PaymentAttempt, *, now: datetime) -> Texts:
    """Write the reminder of an attempt, with its order, at database time `now`. No card, no token, no name."""
    seconds = remaining_seconds(expires_at=attempt.expires_at, now=now)
    stop_url = links.stop_url(customer_id=attempt.customer_id)
    context = {
        "order_id": attempt.order.order_id,
        "amount": money.display(amount_minor=attempt.amount_minor, currency=attempt.currency),
        "minutes_left": seconds // MINUTE,
        "expires_at": attempt.expires_at,
        "page_url": links.page_url(payment_id=attempt.public_id),
        "stop_url": stop_url,
    }

    def text(name: str) -> str:
        return render_to_string(f"payments/reminders/{name}.txt", context).strip()

    return Texts(
        subject=" ".join(text("email_subject").split()),  # A header is one line.
        body=f"{text('email')}\n",
        sms=" ".join(text("sms").split()),
        stop_url=stop_url,
        message_id=f"{attempt.public_id}.reminder",
    )
