"""What the embedded servers have in common: how one is found, started, waited for and stopped."""

import abc
import contextlib
import hashlib
import os
import select
import signal
import socket
import subprocess
from pathlib import Path
from time import monotonic

OWN_SERVERS = "Set DATABASE_URL (PostgreSQL) and REDIS_URL (Redis or Valkey) to use servers of your own."
START_SECONDS = 60.0  # A start after a crash replays the log first; a machine under load takes its time.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}  # Without PGPORT and its like.
_STOP_SECONDS = 30.0  # A clean stop writes a checkpoint. After that the server is made to stop.
_POLL_SECONDS = 0.03
_LOG_BYTES = 8 * 1024 * 1024


class EmbeddedServiceError(RuntimeError):
    """An embedded server cannot be had; the message says why and what to set instead."""


class DiedError(EmbeddedServiceError):
    """The server ended before it answered."""


class Server(abc.ABC):
    """What the two have in common: known by a pid file and by one argument of their command line."""

    name: str
    pid_file: Path
    argument: str
    log: Path
    stop_signals: tuple[signal.Signals, ...]  # The last is SIGKILL, which the next start recovers from.

    def ensure_running(self) -> str:
        """Start it unless it answers; give its URL."""
        if self.pid() is not None:
            with contextlib.suppress(DiedError):
                self._await_answer()
                return self.url()
        self._start()
        return self.url()

    def pid(self) -> int | None:
        """Find the living process, which is not just any process that has its number."""
        try:
            pid = int(self.pid_file.read_text().partition("\n")[0])
        except (FileNotFoundError, ValueError):
            return None
        return pid if runs_with(pid, self.argument) else None

    def stop(self) -> None:
        """Stop it cleanly if it lets us, else hard."""
        for number in self.stop_signals:
            pid, deadline = self.pid(), monotonic() + _STOP_SECONDS
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            while self.pid() is not None and monotonic() < deadline:
                pause()

    @abc.abstractmethod
    def url(self) -> str:
        """Give the URL to reach it by."""

    @abc.abstractmethod
    def _start(self) -> None: ...

    @abc.abstractmethod
    def _answers(self) -> bool: ...

    def _is_gone(self, launched_pid: int) -> bool:
        # Twice, since a process shows no arguments at the moment when it becomes another program.
        for is_second_look in (False, True):
            if is_second_look:
                pause()
            if self.pid() is not None or runs_with(launched_pid, self.argument):
                return False
        return True

    def _await_answer(self, launched_pid: int = 0) -> None:
        deadline = monotonic() + START_SECONDS
        while not self._answers():
            if self._is_gone(launched_pid):
                message = f"The embedded {self.name} ended while starting: {tail(self.log)}. {OWN_SERVERS}"
                raise DiedError(message)
            if monotonic() > deadline:
                message = f"The embedded {self.name} does not answer: {tail(self.log)}. {OWN_SERVERS}"
                raise EmbeddedServiceError(message)
            pause()


def launch(
    command: list[str],
    *,
    log: Path,
    folder: Path = Path("/"),
    keep: tuple[int, ...] = (),
    user: int | None = None,
    group: int | None = None,
) -> int:
    """Start a program that is nobody's child, in nobody's terminal, with no descriptor of ours but `keep`."""
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        started = subprocess.run(  # noqa: S603 - our own programs
            ["/bin/sh", "-c", '"$@" >&2 & echo $!', "paywindow", *command],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=output, cwd=folder,
            env=ENVIRONMENT, start_new_session=True, pass_fds=keep,
            user=user, group=group, extra_groups=None if user is None else [],
        )  # fmt: skip
    return int(started.stdout)


def runs_with(pid: int, argument: str) -> bool:
    """Tell whether a living process has this argument; a zombie has none."""
    if Path("/proc/self/cmdline").exists():
        with contextlib.suppress(OSError):
            return os.fsencode(argument) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return False
    ps = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
    return f" {argument}" in subprocess.run(ps, check=False, capture_output=True, text=True).stdout  # noqa: S603 - only the number varies


def tail(log: Path) -> str:
    """Give the last lines of a log, for an error message."""
    return " / ".join(log.read_text(errors="replace").splitlines()[-4:]) if log.exists() else "it left no log"


def pause(seconds: float = _POLL_SECONDS) -> None:
    """Wait between two looks at a process that is starting or stopping."""
    select.select([], [], [], seconds)


def short_hash(home: Path) -> str:
    """Name a home in 12 characters, where its path would be too long."""
    return hashlib.sha256(os.fsencode(home)).hexdigest()[:12]


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Tell whether a server could listen on this port of 127.0.0.1; 0 is no port."""
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # What just closed is no obstacle to a server.
        probe.bind(("127.0.0.1", port))
        return port != 0
    return False
