"""Writes down what clocks did, on a connection of its own: no rollback erases it, and no payment waits for it.

An event goes to the log at once and to a thread that stores it. If the database is away it goes to standard error as
one line of JSON, so that it is not lost with the process.
"""

import atexit
import json
import os
import queue
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from django.db import connection

from payments import clocks
from payments.domain.clock import Detection
from payments.models import ClockEvent

log = structlog.get_logger(__name__)

MOST_WAITING = 1000  # More than any clock does in the time that a database takes to answer.
FLUSH_SECONDS = 2.0

_events: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=MOST_WAITING)
_starting = threading.Lock()
_writer: threading.Thread | None = None


def record(
    *,
    kind: Detection,
    seconds: float,
    detail: str,
    attempt_id: UUID | None = None,
    evidence: Mapping[str, Any] | None = None,
) -> None:
    """Write down one thing that a clock did: `seconds` is how far it moved, forward if positive."""
    event: dict[str, Any] = {
        "kind": kind.value,
        "attempt_id": attempt_id,
        "seconds": round(seconds, 6),
        "detail": detail[:255],
        "host": clocks.host()[:255],
        "domain": clocks.domain(),
        "process": process_name(),
        "wall": datetime.fromtimestamp(clocks.wall_seconds(), tz=UTC),
        "boottime_seconds": clocks.boottime_seconds(),
        "evidence": dict(evidence or {}),
    }
    log.warning("clock_event", kind=event["kind"], seconds=event["seconds"], detail=detail)
    try:
        _events.put_nowait(event)
    except queue.Full:
        _spool(event)
        return
    _ensure_writer()


def process_name() -> str:
    """Name this process for a person, such as `celery:4711`."""
    return f"{os.path.basename(sys.argv[0]) or 'python'}:{os.getpid()}"[:64]  # noqa: PTH119 - a name, no path


def flush(*, timeout_seconds: float = FLUSH_SECONDS) -> bool:
    """Wait until everything recorded so far is written or spooled; False when it took too long."""
    with _events.all_tasks_done:
        return _events.all_tasks_done.wait_for(lambda: not _events.unfinished_tasks, timeout=timeout_seconds)


def _ensure_writer() -> None:
    global _writer  # noqa: PLW0603 - one thread a process, begun when there is something to write
    with _starting:
        if _writer is None or not _writer.is_alive():
            _writer = threading.Thread(target=_write, name="clock-events", daemon=True)
            _writer.start()


def _write() -> None:
    while True:
        event = _events.get()
        try:
            ClockEvent.objects.create(**event, recorded_at=clocks.DatabaseClock())
        except Exception:  # noqa: BLE001 - whatever keeps it from the database, it must not be lost
            _spool(event)
        finally:
            _events.task_done()
            if _events.empty():
                connection.close()


def _spool(event: Mapping[str, Any]) -> None:
    print(json.dumps({"event": "clock_event_not_stored", **event}, default=str), file=sys.stderr, flush=True)  # noqa: T201 - the last resort


def _forget_parent() -> None:
    global _writer, _events, _starting
    _writer, _events, _starting = None, queue.Queue(maxsize=MOST_WAITING), threading.Lock()


os.register_at_fork(after_in_child=_forget_parent)
atexit.register(flush)
