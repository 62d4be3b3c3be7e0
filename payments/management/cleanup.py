"""What `cleanup_expired_payments` and `cleanup_expired_orders` share: the options, the lines, the exit code."""

import json
import logging
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandParser, OutputWrapper

from payments import lifecycle
from payments.domain.ids import Prefix, public_id
from payments.due import Scope
from payments.lifecycle import Cleanup, Fate, Row
from payments.management.progress import Progress

_EACH_ROW = 2  # The verbosity from which each row is told.
_MOST = 1_000_000_000  # More than there will ever be, and less than what PostgreSQL or Python would choke on.

EXIT_CODES = (
    "Exits with 0 when everything is done; with 1 when something could not be ended, failed before and waits for its "
    "next try, or is held because the clocks disagree about it; with 2 when it was asked wrongly."
)


class CleanupCommand(BaseCommand):
    """Has the sweep end what is over, now, and tells of it."""

    scope: ClassVar[Scope]
    is_about_orders: ClassVar[bool]
    actor: ClassVar[str]  # As it stands in the history.

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Let `-v` be said again, as it is in `add_arguments`."""
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="Change nothing; print each row that a run would take now, and why.",
        )
        parser.add_argument("--verbose", action="store_true", help="Print each row; the same as -v and --verbosity 2.")
        parser.add_argument(
            "-v",
            "--verbosity",
            nargs="?",
            type=int,
            choices=range(4),
            default=1,
            const=_EACH_ROW,
            help="0: nothing but failures; 1: those and a summary (default); 2, 3, or no level: each row, too.",
        )
        parser.add_argument("--limit", type=_positive, metavar="N", help="Take the N oldest and leave the rest.")
        parser.add_argument(
            "--json", action="store_true", help="Print each row and the summary as a JSON object a line."
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        is_dry_run, as_json, limit = options["dry_run"], options["json"], options["limit"]
        is_each_told = is_dry_run or as_json or options["verbose"] or options["verbosity"] >= _EACH_ROW
        progress = Progress(
            self.stderr, total=min(lifecycle.read_backlog(scope=self.scope).orders, limit or sys.maxsize)
        )

        def tell(row: Row) -> None:
            if is_each_told or row.fate is Fate.FAILED:
                progress.erase()
                self.stdout.write(json.dumps(_facts(row)) if as_json else told(row, order_first=self.is_about_orders))
            progress.advance()

        with _instead_of_log_lines(self.stderr):
            done = lifecycle.clean_up(
                scope=self.scope, actor=self.actor, limit=limit, is_dry_run=is_dry_run, report=tell
            )
        progress.erase()
        if as_json:
            self.stdout.write(json.dumps(_summary(done, is_dry_run=is_dry_run)))
        elif options["verbosity"]:
            for line in _summary_lines(done, is_dry_run=is_dry_run, limit=limit):
                self.stdout.write(line)
        if not done.is_clean:
            sys.exit(1)


def told(row: Row, *, order_first: bool) -> str:
    """Tell of a row, beginning with what the command is about."""
    candidate = row.candidate
    names = [public_id(Prefix.PAYMENT, candidate.attempt_id), candidate.order_number]
    who = "  ".join(reversed(names) if order_first else names)
    due_at = candidate.expires_at.isoformat(timespec="seconds")
    again = f" (tried again; last time: {candidate.failure})" if candidate.failure else ""
    return f"{row.fate:<6}  {who}  due {due_at}  {row.why}{again}"


def _facts(row: Row) -> dict[str, str | None]:
    candidate = row.candidate
    return {
        "fate": row.fate,
        "payment_id": public_id(Prefix.PAYMENT, candidate.attempt_id),
        "order_id": candidate.order_number,
        "expires_at": candidate.expires_at.isoformat(),
        "reason": row.why,
        "last_failure": candidate.failure or None,
    }


def _summary(done: Cleanup, *, is_dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": is_dry_run,
        "ended": done.ended,
        "held": done.held,
        "held_why": done.held_why or None,
        "failed": done.failed,
        "left": done.left,
        "waiting": done.waiting,
        "more_due": done.more_due,
        "duration_seconds": done.duration_seconds,
    }


def _summary_lines(done: Cleanup, *, is_dry_run: bool, limit: int | None) -> Iterator[str]:
    why = f" ({done.held_why})" if done.held else ""
    yield (
        f"{'would end' if is_dry_run else 'ended'} {done.ended}, held {done.held}{why}, failed {done.failed}, "
        f"left {done.left}, in {done.duration_seconds:.3f} s"
    )
    if done.waiting:
        at_least = "at least " if done.waiting >= lifecycle.COUNTED_UP_TO else ""
        yield f"{at_least}{done.waiting} failed before and wait for their next try"
    if done.more_due:
        at_least = "at least " if done.more_due >= lifecycle.COUNTED_UP_TO else ""
        reached = "the cap of a run" if limit is None else f"the limit of {limit}"
        yield f"{reached} was reached, and {at_least}{done.more_due} more are due"


@contextmanager
def _instead_of_log_lines(stream: OutputWrapper) -> Iterator[None]:
    """Keep the log's line for each row off a terminal, where the bar is; elsewhere it is the record of the run."""
    root = logging.getLogger()
    level = root.level
    if stream.isatty():
        root.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        root.setLevel(level)


def _positive(text: str) -> int:
    value = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(_MOST)) else 0
    if not 1 <= value <= _MOST:
        message = f"{text!r} is not a whole number from 1 to {_MOST}."
        raise ArgumentTypeError(message)
    return value
