"""Every worker watches that the sweep and the rescue go on, and steps in when they do not.

Beat can die, freeze behind a clock that stepped back, or talk to a broker that is away. So a thread in each worker
looks at how often the duties were done, and when a count stands still for longer than its patience, on the monotonic
clock, it does the duty itself. Jobs that the broker does not take are run right here: PostgreSQL knows what is owed,
and nothing else is needed to do it.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import MappingProxyType
from uuid import UUID

import structlog
from celery.signals import worker_ready, worker_shutdown
from django.db import connection

from payments import config, dispatch, lifecycle
from payments.lifecycle.duties import DutyName

log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 1.0
# So many jobs at once without a broker: enough to go on, few enough to leave the worker its threads and connections.
JOBS_AT_ONCE = 8

_RUNS: Mapping[str, Callable[[Mapping[str, str]], object]] = MappingProxyType(
    {
        dispatch.CHARGE_TASK: lambda ids: lifecycle.charge_attempt(attempt_id=UUID(ids["attempt_id"])),
        dispatch.RESOLVE_TASK: lambda ids: lifecycle.resolve_attempt(attempt_id=UUID(ids["attempt_id"])),
        dispatch.APPLY_EVENT_TASK: lambda ids: lifecycle.apply_event(event_id=UUID(ids["event_id"])),
        dispatch.COMPENSATE_TASK: lambda ids: lifecycle.compensate(compensation_id=UUID(ids["compensation_id"])),
    }
)


class Watchdog(threading.Thread):
    """Does what nobody does. One a worker; several in several workers share the work as any two sweeps do."""

    def __init__(self, *, patience_seconds: float, jobs_at_once: int = JOBS_AT_ONCE) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._patience_seconds = patience_seconds
        self._ended = threading.Event()
        self._jobs = ThreadPoolExecutor(max_workers=jobs_at_once, thread_name_prefix="watchdog-job")
        self._announcing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="watchdog-announce")
        self._unfinished: dict[tuple[str, frozenset[tuple[str, str]]], Future[None]] = {}
        self._delivery: Future[None] | None = None
        self._seen: dict[DutyName, tuple[int, float]] = {}
        self._acts: dict[DutyName, Callable[[], None]] = {
            DutyName.SWEEP: self._sweep,
            DutyName.RESCUE: self._rescue,
            DutyName.ANNOUNCE: self._announce,
        }

    def run(self) -> None:
        """Look once a second until the worker ends; what fails is tried again at the next look."""
        while not self._ended.wait(LOOK_EVERY_SECONDS):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - a database that is away must not end the watch
                log.warning("watchdog_could_not_look", error=str(error))
            finally:
                connection.close()

    def end(self) -> None:
        """Stop looking; jobs that run are left to end by themselves."""
        self._ended.set()
        for pool in (self._jobs, self._announcing):
            pool.shutdown(wait=False, cancel_futures=True)

    def look(self) -> None:
        """Do each duty whose count stands still for too long."""
        counts = lifecycle.duty_runs()
        for duty, act in self._acts.items():
            count, now = counts.get(duty, 0), time.monotonic()
            known, since = self._seen.get(duty, (None, now))
            if count != known:
                self._seen[duty] = (count, now)
            elif now - since >= self._patience_seconds:
                log.warning("duty_taken_over", duty=duty.value, silent_seconds=round(now - since, 1))
                try:
                    act()
                except Exception as error:  # noqa: BLE001 - one duty that fails must not keep the others from being done
                    log.warning("duty_failed", duty=duty.value, error=str(error))

    def _sweep(self) -> None:
        while not self._ended.is_set():
            if not lifecycle.perform_sweep().may_go_on:
                break

    def _rescue(self) -> None:
        owed = lifecycle.perform_rescue()
        # What is owed is owed again until it is done: each job stands in line here once.
        self._unfinished = {key: future for key, future in self._unfinished.items() if not future.done()}
        for job in owed.jobs[owed.published :]:
            key = (job.task, frozenset(job.kwargs.items()))
            if key not in self._unfinished:
                self._unfinished[key] = self._jobs.submit(_run_here, job)

    def _announce(self) -> None:
        if self._delivery is None or self._delivery.done():
            self._delivery = self._announcing.submit(_deliver_here)  # Receivers may hang; the watch goes on meanwhile.
        else:
            lifecycle.note_run(duty=DutyName.ANNOUNCE)  # It is being done.


def _deliver_here() -> None:
    try:
        lifecycle.perform_deliveries()
    except Exception:
        log.exception("deliveries_failed")  # They stay due.
    finally:
        connection.close()


def _run_here(job: dispatch.Job) -> None:
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task=job.task, without_broker=True, **job.kwargs)
    try:
        _RUNS[job.task](job.kwargs)
    except Exception:
        log.exception("job_failed")  # It stays owed.
    finally:
        connection.close()


_watchdogs: list[Watchdog] = []


@worker_ready.connect
def watch(**_: object) -> None:
    """Begin to watch as soon as the worker takes jobs."""
    watchdog = Watchdog(patience_seconds=config.limits().watchdog_patience_seconds)
    _watchdogs.append(watchdog)
    watchdog.start()


@worker_shutdown.connect
def stop_watching(**_: object) -> None:
    """Stop with the worker."""
    while _watchdogs:
        _watchdogs.pop().end()
