"""Named points at which a test may stop or kill the process: at every commit and at every call.

Off unless PAYWINDOW_FAILPOINTS names a file, which production refuses; then `reach` is an empty function. The file
holds one line, `NAME kill` or `NAME stop`: the first process that reaches the point takes the file away and kills or
stops itself, so that each line strikes once. With a number behind it, as in `NAME kill 5`, it strikes when so many
threads of one process are at the point; each waits there for the others.
"""

import os
import signal
import threading
from pathlib import Path

VARIABLE = "PAYWINDOW_FAILPOINTS"
_ACTIONS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}

_meeting = threading.Condition()
_waiting: dict[str, int] = {}  # What is armed -> how many threads are there.


def _strike(name: str) -> None:
    armed = Path(os.environ[VARIABLE])
    try:
        line = armed.read_text().strip()
        wanted, action, threads = f"{line} 1".split()[:3]
    except (FileNotFoundError, ValueError):
        return
    if wanted != name:
        return
    with _meeting:
        _waiting[line] = _waiting.get(line, 0) + 1
        if _waiting[line] < int(threads):
            _meeting.wait_for(lambda: line not in _waiting)
            return
        del _waiting[line]
        _meeting.notify_all()  # They go on when this thread leaves the block.
        try:
            armed.rename(armed.with_name(f"{armed.name}.struck-{os.getpid()}"))
        except FileNotFoundError:
            return  # Another process was first.
        # To this thread: one that goes to the process may be taken by another thread, while this one goes on for a bit.
        signal.pthread_kill(threading.get_ident(), _ACTIONS[action])


def _pass(_name: str) -> None:
    pass


reach = _strike if os.environ.get(VARIABLE) else _pass
