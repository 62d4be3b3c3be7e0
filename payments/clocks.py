"""Reads the clocks that payments/domain/clock.py judges: the database's under the lock, and this process's own.

`SELECT ... FOR UPDATE WHERE expires_at > now()` was seen to return an expired row as valid after a lock wait of 3 s:
PostgreSQL takes its times before it waits. So the database's clock is read in a statement of its own, after the lock
was granted. Durations are measured on the boot clock, which no operator sets and which goes on counting while the
machine sleeps; a boot clock compares with itself only, so each reading names its domain, the boot.
"""

import os
import socket
import time
from datetime import datetime
from functools import cache
from pathlib import Path
from uuid import uuid4

from django.db import connection
from django.db.models import DateTimeField, Func

from payments.domain.clock import Reading
from payments.domain.course import Course

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIME_NAMESPACE = Path("/proc/self/timens_offsets")

# Only Linux has it. Elsewhere a machine that slept is not noticed here, but the database's clock still is.
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

_course: Course | None = None  # What this process's watcher knows (payments/clockwatch.py); None without a watcher.


def database_now() -> datetime:
    """Read the database's clock: timezone-aware, UTC. Under a lock, call it after the lock was granted."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    if not isinstance(now, datetime):
        message = f"clock_timestamp() gave {now!r}"
        raise TypeError(message)
    return now


class DatabaseClock(Func):
    """`clock_timestamp()` in a read without a lock. Never use it in a statement that waits for one."""

    function = "clock_timestamp"
    output_field = DateTimeField()


def read() -> Reading:
    """Read the database's clock, and this machine's clocks before it: what passed since is never measured short."""
    return Before().reading(now=database_now())


class Before:
    """This machine's clocks just before the database is asked for something and the time."""

    def __init__(self) -> None:
        self._wall, self._boottime = wall_seconds(), boottime_seconds()

    def reading(self, *, now: datetime) -> Reading:
        """Give the whole reading, now that the database has said that it is `now`."""
        reading = Reading(
            now=now,
            boottime_seconds=self._boottime,
            round_trip=boottime_seconds() - self._boottime,
            wall=self._wall,
            domain=domain(),
            host=host(),
        )
        course = _course
        return reading if course is None else course.added_to(reading)


def wall_seconds() -> float:
    """Read this machine's wall clock, seconds since 1970: only to see how it lies, and to say when it did."""
    return time.time()  # noqa: TID251 - its only home


def boottime_seconds() -> float:
    """Read this machine's boot clock: seconds since it started, sleep included, whatever time namespace this is."""
    return time.clock_gettime(_BOOT_CLOCK) - _namespace_offset_seconds()


@cache
def _namespace_offset_seconds() -> float:
    name = "boottime" if hasattr(time, "CLOCK_BOOTTIME") else "monotonic"
    try:
        lines = _TIME_NAMESPACE.read_text().splitlines()
    except OSError:
        return 0.0
    offsets = {line.split()[0]: line.split()[1:] for line in lines}
    seconds, nanoseconds = offsets.get(name, ("0", "0"))
    return int(seconds) + int(nanoseconds) / 1e9


@cache
def domain() -> str:
    """Name the boot that this process's boot clock counts from; two that name the same compare.

    Where the system names none, as on macOS, it is this process alone, and no boot clock is claimed.
    """
    try:
        return f"boot:{_BOOT_ID.read_text().strip()}"
    except OSError:
        return f"process:{uuid4()}"


@cache
def host() -> str:
    """Name this machine."""
    return socket.gethostname()


def course() -> Course | None:
    """Tell what this process's watcher knows of the database's clock; None without a watcher."""
    return _course


def set_course(course: Course | None) -> None:
    """Take what the watcher knows; every reading from now on carries it."""
    global _course  # noqa: PLW0603 - one watcher a process, and its knowledge is replaced whole
    _course = course


os.register_at_fork(after_in_child=lambda: set_course(None))  # The child has no watcher yet.
