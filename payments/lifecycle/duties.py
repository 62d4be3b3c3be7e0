"""Duties: what beat drives, and what every worker takes over when beat is late, frozen or dead.

Whoever does one counts it, so that nobody else takes it over.
"""

import enum
import time
from datetime import datetime

import structlog
from django.db.models import F

from payments import clockevents, config
from payments.clocks import DatabaseClock
from payments.domain.clock import Detection
from payments.lifecycle.deliver import deliver_due
from payments.lifecycle.release import release_stock_in_doubt
from payments.lifecycle.rescue import Owed, publish_owed
from payments.lifecycle.sweep import SWEEP, SweepRun, sweep_expired
from payments.models import Duty

log = structlog.get_logger(__name__)

DELIVERIES_PER_RUN = 2000  # To one destination: more than it has time for, and a bound all the same.


class DutyName(enum.StrEnum):
    """What must not stop."""

    SWEEP = "sweep"
    RESCUE = "rescue"
    ANNOUNCE = "announce"


def perform_sweep() -> SweepRun:
    """Sweep once, up to the cap of a run; and give back what was held for too long."""
    run = sweep_expired()
    note_sweep(run)
    release_stock_in_doubt(actor=SWEEP)
    return run


def perform_rescue() -> Owed:
    """Publish what is owed and has no job."""
    owed = publish_owed()
    note_run(duty=DutyName.RESCUE)
    return owed


def perform_deliveries() -> None:
    """Deliver announcements. It counts as done when it begins: receivers may hang."""
    note_run(duty=DutyName.ANNOUNCE)
    deliver_due(limit=DELIVERIES_PER_RUN)


def note_run(*, duty: DutyName) -> None:
    """Count one run, so that nobody else takes the duty over."""
    if not Duty.objects.filter(name=duty).update(runs=F("runs") + 1):
        Duty.objects.get_or_create(name=duty)


def note_sweep(run: SweepRun) -> None:
    """Count a run of the sweep, and say when it leaves attempts alone that the clocks disagree about.

    The beginning and the end are told once; while it lasts, an error a minute, beginning after the first.
    """
    note_run(duty=DutyName.SWEEP)
    duty = Duty.objects.filter(name=DutyName.SWEEP)
    if not run.held_orders:
        if duty.filter(stands_still_since__isnull=False).update(stands_still_since=None, stands_still_why=""):
            log.warning("sweep_goes_on")
        return
    why = f"{run.held_orders} due orders are held: {run.held_why}"[:255]
    began = duty.filter(stands_still_since=None).update(stands_still_since=DatabaseClock(), stands_still_why=why)
    if began:
        clockevents.record(kind=Detection.NO_QUORUM, seconds=0.0, detail=f"the sweep stands still: {why}"[:255])
        log.warning("sweep_stands_still", held_orders=run.held_orders, why=run.held_why)
        _alerts.begin()
        return
    duty.update(stands_still_why=why)
    if _alerts.is_due():
        log.error("sweep_stands_still", held_orders=run.held_orders, why=run.held_why)


class _Alerts:
    """One a minute and process, by the monotonic clock: what is told about is a clock that cannot be believed."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def begin(self) -> None:
        """Count from now on."""
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Tell whether the next is due, and take it."""
        seconds = config.clock_guard().hold_alert_seconds
        if time.monotonic() - self._last < seconds:
            return False
        self._last = time.monotonic()
        return True


_alerts = _Alerts()


def standstill(*, duty: DutyName) -> tuple[datetime | None, str]:
    """Read since when a duty stands still, on the database's clock, and why; (None, "") while it goes on."""
    row = Duty.objects.filter(name=duty).values_list("stands_still_since", "stands_still_why").first()
    return row or (None, "")


def runs() -> dict[str, int]:
    """Read how often each duty was done; one that never was is missing."""
    return dict(Duty.objects.values_list("name", "runs"))
