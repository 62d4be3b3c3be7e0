"""`manage.py replay_events`: have what gateways sent word of applied once more."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from payments import lifecycle
from payments.gateways import registry
from payments.models.inbox import EventEnding


class Command(BaseCommand):
    help = "Apply events of a gateway once more: the gateway is asked again, and nothing else is believed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("gateway", choices=registry.names())
        parser.add_argument("--event-id", action="append", default=[], help="the gateway's; may be given several times")
        parser.add_argument("--since", type=moment, help="received from then on, as 2026-11-20T12:00:00Z")
        parser.add_argument("--until", type=moment, help="received before then")
        parser.add_argument("--ending", choices=list(EventEnding), help="only those that ended so")
        parser.add_argument("--untimely", action="store_true", help="only those signed long ago or in the future")
        parser.add_argument("--dry-run", action="store_true", help="show them, and change nothing")

    def handle(self, *_args: Any, **options: Any) -> None:
        narrowed = ("event_id", "since", "until", "ending", "untimely")
        if not any(options[name] for name in narrowed):
            message = "Say which events: --event-id, --since, --until, --ending or --untimely."
            raise CommandError(message)
        events = lifecycle.chosen_events(
            gateway=options["gateway"],
            event_ids=options["event_id"],
            since=options["since"],
            until=options["until"],
            ending=EventEnding(options["ending"]) if options["ending"] else None,
            untimely_only=options["untimely"],
        )
        for event in events:
            self.stdout.write(f"{event.received_at.isoformat()}  {event.event_id}  {event.kind}  {event.ending}")
        if options["dry_run"]:
            self.stdout.write(f"{len(events)} events would be applied once more")
        else:
            self.stdout.write(f"{lifecycle.replay_events(events)} events are applied once more")


def moment(text: str) -> datetime:
    """Read a time of the command line; without a time zone it is UTC."""
    named = datetime.fromisoformat(text)
    return named if named.tzinfo is not None else named.replace(tzinfo=UTC)
