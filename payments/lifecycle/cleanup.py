"""Cleanup: somebody has what is over ended here and now, and is told of each row (a command, or staff over HTTP).

It is the sweep and nothing else, so it may run beside others. What the clocks disagree about it leaves alone, too.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from payments import clocks, due
from payments.due import Scope, Source
from payments.lifecycle.sweep import Fate, Row, latest, preview_sweep, sweep_expired

COUNTED_UP_TO = 10_000  # What a person reads as "many"; counting costs as much as there is.


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is over by the database's clock and has not ended."""

    orders: int  # At most COUNTED_UP_TO, with those that failed.
    is_capped: bool
    failed_orders: int  # They could not be ended, and are tried again. At most COUNTED_UP_TO.
    oldest_expires_at: datetime | None
    server_now: datetime


@dataclass(frozen=True, slots=True)
class Cleanup:
    """What a cleanup did, or would do."""

    ended: int
    held: int  # Left alone, because the clocks do not agree.
    held_why: str
    failed: int  # Written down, each with its reason, and tried again later.
    left: int  # Somebody else was at it, or it was not over after all.
    waiting: int  # They failed before, and are not due again yet. At most COUNTED_UP_TO.
    more_due: int  # Not reached. At most COUNTED_UP_TO.
    duration_seconds: float

    @property
    def is_clean(self) -> bool:
        """Whether nothing needs anybody."""
        return not (self.failed or self.held or self.waiting)


def read_backlog(*, scope: Scope = due.ORDERS) -> Backlog:
    """Count what is over and has not ended, in the indexes that the sweep reads, too."""
    reading = clocks.read()
    now = latest(reading)
    counted = sum(due.count(source, now=now, limit=COUNTED_UP_TO + 1) for source in scope.everything)
    first = [found[0].expires_at for source in scope.everything if (found := _oldest(source, now=now))]
    return Backlog(
        orders=min(counted, COUNTED_UP_TO),
        is_capped=counted > COUNTED_UP_TO,
        failed_orders=due.count(scope.all_failures, now=now, limit=COUNTED_UP_TO),
        oldest_expires_at=min(first, default=None),
        server_now=reading.now,
    )


def clean_up(
    *,
    scope: Scope,
    actor: str,
    limit: int | None = None,
    is_dry_run: bool = False,
    report: Callable[[Row], None],
) -> Cleanup:
    """End what is due, oldest first, until nothing is or `limit` orders were looked at. `report` hears of each once.

    A dry run changes nothing, and reports the rows that a run would take now. Which of them somebody else holds, or
    cannot be ended, only the run itself can find out.
    """
    started, told = time.monotonic(), _Told(report)
    is_complete = True
    if is_dry_run:
        for row in preview_sweep(limit=limit, scope=scope):
            told.hear(row)
        is_complete = limit is None or told.rows < limit
    else:
        is_complete = _sweep(told, scope=scope, actor=actor, limit=limit)
    now = latest(clocks.read())
    again = due.count(scope.failures, now=now, limit=COUNTED_UP_TO)
    waiting = due.count(scope.all_failures, now=now, limit=COUNTED_UP_TO) - again
    more = 0
    if not is_complete:
        more = again + sum(due.count(source, now=now, limit=COUNTED_UP_TO) for source in scope.sources)
        more -= told.rows if is_dry_run else told.fates[Fate.HELD] + told.fates[Fate.LEFT]
    return Cleanup(
        ended=told.fates[Fate.EXPIRE],
        held=told.fates[Fate.HELD],
        held_why=told.held_why,
        failed=told.fates[Fate.FAILED],
        left=told.fates[Fate.LEFT],
        waiting=max(0, waiting - told.fates[Fate.FAILED]),
        more_due=min(max(0, more), COUNTED_UP_TO),
        duration_seconds=round(time.monotonic() - started, 3),
    )


class _Told:
    """What has been told; of several runs each row that did not end once."""

    def __init__(self, report: Callable[[Row], None]) -> None:
        self._report = report
        self._unended: set[tuple[Fate, UUID]] = set()
        self.rows = 0
        self.fates: Counter[Fate] = Counter()
        self.held_why = ""

    def hear(self, row: Row) -> None:
        key = (row.fate, row.candidate.order_id)
        if row.fate is not Fate.EXPIRE:
            if key in self._unended:
                return
            self._unended.add(key)
        self.rows += 1
        self.fates[row.fate] += 1
        if row.fate is Fate.HELD:
            self.held_why = self.held_why or row.why
        self._report(row)


def _sweep(told: _Told, *, scope: Scope, actor: str, limit: int | None) -> bool:
    """Sweep until nothing is left to do; False when the limit was reached, or the cap by rows that cannot be ended."""
    while True:
        left = None if limit is None else limit - told.rows
        run = sweep_expired(limit=left, actor=actor, scope=scope, report=told.hear)
        if limit is not None and told.rows >= limit:
            return False
        if not run.may_go_on:
            return run.is_finished


def _oldest(source: Source, *, now: datetime) -> list[due.Due]:
    return due.read(source, now=now, after=None, limit=1)
