"""Ends the wait for a sending after a time, whatever carries it.

A mail server that drips a byte a second passes every timeout of a socket, and a sender of the host may have none at
all. So each sending has a thread of its own, and nobody waits for it longer than its time. A thread that has not yet
passed its point of no return then finds it closed, which is proof that nothing is sent; what one behind it still does
is unclear. There are few such threads: while all of them hang, nothing is begun.
"""

import queue
import threading
from collections.abc import Callable

import structlog

from payments.messaging.endings import Ending, NotSent, Unclear
from payments.transactions import release_connection

log = structlog.get_logger(__name__)

MAX_SENDINGS = 4  # Of a process at once; one is the rule.

_free = threading.BoundedSemaphore(MAX_SENDINGS)


class Point:
    """The point of no return of one sending: its thread passes it, or whoever waited too long closes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_passed = self._is_closed = False

    def pass_by(self) -> bool:
        """Go on to what cannot be taken back; False when it is closed."""
        with self._lock:
            self._is_passed = not self._is_closed
            return self._is_passed

    def close(self) -> bool:
        """Let nobody go on; False when it was passed before."""
        with self._lock:
            self._is_closed = not self._is_passed
            return self._is_closed


def within(seconds: float, act: Callable[[Point], Ending]) -> Ending:
    """Run `act` and give its ending. It passes its point right before it sends.

    When it takes longer than `seconds`, it is `Unclear` behind the point and `NotSent` before it. It is `Unclear` when
    it raises.

    :raises RuntimeError: inside a transaction.
    """
    release_connection()
    if not _free.acquire(blocking=False):
        return NotSent(why="all senders hang", may_retry=True)
    endings: queue.SimpleQueue[Ending] = queue.SimpleQueue()
    # A daemon: a carrier that hangs must not keep the process from ending.
    point = Point()
    threading.Thread(target=_run, args=(act, point, endings), name="send", daemon=True).start()
    try:
        return endings.get(timeout=seconds)
    except queue.Empty:
        if point.close():
            return NotSent(why=f"not begun within {seconds:g} s", may_retry=True)
        return Unclear(why=f"no answer within {seconds:g} s")


def _run(act: Callable[[Point], Ending], point: Point, endings: queue.SimpleQueue[Ending]) -> None:
    try:
        endings.put(act(point))
    except Exception as error:  # noqa: BLE001 - a sender of the host may raise anything; what it says may be an address
        log.warning("reminder_sender_failed", error=type(error).__name__)
        endings.put(Unclear(why=type(error).__name__))
    finally:
        release_connection()  # The host's code may have taken one, and left it in any state.
        _free.release()
