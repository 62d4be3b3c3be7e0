"""Writes the schedule to django-celery-beat: what operators changed stays theirs."""

import enum
from dataclasses import dataclass

from django_celery_beat.models import IntervalSchedule, PeriodicTask

from beat_schedules.schedule import SCHEDULE, Entry

_SHIPPED = "As shipped: "


class Written(enum.StrEnum):
    """What became of one entry."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    KEPT = "kept as an operator changed it"


@dataclass(frozen=True, slots=True)
class Result:
    """One entry and what became of it."""

    name: str
    written: Written


def write_schedule() -> list[Result]:
    """Write every entry; running it again changes nothing.

    An entry is updated only while it still is what an earlier version shipped: that is noted in its description.
    """
    return [Result(name=entry.name, written=_write(entry)) for entry in SCHEDULE]


def _write(entry: Entry) -> Written:
    row = PeriodicTask.objects.select_related("interval").filter(name=entry.name).first()
    every, period = _interval(entry)
    shipped = f"{_SHIPPED}{entry.task} every {every} {period}, enabled"
    if row is None:
        row, outcome = PeriodicTask(name=entry.name), Written.CREATED
    elif _as_it_is(row) != row.description.rpartition("\n")[2]:
        return Written.KEPT
    elif _as_it_is(row) == shipped:
        return Written.UNCHANGED
    else:
        outcome = Written.UPDATED
    row.task = entry.task
    row.interval, _ = IntervalSchedule.objects.get_or_create(every=every, period=period)
    row.description = f"{entry.why}\n{shipped}"
    row.save()
    return outcome


def _interval(entry: Entry) -> tuple[int, str]:
    if float(entry.every_seconds).is_integer():
        return int(entry.every_seconds), IntervalSchedule.SECONDS
    return round(entry.every_seconds * 1_000_000), IntervalSchedule.MICROSECONDS


def _as_it_is(row: PeriodicTask) -> str:
    interval = "no interval" if row.interval is None else f"{row.interval.every} {row.interval.period}"
    return f"{_SHIPPED}{row.task} every {interval}, {'enabled' if row.enabled else 'disabled'}"
