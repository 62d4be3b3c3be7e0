"""Replay: events that were heard are applied once more, when somebody has mended what kept them from having an effect.

Nothing is believed a second time either: the gateway is asked again for the charge as it is now.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import structlog

from payments import clocks
from payments.models import WebhookEvent
from payments.models.inbox import EventEnding
from payments.transactions import transaction

log = structlog.get_logger(__name__)

MOST = 1000  # At once; the gateway is asked for each.


def chosen_events(
    *,
    gateway: str,
    event_ids: Sequence[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    ending: EventEnding | None = None,
    untimely_only: bool = False,
) -> list[WebhookEvent]:
    """Give the events of a gateway that have ended and fit, the oldest first, at most `MOST`."""
    events = WebhookEvent.objects.filter(gateway=gateway).exclude(ending="")
    if event_ids:
        events = events.filter(event_id__in=event_ids)
    if since is not None:
        events = events.filter(received_at__gte=since)
    if until is not None:
        events = events.filter(received_at__lt=until)
    if ending is not None:
        events = events.filter(ending=ending)
    if untimely_only:
        events = events.filter(is_timely=False)
    return list(events.defer("body", "headers").order_by("received_at", "id")[:MOST])


def replay_events(events: Sequence[WebhookEvent]) -> int:
    """Make events due again; the rescue publishes their jobs. Returns how many it made due."""
    ids: list[UUID] = [event.id for event in events]
    with transaction():
        now = clocks.database_now()
        count = (
            WebhookEvent.objects.filter(id__in=ids)
            .exclude(ending="")
            .update(due_at=now, due_since=now, applied_at=None, ending="", tries=0, published_at=None)
        )
    log.info("webhooks_replayed", events=count)
    return count
