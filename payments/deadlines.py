"""Ends transactions that take too long, by this process's monotonic clock.

PostgreSQL's own timeouts count on its wall clock: after that was set back, `lock_timeout` and `statement_timeout` do
not fire until it has caught up, and whoever waits for a lock waits as long, with every lock that it has already. So
one thread a process keeps a deadline for each transaction. One that is over its time has its statement cancelled; if
it still goes on some seconds later, because it ran none just then, its socket is shut down, and the server gives its
locks back.
"""

import contextlib
import heapq
import itertools
import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import structlog
from psycopg.pq import TransactionStatus

log = structlog.get_logger(__name__)

CANCEL_SECONDS = 2.0  # What asking the server to cancel may take; a server that is away does not answer.
SHUT_AFTER_SECONDS = 3.0  # What a transaction has for its rollback, counted from the cancel.

Connection = psycopg.Connection[Any]


class Deadline:
    """When one transaction must be over. `is_over` tells whether it was not."""

    __slots__ = ("_connection", "_lock", "_seconds", "is_over")

    def __init__(self, connection: Connection, *, seconds: float) -> None:
        self._connection: Connection | None = connection
        self._seconds = seconds
        self._lock = threading.Lock()
        self.is_over = False

    @property
    def is_met(self) -> bool:
        """Tell whether the transaction has ended."""
        return self._connection is None

    def met(self) -> None:
        """Let go of the connection: from now on it serves others. Waits for a cancel that is just being sent."""
        with self._lock:
            self._connection = None

    def enforce(self) -> bool:
        """Cancel the statement, or shut the socket of what was cancelled before; True if it must be looked at again."""
        with self._lock:
            if self._connection is None:
                return False
            was_over, self.is_over = self.is_over, True
            log.error("transaction_too_long", limit_seconds=self._seconds, is_shut=was_over)
            with contextlib.suppress(psycopg.Error):
                if self._connection.pgconn.transaction_status is not TransactionStatus.UNKNOWN:
                    self._connection.cancel_safe(timeout=CANCEL_SECONDS)
            if was_over:
                _shut(self._connection)
            return not was_over


def _shut(connection: Connection) -> None:
    """End a connection under the feet of the thread that uses it; that thread gets an error, and closes it."""
    with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


class _Keeper:
    """The deadlines of this process, the next one first, and the thread that enforces them."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadline]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wakes_at = math.inf

    def add(self, deadline: Deadline, *, at: float) -> None:
        with self._changed:
            self._drop_met()
            heapq.heappush(self._heap, (at, next(self._numbers), deadline))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._keep, name="deadlines", daemon=True)
                self._thread.start()
            elif at < self._wakes_at:  # Seldom: all have the same time, so a later one is due later.
                self._changed.notify()

    def _drop_met(self) -> None:
        while self._heap and self._heap[0][2].is_met:
            heapq.heappop(self._heap)

    def _keep(self) -> None:
        while True:
            deadline = self._next()
            if deadline.enforce():
                self.add(deadline, at=time.monotonic() + SHUT_AFTER_SECONDS)

    def _next(self) -> Deadline:
        with self._changed:
            while True:
                self._drop_met()
                self._wakes_at = self._heap[0][0] if self._heap else math.inf
                left = self._wakes_at - time.monotonic()
                if left <= 0:
                    return heapq.heappop(self._heap)[2]
                self._changed.wait(None if left == math.inf else left)


_keeper = _Keeper()


@contextlib.contextmanager
def limited(connection: Connection, *, seconds: float) -> Iterator[Deadline]:
    """End what `connection` does in this block if it takes longer than `seconds`; it gets an error of psycopg's."""
    deadline = Deadline(connection, seconds=seconds)
    _keeper.add(deadline, at=time.monotonic() + seconds)
    try:
        yield deadline
    finally:
        deadline.met()


def _forget_parent() -> None:
    global _keeper  # noqa: PLW0603 - the child has none of its parent's threads, transactions and locks
    _keeper = _Keeper()


os.register_at_fork(after_in_child=_forget_parent)
