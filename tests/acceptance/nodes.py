"""pytest-celery's nodes as local processes: its worker API without containers."""

import signal as signals
from collections.abc import Mapping

import celery
from pytest_celery import CeleryTestWorker

from tests.contract.sandbox_server import wait_until
from tests.system import ManagedProcess


class ProcessContainer:
    """What a CeleryTestNode asks of a container, around one of our processes."""

    def __init__(self, process: ManagedProcess, *, celeryconfig: Mapping[str, str], ready_prompt: str) -> None:
        self.process, self.celeryconfig, self.ready_prompt = process, dict(celeryconfig), ready_prompt
        self.name, self.id = process.name, process.name.ljust(12, "0")

    def start(self) -> None:
        self._seen = len(self.process.log) if self.process.log_path.exists() else 0
        self.process.start()

    @property
    def status(self) -> str:
        return "running" if self.process.is_running else "exited"

    def logs(self) -> str:
        return self.process.log

    def reload(self) -> None:
        """Containers refresh their attributes here; a process has nothing to refresh."""

    def ready(self, timeout: float = 30) -> bool:
        wait_until(
            lambda: self.ready_prompt in self.process.log[self._seen :], what=self.name, deadline_seconds=timeout
        )
        return True

    def kill(self, signal: str | int = signals.SIGKILL) -> None:
        number = signals.Signals[signal] if isinstance(signal, str) else signals.Signals(signal)
        self.process.signal(number)
        assert self.process.process is not None
        self.process.process.wait(10)

    def restart(self, timeout: float = 10) -> None:
        del timeout  # The process has its own.
        self.process.stop()
        self.start()
        self.ready()

    def teardown(self) -> None:
        self.process.stop()


class ProcessWorker(CeleryTestWorker):  # type: ignore[misc] # pytest-celery ships no types
    """A worker node whose container is a process."""

    @property
    def version(self) -> str:
        return str(celery.__version__)

    @property
    def worker_name(self) -> str:
        return str(self.container.name)

    @property
    def worker_queue(self) -> str:
        return "charge"

    def hostname(self) -> str:
        return f"{self.container.name}@local"
