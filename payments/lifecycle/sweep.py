"""Sweep: what is due ends, oldest first, a batch a transaction. Several sweeps may run at once and share the work.

Each batch locks the orders of the oldest candidates, steps over those that somebody else holds, reads the clocks, has
the clock guard judge each, and ends those that are over in one statement. Lock conflicts are tried again after a pause.
A batch that fails otherwise is halved until the order that it fails for stands alone; that one is written down, told to
the staff, and tried by itself from then on, ever more seldom, so that it holds up nobody else.
"""

import enum
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import chain, islice
from typing import NamedTuple
from uuid import UUID

import structlog
from django.db import Error, connection

from payments import clocks, config, due, guard, locks
from payments.domain.clock import Judgement, Reading, Ruling
from payments.due import Due, Scope, Source
from payments.lifecycle.expire import Over, expire_locked_orders
from payments.lifecycle.expiry_failures import note_failure, reason_of
from payments.transactions import concerns_rows, is_lock_conflict, release_connection, transaction

log = structlog.get_logger(__name__)

SWEEP = "sweep"

# The pauses between the tries of a batch double, and vary by half.
TRIES = 4
FIRST_PAUSE_SECONDS = 0.05

FAILURES_PER_RUN = 100  # Tried again, and set apart at the most.
MAX_LEFT_COUNTED = 1000

HELD_BY_OTHERS = "somebody else is at it"

_threads_are_free = threading.Lock()


class Fate(enum.StrEnum):
    """What the sweep does with a candidate."""

    EXPIRE = "expire"
    HELD = "held"  # The clocks do not agree whether it is over.
    LEFT = "left"  # Not over yet, or somebody else is at it.
    FAILED = "failed"  # It could not be ended; written down, and tried again later.


class Row(NamedTuple):
    """One candidate, what the sweep does with it, and why."""

    fate: Fate
    candidate: Due
    why: str


@dataclass(frozen=True, slots=True)
class SweepRun:
    """What one run of the sweep did."""

    expired_orders: int
    held_orders: int  # Due by some clock, and left alone because the clocks do not agree.
    held_why: str
    failed_orders: int  # Written down, each with its reason.
    skipped_orders: int  # Due when the run began, and still there at its end: others held them. At most a thousand.
    batches: int
    lag_seconds: float  # How late the latest was of those that ended.
    duration_seconds: float
    is_finished: bool  # False when the run ended at its cap and more may be due.

    @property
    def may_go_on(self) -> bool:
        """Whether another run is of use. After one that ended nothing it would find the same again."""
        return self.expired_orders > 0 and not self.is_finished


def sweep_expired(
    *,
    limit: int | None = None,
    actor: str = SWEEP,
    scope: Scope = due.ORDERS,
    report: Callable[[Row], None] | None = None,
) -> SweepRun:
    """Expire what is due, up to the cap of a run, or `limit` orders. `report` hears of each candidate."""
    # Who listens is told in order. And one backlog of a process has the threads: they need connections from its pool.
    has_threads = report is None and _threads_are_free.acquire(blocking=False)
    try:
        threads = config.limits().sweep_threads if has_threads else 1
        return _Sweep(limit=limit, actor=actor, scope=scope, report=report, threads=threads).run()
    finally:
        if has_threads:
            _threads_are_free.release()


def preview_sweep(*, limit: int | None = None, scope: Scope = due.ORDERS) -> Iterator[Row]:
    """Tell what `sweep_expired` would do now: the same candidates, judged by the same guard. Changes nothing."""
    return islice(_preview(clocks.read(), scope), limit)


def _preview(reading: Reading, scope: Scope) -> Iterator[Row]:
    now, batch_rows = latest(reading), config.limits().sweep_batch_rows
    candidates = [due.read_all(source, now=now, limit=batch_rows) for source in scope.sources]
    again = due.read(scope.failures, now=now, after=None, limit=FAILURES_PER_RUN)
    for candidate in chain(*candidates, again):
        try:
            yield _row(candidate, guard.judge(candidate, reading=reading))
        except Exception as error:  # noqa: BLE001 - a run would set it apart for that
            yield Row(Fate.FAILED, candidate, reason_of(error))


def _row(candidate: Due, judgement: Judgement) -> Row:
    fates = {Ruling.EXPIRE: Fate.EXPIRE, Ruling.HOLD: Fate.HELD}
    return Row(fates.get(judgement.ruling, Fate.LEFT), candidate, judgement.why)


def latest(reading: Reading) -> datetime:
    """Give the time that chooses candidates: a clock that was set back must not keep the sweep from looking."""
    return max(reading.now, reading.expected or reading.now)


class _Done(NamedTuple):
    """What one transaction of the sweep did, and the database's time when it did it."""

    now: datetime
    rows: list[Row]


class _Sweep:
    """One run, and what it has done so far. Its threads share the place in the source that they have come to."""

    def __init__(
        self,
        *,
        limit: int | None,
        actor: str,
        scope: Scope,
        report: Callable[[Row], None] | None,
        threads: int,
    ) -> None:
        limits = config.limits()
        self._batch_rows, self._batches_per_source = limits.sweep_batch_rows, limits.sweep_batches_per_run
        self._batches_left = 0
        self._threads = threads
        self._limit, self._actor, self._scope, self._report = limit, actor, scope, report
        self._lock = threading.Lock()
        self._after: Due | None = None
        self._is_exhausted = False
        self._taken = self._batches = 0
        self._fates: Counter[Fate] = Counter()
        self._left: set[UUID] = set()
        self._held_why = ""
        self._lag_seconds = 0.0

    def run(self) -> SweepRun:
        started, first = time.monotonic(), latest(clocks.read())
        is_finished = True
        for source in self._scope.sources:
            self._sweep(source)
            is_finished = is_finished and (self._is_exhausted or self._taken == self._limit)
        self._try_failures_again()
        is_told = bool(self._fates[Fate.EXPIRE] or self._fates[Fate.FAILED] or not is_finished)
        is_looked_after = is_finished and (is_told or self._report is not None)
        run = SweepRun(
            expired_orders=self._fates[Fate.EXPIRE],
            held_orders=self._fates[Fate.HELD],
            held_why=self._held_why,
            failed_orders=self._fates[Fate.FAILED],
            skipped_orders=self._count_skipped(first) if is_looked_after else 0,
            batches=self._batches,
            lag_seconds=round(self._lag_seconds, 6),
            duration_seconds=round(time.monotonic() - started, 6),
            is_finished=is_finished,
        )
        if is_told:
            log.info("sweep_finished", **asdict(run))
        return run

    def _sweep(self, source: Source) -> None:
        """Take one batch after the other until the source is exhausted or the cap is reached; a backlog in threads."""
        self._after, self._is_exhausted, self._batches_left = None, False, self._batches_per_source
        is_more = self._take(source)
        if not is_more or self._threads == 1:
            while is_more:
                is_more = self._take(source)
            return
        release_connection()  # While this thread waits for the others, they may need it.
        with ThreadPoolExecutor(max_workers=self._threads, thread_name_prefix="sweep") as pool:
            for future in [pool.submit(copy_context().run, self._take_all, source) for _ in range(self._threads)]:
                future.result()

    def _take_all(self, source: Source) -> None:
        try:
            while self._take(source):
                pass
        finally:
            connection.close()

    def _take(self, source: Source) -> bool:
        """End the next batch; True when there may be more."""
        found: list[Due] = []
        try:
            with transaction():
                locks.wait_shortly()
                found = self._lock_next(source)
                done = self._end(found, is_patient=True) if found else None
        except Exception as error:
            if not found or not concerns_rows(error):
                raise
            release_connection()  # It may be one that was shut for taking too long.
            self._take_apart(found)
        else:  # Behind the commit: a listener that fails is no fault of the orders.
            if done is not None:
                self._count(done)
        return bool(found) and not self._is_exhausted

    def _lock_next(self, source: Source) -> list[Due]:
        with self._lock:
            rows = self._batch_rows if self._limit is None else min(self._batch_rows, self._limit - self._taken)
            if self._is_exhausted or not self._batches_left or not rows:
                return []
            self._batches_left -= 1
            self._batches += 1
            found = locks.lock_due(source, now=latest(clocks.read()), after=self._after, limit=rows)
            self._is_exhausted = len(found) < rows
            self._taken += len(found)
            self._after = found[-1] if found else self._after
            return found

    def _take_apart(self, found: Sequence[Due]) -> None:
        """End candidates once more after a failure; if they fail again, find out which of them do it."""
        try:
            done = self._again(found)
        except Exception as error:
            if not concerns_rows(error):
                raise
            release_connection()
            if self._fates[Fate.FAILED] >= FAILURES_PER_RUN:
                raise  # It is not the rows: whatever it is, each order would be set apart for it.
            if len(found) == 1:
                self._fail(found[0], error)
                return
            middle = len(found) // 2
            for half in (found[:middle], found[middle:]):
                self._take_apart(half)
        else:
            self._count(done)

    def _again(self, found: Sequence[Due]) -> _Done:
        """Lock and end them; after a lock conflict again, the last time without waiting for stock rows."""
        for number in range(1, TRIES + 1):
            try:
                with transaction():
                    locks.wait_shortly()
                    free = locks.lock_orders(order_ids=[candidate.order_id for candidate in found])
                    mine = [candidate for candidate in found if candidate.order_id in free]
                    others = [Row(Fate.LEFT, one, HELD_BY_OTHERS) for one in found if one.order_id not in free]
                    done = self._end(mine, is_patient=number < TRIES)
                    return done._replace(rows=[*done.rows, *others])
            except Error as error:
                if number == TRIES or not is_lock_conflict(error):
                    raise
                log.info("sweep_met_a_lock", error=str(error).partition("\n")[0], tries=number)
            pause = FIRST_PAUSE_SECONDS * 2 ** (number - 1)
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311, TID251 - no secret; no lock is held meanwhile
        raise AssertionError

    def _fail(self, candidate: Due, error: Exception) -> None:
        why = reason_of(error)
        is_noted = note_failure(candidate, why=why)
        row = Row(Fate.FAILED, candidate, why) if is_noted else Row(Fate.LEFT, candidate, HELD_BY_OTHERS)
        self._count(_Done(candidate.expires_at, [row]))

    def _end(self, found: Sequence[Due], *, is_patient: bool) -> _Done:
        """End what is over of the candidates, whose orders are locked."""
        reading = clocks.read()
        judged = [(candidate, guard.judge(candidate, reading=reading)) for candidate in found]
        over = [
            Over(candidate.order_id, candidate.order_number, candidate.attempt_id, candidate.expires_at, judgement)
            for candidate, judgement in judged
            if judgement.ruling is Ruling.EXPIRE
        ]
        if over and not is_patient:
            free = locks.lock_free_stock_of_orders(order_ids=[one.order_id for one in over])
            over = [one for one in over if one.order_id in free]
        ended = set()
        if over:
            ended = {one.order_id for one in expire_locked_orders(over, now=reading.now, actor=self._actor)}
        rows = [_row(candidate, judgement) for candidate, judgement in judged]
        return _Done(
            reading.now,
            [
                row._replace(fate=Fate.LEFT, why=HELD_BY_OTHERS)
                if row.fate is Fate.EXPIRE and row.candidate.order_id not in ended
                else row
                for row in rows
            ],
        )

    def _count(self, done: _Done) -> None:
        """Add up what has been committed."""
        with self._lock:
            for row in done.rows:
                self._fates[row.fate] += 1
                if row.fate is Fate.EXPIRE:
                    self._lag_seconds = max(self._lag_seconds, (done.now - row.candidate.expires_at).total_seconds())
                elif row.fate is Fate.HELD:
                    self._held_why = self._held_why or row.why
                elif row.fate is Fate.LEFT:
                    self._left.add(row.candidate.order_id)
                if self._report is not None:
                    self._report(row)

    def _try_failures_again(self) -> None:
        """Try the orders that failed before, those of them that are due again, each by itself."""
        rows = FAILURES_PER_RUN if self._limit is None else min(FAILURES_PER_RUN, self._limit - self._taken)
        for candidate in due.read(self._scope.failures, now=latest(clocks.read()), after=None, limit=rows):
            self._take_apart([candidate])

    def _count_skipped(self, first: datetime) -> int:
        """Count what was due when the run began and is still there, and tell of what nobody has been told of."""
        if self._taken == self._limit:
            return 0  # Then it may only be more than the limit.
        reading = clocks.read()
        skipped = [
            candidate
            for source in self._scope.sources
            for candidate in due.read(source, now=first, after=None, limit=MAX_LEFT_COUNTED)
            if guard.judge(candidate, reading=reading).ruling is Ruling.EXPIRE
        ]
        unknown = [candidate for candidate in skipped if candidate.order_id not in self._left]
        self._count(_Done(reading.now, [Row(Fate.LEFT, candidate, HELD_BY_OTHERS) for candidate in unknown]))
        return len(skipped)
