"""The only module of `payments` that knows a queue exists.

A job is a hint, "look at X": the row owes the work, and whatever is lost here is published again from there. So no
customer waits for a broker: a request hands its job to a bounded queue of this process and goes on; a thread publishes
it, within timeouts of its own. A job that does not fit, or that would wait for a broker which has just failed, is
dropped with a log line.

No job has an `eta`, a `countdown` or an `expires`. Those follow the wall clocks of other machines; due times live in
the row.
"""

import atexit
import os
import queue
import threading
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any
from uuid import UUID

import structlog
from celery import current_app

from payments import config
from payments.breaker import Breaker

CHARGE_TASK = "payments.charge"
RESOLVE_TASK = "payments.resolve"
COMPENSATE_TASK = "payments.compensate"
APPLY_EVENT_TASK = "payments.apply_event"
SWEEP_TASK = "payments.sweep_expired"

IDLE_SECONDS = 5  # A connection that nothing was sent over for so long is closed: the broker may have dropped it.

log = structlog.get_logger(__name__)

_breaker = Breaker()


@dataclass(frozen=True, slots=True)
class Job:
    """One message: the name of a task and the ids that it needs. Never rows, card data or times."""

    task: str
    kwargs: Mapping[str, str] = field(default_factory=dict)


def charge(*, attempt_id: UUID) -> Job:
    """Name the job that makes a queued attempt's charge."""
    return Job(CHARGE_TASK, {"attempt_id": str(attempt_id)})


def resolve(*, attempt_id: UUID) -> Job:
    """Name the job that asks what became of an attempt."""
    return Job(RESOLVE_TASK, {"attempt_id": str(attempt_id)})


def compensate(*, compensation_id: UUID) -> Job:
    """Name the job that gives money back."""
    return Job(COMPENSATE_TASK, {"compensation_id": str(compensation_id)})


def apply_event(*, event_id: UUID) -> Job:
    """Name the job that looks at an event of a gateway."""
    return Job(APPLY_EVENT_TASK, {"event_id": str(event_id)})


def publish_later(*, job: Job) -> None:
    """Leave `job` to this process's publishing thread. Returns at once and never raises, whatever the broker does."""
    _relay_of_process().take(job)


def publish(*, jobs: Iterable[Job]) -> int:
    """Publish `jobs` now, for a task that no customer waits for; stop at the first that the broker refuses.

    Returns how many it took: none, at once, while its last failure is fresh.
    """
    with closing(_Line()) as line:
        return sum(1 for _ in takewhile(line.send, jobs))


def flush(*, timeout_seconds: float) -> bool:
    """Wait until every job that was left to the thread is published or dropped; False when that takes longer."""
    relay = _relays.get(os.getpid())
    return relay is None or relay.flush(timeout_seconds=timeout_seconds)


def close(*, timeout_seconds: float) -> None:
    """End the publishing thread, its connection and the breaker. The next job starts anew, by the settings of then."""
    relay = _relays.pop(os.getpid(), None)
    if relay is not None:
        relay.close(timeout_seconds=timeout_seconds)
    _breaker.reset()


class _Line:
    """A connection to the broker: opened for the first job, closed by a failure or at the end."""

    def __init__(self) -> None:
        self._connection: Any = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def send(self, job: Job) -> bool:
        """Publish one job. False when the broker does not take it, or when it failed a moment ago."""
        if _breaker.is_open:
            self.close()
            _drop(job, reason="broker_failed_just_now")
            return False
        limits = config.limits()
        try:
            if self._connection is None:
                self._connection = _connect(timeout_seconds=limits.publish_timeout_seconds)
            current_app.send_task(
                job.task,
                kwargs=dict(job.kwargs),
                producer=current_app.amqp.Producer(self._connection),
                ignore_result=True,
                retry=False,
                confirm_timeout=limits.publish_timeout_seconds,
            )
        except Exception as error:  # noqa: BLE001 - brokers fail in many ways, and none is a reason to fail the caller
            _breaker.trip(pause_seconds=limits.publish_pause_seconds)
            self.close()
            _drop(job, reason="broker_failed", error=str(error))
            return False
        return True

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # A broken connection may break once more while it is closed.
                connection.release()


class _Relay:
    """A bounded queue, and the thread that publishes what is in it."""

    def __init__(self) -> None:
        self._jobs: queue.Queue[Job | None] = queue.Queue(maxsize=config.limits().publish_queue_jobs)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closing = False

    def take(self, job: Job) -> None:
        if _breaker.is_open:
            _drop(job, reason="broker_failed_just_now")
            return
        try:
            self._start()
            self._jobs.put_nowait(job)
        except queue.Full:
            _drop(job, reason="queue_full")
        except RuntimeError as error:  # The machine has no thread left to give.
            _drop(job, reason="no_thread", error=str(error))

    def flush(self, *, timeout_seconds: float) -> bool:
        with self._jobs.all_tasks_done:
            return self._jobs.all_tasks_done.wait_for(lambda: not self._jobs.unfinished_tasks, timeout_seconds)

    def close(self, *, timeout_seconds: float) -> None:
        self._is_closing = True
        with suppress(queue.Full):  # Then the thread is busy, and looks at the flag next.
            self._jobs.put_nowait(None)
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def _start(self) -> None:
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None:
                # A daemon: a broker that hangs must not keep the process from ending.
                thread = threading.Thread(target=self._run, name="publish", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        with closing(_Line()) as line:
            while not self._is_closing:
                try:
                    job = self._jobs.get(timeout=IDLE_SECONDS if line.is_open else None)
                except queue.Empty:
                    line.close()
                    continue
                if job is not None:
                    line.send(job)
                self._jobs.task_done()


# By process: a fork begins with a queue, a lock and a thread of its own, since threads do not survive it.
_relays: dict[int, _Relay] = {}


def _relay_of_process() -> _Relay:
    process_id = os.getpid()
    relay = _relays.get(process_id)
    # `setdefault` is atomic, and a relay that loses here has not started its thread.
    return _relays.setdefault(process_id, _Relay()) if relay is None else relay


def _connect(*, timeout_seconds: float) -> Any:
    """Prepare a connection whose every wait ends after `timeout_seconds`; each kind of broker reads its own names."""
    redis = {"socket_timeout": timeout_seconds, "socket_connect_timeout": timeout_seconds}
    # Without these a RabbitMQ that stands still would hold even the closing of the connection for good.
    rabbitmq = {"read_timeout": timeout_seconds, "write_timeout": timeout_seconds}
    return current_app.connection_for_write(
        connect_timeout=timeout_seconds, transport_options={"max_retries": 0, **redis, **rabbitmq}
    )


def _drop(job: Job, *, reason: str, **facts: str) -> None:
    log.warning("job_not_published", task=job.task, reason=reason, **job.kwargs, **facts)


@atexit.register
def _flush_at_exit() -> None:
    # Best effort: what is lost here is published from its row.
    if os.getpid() in _relays:
        flush(timeout_seconds=config.limits().publish_timeout_seconds)
