"""Ends the wait for a sending after a time, whatever carries it.

A mail server that drips a byte a second passes every timeout of a socket, and a sender of the host may have none at
all. So each sending has a thread of its own, and nobody waits for it longer than its time; what it does afterwards is
unclear. There are few such threads: while all of them hang, nothing is begun, which is proof that nothing is sent.
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


def within(seconds: float, act: Callable[[], Ending]) -> Ending:
    """Run `act` and give its ending; `Unclear` when it takes longer than `seconds`, or raises.

    :raises RuntimeError: inside a transaction.
    """
    release_connection()
    if not _free.acquire(blocking=False):
        return NotSent(why="all senders hang", may_retry=True)
    endings: queue.SimpleQueue[Ending] = queue.SimpleQueue()
    # A daemon: a carrier that hangs must not keep the process from ending.
    threading.Thread(target=_run, args=(act, endings), name="send", daemon=True).start()
    try:
        return endings.get(timeout=seconds)
    except queue.Empty:
        return Unclear(why=f"no answer within {seconds:g} s")


def _run(act: Callable[[], Ending], endings: queue.SimpleQueue[Ending]) -> None:
    try:
        endings.put(act())
    except Exception as error:  # noqa: BLE001 - a sender of the host may raise anything; what it says may be an address
        log.warning("reminder_sender_failed", error=type(error).__name__)
        endings.put(Unclear(why=type(error).__name__))
    finally:
        release_connection()  # The host's code may have taken one, and left it in any state.
        _free.release()
