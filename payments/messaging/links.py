"""The links in a message: to the page where the customer pays, and to the one that stops the reminders.

The second is signed with SECRET_KEY and names a customer, nobody else can make one, and it does not run out: whoever
keeps an old message can still have done with it.
"""

from django.core.signing import BadSignature, Signer
from django.urls import reverse

from payments import config


def _signer() -> Signer:
    return Signer(sep=".", salt="payments.reminders.stop")


def stop_token(*, customer_id: int) -> str:
    """Make what stops the reminders of a customer."""
    return _signer().sign(str(customer_id))


def customer_of(token: str) -> int | None:
    """Give the customer that a token names; None when it was not made here."""
    try:
        text = _signer().unsign(token)
    except BadSignature:
        return None
    return int(text)


def stop_url(*, customer_id: int) -> str:
    """Give the whole address of the page that stops the reminders of a customer."""
    path = reverse("stop-reminders", kwargs={"token": stop_token(customer_id=customer_id)})
    return f"{config.reminders().public_url}{path}"


def page_url(*, payment_id: str) -> str:
    """Give the whole address of the page where a payment is made; `payment_id` is the public id."""
    return config.reminders().page_url.format(payment_id=payment_id)
