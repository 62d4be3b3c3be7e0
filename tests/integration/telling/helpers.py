"""Making announcements and delivering them, step by step."""

from payments import clocks, lifecycle
from payments.domain.announcements import AnnouncementKind
from payments.lifecycle import deliver
from payments.lifecycle.announce import stage
from payments.lifecycle.deliver import DeliveryRun
from payments.models import AnnouncementDelivery, PaymentAttempt
from payments.transactions import transaction

SHOP = "webhook:shop"


def tell(attempt: PaymentAttempt, *, times: int = 1) -> list[str]:
    """Announce something of an attempt's order; returns the ids."""
    with transaction():
        rows = [
            stage(kind=AnnouncementKind.NEEDS_REVIEW, order=attempt.order, attempt=attempt, now=clocks.database_now())
            for _ in range(times)
        ]
    return [row.public_id for row in rows]


def deliver_due() -> DeliveryRun:
    return lifecycle.deliver_due(limit=1000)


def take() -> deliver._Taken | None:
    """Take one delivery to the shop and leave it at that, as a worker does that dies at once."""
    with transaction():
        return deliver._look(destination=SHOP)[0]


def make_due() -> None:
    """Let the wait or the lease of whatever waits be over."""
    AnnouncementDelivery.objects.filter(due_at__isnull=False).update(due_at=clocks.database_now())


def the_delivery() -> AnnouncementDelivery:
    return AnnouncementDelivery.objects.get()
