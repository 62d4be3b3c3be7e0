"""`manage.py archive_attempts`: payments that ended long ago go into files, and out of the database."""

import json
import os
from argparse import ArgumentParser
from collections import Counter
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from payments import config, lifecycle
from payments.lifecycle.archive import MIN_DAYS, Archived, Result

_ASKED_WRONGLY = 2  # As argparse has it; 1 means that something was left.


class Command(BaseCommand):
    help = (
        "Write the payments of orders that closed long ago into verifiable files, then delete them from the database. "
        "Orders, lines and stock stay. Exits with 1 when something that should have been archived was not."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--older-than-days", type=int, metavar="N", help="After the order closed; PAYMENT_ARCHIVE_AFTER_DAYS."
        )
        parser.add_argument("--to", required=True, type=Path, metavar="DIR", help="An existing folder for the files.")
        parser.add_argument("--dry-run", action="store_true", help="Show exactly what would be archived.")
        parser.add_argument("--limit", type=int, metavar="N", help="At most so many orders, the oldest first.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object per line.")

    def handle(self, *_args: Any, **options: Any) -> None:
        days, folder, limit = options["older_than_days"], options["to"], options["limit"]
        days = config.archive_after_days() if days is None else days
        if days < MIN_DAYS:
            message = f"Payments are kept for at least {MIN_DAYS} day after their order closed, not for {days}."
            raise CommandError(message, returncode=_ASKED_WRONGLY)
        if limit is not None and limit < 1:
            message = f"--limit {limit} would archive nothing."
            raise CommandError(message, returncode=_ASKED_WRONGLY)
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            message = f"{folder} is no folder that files can be written to."
            raise CommandError(message, returncode=_ASKED_WRONGLY)
        counts: Counter[Result] = Counter()
        payments = 0
        try:
            for order in lifecycle.archive_attempts(
                older_than=timedelta(days=days), folder=folder, limit=limit, is_dry_run=options["dry_run"]
            ):
                counts[order.result] += 1
                payments += order.attempts if order.result is Result.ARCHIVED else 0
                self.stdout.write(json.dumps(asdict(order)) if options["json"] else _line(order))
                self.stdout.flush()
        except OSError as error:
            message = f"A file could not be written, and nothing of it was deleted: {error}"
            raise CommandError(message) from error
        if not options["json"]:
            parts = ", ".join(f"{counts[result]} {result.replace('_', ' ')}" for result in Result)
            ending = " (dry run: nothing was changed)" if options["dry_run"] else ""
            self.stdout.write(f"orders: {parts}; payments archived: {payments}{ending}")
        if counts.total() != counts[Result.ARCHIVED]:
            raise SystemExit(1)


def _line(order: Archived) -> str:
    payments = f"{order.attempts} payment{'' if order.attempts == 1 else 's'}"
    match order.result:
        case Result.ARCHIVED:
            return f"order {order.order_number}: {payments} -> {order.archive}"
        case Result.CHANGED:
            return f"order {order.order_number}: {payments} left: it changed meanwhile, or somebody holds it"
        case Result.BROKEN:
            return f"order {order.order_number}: {payments} left: a history is broken: {order.why}"
