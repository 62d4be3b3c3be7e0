"""The watcher: a thread in every worker and web process that sees what the clocks do.

Four times a second it samples this machine's clocks; every few seconds it looks at the database's and at Redis's,
compares them with what its boot clock says, and attests in the database that the clock ran true. What it knows goes
into every reading of this process (payments/clocks.py).
"""

import threading
import time
from datetime import datetime, timedelta
from uuid import uuid4

import redis
import structlog
from django.db import connection
from django.db.models import Max

from payments import clockevents, clocks, config
from payments.domain.clock import Step
from payments.domain.course import Course, Detected, Look, Sample, Witness, begin, follow, go_on, sampled
from payments.domain.states import ASKED_ABOUT, SWEEPABLE
from payments.models import ClockWitness, PaymentAttempt

log = structlog.get_logger(__name__)

SAMPLES_PER_SECOND = 4
MOST_WITNESSES = 1000  # The latest; more processes than a shop has.
REDIS_TIMEOUT_SECONDS = 1.0
_SAMPLED_WITHIN_SECONDS = 0.01  # All clocks of one sample; a thread that lost the processor meanwhile tries again.
_WITNESS_KEPT = timedelta(hours=26)  # Longer than any window.
_FORGETS_EVERY_LOOKS = 1000


class ClockWatch(threading.Thread):
    """Watches until it is ended. What fails is tried again at the next look."""

    def __init__(self) -> None:
        super().__init__(name="clock-watch", daemon=True)
        self._ended = threading.Event()
        self._sample = take_sample()
        self._row_id, self._era, self._attested = uuid4(), 1, 0
        self._redis: redis.Redis | None = None

    def run(self) -> None:
        """Sample four times a second, and look every few seconds."""
        next_look = 0.0
        while not self._ended.wait(1 / SAMPLES_PER_SECOND):
            before, self._sample = self._sample, take_sample()
            _record(sampled(before, self._sample))
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + config.clock_guard().look_seconds
                self._try_to_look()

    def end(self) -> None:
        """Stop watching."""
        self._ended.set()
        self.join()
        clocks.set_course(None)

    def _try_to_look(self) -> None:
        try:
            self.look()
        except Exception as error:  # noqa: BLE001 - a database that is away must not end the watch
            log.warning("clocks_not_seen", error=str(error))
        finally:
            connection.close()

    def look(self) -> None:
        """Look at the database's clock and at Redis's, and attest what was seen."""
        look = self._read()
        witnesses = [
            _witness(row) for row in ClockWitness.objects.exclude(id=self._row_id).order_by("-until")[:MOST_WITNESSES]
        ]
        course = clocks.course()
        if course is None:
            course, detected = begin(
                look, witnesses, domain=clocks.domain(), host=clocks.host(), latest_stamp=_latest_stamp()
            )
        else:
            course, detected = go_on(course, look, witnesses)
        course = follow(course, witnesses)
        clocks.set_course(course)
        _record(detected)
        if course.attests():
            self._attest(course)

    def _read(self) -> Look:
        seen = self._ask_redis()
        connection.ensure_connection()  # Which must not count as a part of the round trip.
        wall, boot = clocks.wall_seconds(), clocks.boottime_seconds()
        database = clocks.database_now()
        return Look(
            database=database,
            boot=boot,
            round_trip=clocks.boottime_seconds() - boot,
            wall=wall,
            # Redis was asked some milliseconds ago.
            redis=None if seen is None else seen[0] + boot - seen[1],
        )

    def _ask_redis(self) -> tuple[float, float] | None:
        """Give (seconds since 1970, boot clock) as of one moment; None when Redis does not answer soon."""
        try:
            if self._redis is None:
                self._redis = redis.Redis.from_url(
                    config.redis_url(),
                    socket_timeout=REDIS_TIMEOUT_SECONDS,
                    socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
                )
            before = clocks.boottime_seconds()
            seconds, microseconds = self._redis.time()
            after = clocks.boottime_seconds()
        except (redis.RedisError, ValueError):
            return None
        if after - before > REDIS_TIMEOUT_SECONDS / 20:
            return None  # Too inexact to be a witness.
        return seconds + microseconds / 1e6, (before + after) / 2

    def _attest(self, course: Course) -> None:
        if course.era != self._era:
            self._row_id, self._era = uuid4(), course.era
        seen = course.witness(id=self._row_id, domain=clocks.domain(), host=clocks.host())
        steps = {"unsteady": seen.unsteady, "latest_step": seen.latest_step}
        columns = {
            "host": seen.host,
            "domain": seen.domain,
            "process": clockevents.process_name(),
            "since": seen.since,
            "until": seen.until,
            "boottime_at_until_seconds": seen.boot_at_until,
            "crept_seconds": seen.crept,
            "steps": {name: step.as_texts() for name, step in steps.items() if step is not None},
        }
        if not ClockWitness.objects.filter(id=self._row_id).update(**columns):
            ClockWitness.objects.create(id=self._row_id, **columns)
        self._attested += 1
        oldest = course.last.database - _WITNESS_KEPT
        # A clock that has just stepped forward makes everything look old: only who watched so long knows what is.
        if self._attested % _FORGETS_EVERY_LOOKS == 0 and course.since <= oldest:
            ClockWitness.objects.filter(until__lt=oldest).delete()


def _latest_stamp() -> datetime | None:
    """Read when the latest living attempt was opened. Each set of states has an index of its own."""
    stamps = [
        PaymentAttempt.objects.filter(state__in=sorted(states)).aggregate(at=Max("opened_at"))["at"]
        for states in (SWEEPABLE, ASKED_ABOUT)
    ]
    return max((at for at in stamps if at is not None), default=None)


def _witness(row: ClockWitness) -> Witness:
    return Witness(
        id=row.id,
        domain=row.domain,
        host=row.host,
        since=row.since,
        until=row.until,
        boot_at_until=row.boottime_at_until_seconds,
        crept=row.crept_seconds,
        unsteady=Step.parse(row.steps.get("unsteady")),
        latest_step=Step.parse(row.steps.get("latest_step")),
    )


def take_sample() -> Sample:
    """Read this machine's clocks at one moment."""
    while True:
        boot = clocks.boottime_seconds()
        sample = Sample(wall=clocks.wall_seconds(), boot=boot, monotonic=time.monotonic())
        if clocks.boottime_seconds() - boot < _SAMPLED_WITHIN_SECONDS:
            return sample


def _record(detected: list[Detected]) -> None:
    for seen in detected:
        clockevents.record(kind=seen.kind, seconds=seen.seconds, detail=seen.detail)


_watches: list[ClockWatch] = []


def start() -> None:
    """Begin to watch in this process, unless it watches already."""
    if not is_watching():
        _watches[:] = [ClockWatch()]
        _watches[0].start()


def is_watching() -> bool:
    """Tell whether this process watches."""
    return any(watch.is_alive() for watch in _watches)


def stop() -> None:
    """End the watch of this process."""
    while _watches:
        _watches.pop().end()
