"""The whole system as processes: what the Procfile starts, on the test database."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

import httpx
from django.conf import settings
from django.db import connection
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from tests.contract.sandbox_server import API_KEY, SandboxProcess, free_port, wait_until

TELL_BEAT_EVERY_SECONDS = 3.0  # Longer than the periods of what is waited for.
CHECKOUT = Path(__file__).resolve().parents[1]


def test_database_url() -> str:
    """The URL of the database that this test run uses, for other processes."""
    s = connection.settings_dict
    credentials = f"{quote(s['USER'])}:{quote(s['PASSWORD'])}" if s["PASSWORD"] else quote(s["USER"])
    return f"postgresql://{credentials}@/{quote(str(s['NAME']))}?host={quote(s['HOST'])}&port={s['PORT'] or 5432}"


test_database_url.__test__ = False  # type: ignore[attr-defined] # pytest would take it for a test


class ManagedProcess:
    """One process with its log."""

    def __init__(self, name: str, argv: list[str], *, env: Mapping[str, str], folder: Path) -> None:
        self.name, self.argv, self.env = name, argv, dict(env)
        self.log_path = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                cwd=CHECKOUT,
                env={**os.environ, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and everything it started."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def stop(self) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL)
        self.process.wait()

    def kill(self) -> None:
        assert self.process is not None
        self.signal(signal.SIGKILL)
        self.process.wait()


class System:
    """Web, worker and beat, and the sandbox gateway that they charge.

    `env` is added to what each process gets; a function is given the web server's address first.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sandbox: SandboxProcess,
        env: Mapping[str, str] | Callable[[str], Mapping[str, str]] | None = None,
        threads: int = 8,
    ) -> None:
        self.folder, self.sandbox, self.threads = folder, sandbox, threads
        self._clients: list[httpx.Client] = []
        self._tell_beat_at_monotonic = 0.0
        self.web_port = free_port()
        self.web_url = f"http://127.0.0.1:{self.web_port}"
        self.env = {
            "DATABASE_URL": test_database_url(),
            "REDIS_URL": settings.REDIS_URL,
            "CELERY_BROKER_URL": settings.CELERY_BROKER_URL,
            "SANDBOX_URL": sandbox.url,
            "SANDBOX_API_KEY": API_KEY,
            "DJANGO_SETTINGS_MODULE": "project.settings.test",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PAYMENT_PUBLIC_URL": self.web_url,  # Hosted pages lead customers back to it.
            **(env(self.web_url) if callable(env) else env or {}),
        }
        python = sys.executable
        self.web = ManagedProcess(
            "web",
            [
                *(python, "-m", "gunicorn", "project.wsgi", "--config", "project/gunicorn.py"),
                *("--bind", f"127.0.0.1:{self.web_port}", "--workers", "1", "--threads", "8"),
            ],
            env=self.env,
            folder=folder,
        )
        self.worker = self.make_worker("worker")
        self.beat = ManagedProcess(
            "beat",
            [
                *(python, "-m", "celery", "-A", "project", "beat", "--loglevel", "info"),
                *("--pidfile", "", "--max-interval", "1"),
            ],
            env=self.env,
            folder=folder,
        )

    def make_worker(self, name: str, *, env: Mapping[str, str] | None = None) -> ManagedProcess:
        """A worker of every queue, not started yet."""
        return ManagedProcess(
            name,
            [
                *(sys.executable, "-m", "celery", "-A", "project", "worker", "--pool", self.pool),
                *("--concurrency", str(self.threads), "--queues", "charge,resolve,expiry,upkeep,announce"),
                *("--without-gossip", "--without-mingle", "--loglevel", "info"),
                *("--hostname", f"{name}-{os.getpid()}@%h"),
            ],
            # Prefork throws the connection pool away at every task.
            env={**self.env, **({"DATABASE_POOL_CONNECTIONS": "0"} if self.pool == "prefork" else {}), **(env or {})},
            folder=self.folder,
        )

    @property
    def pool(self) -> str:
        """Threads on Redis; prefork on RabbitMQ, where threads do not resume after a lost connection."""
        return "threads" if self.env["CELERY_BROKER_URL"].startswith("redis") else "prefork"

    @property
    def processes(self) -> tuple[ManagedProcess, ...]:
        return self.web, self.worker, self.beat

    def start(self) -> None:
        for process in self.processes:
            process.start()
        self.wait_until_ready()

    def stop(self) -> None:
        for process in self.processes:
            process.stop()

    def ensure_running(self) -> None:
        """Bring back what an earlier test stopped."""
        for process in self.processes:
            if not process.is_running:
                process.start()
        self.wait_until_ready()
        wait_until(self._beat_has_the_schedule, what="beat to read the schedule", deadline_seconds=30)

    def http(self, token: str | None = None) -> httpx.Client:
        """Give an HTTP client of the web server; it is closed with the test."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        client = httpx.Client(base_url=self.web_url, headers=headers, timeout=30, trust_env=False)
        self._clients.append(client)
        return client

    def close_clients(self) -> None:
        while self._clients:
            self._clients.pop().close()

    def log_lines(self, pattern: str) -> list[str]:
        """Every log line of every process that matches."""
        return [line for process in self.processes for line in process.log.splitlines() if re.search(pattern, line)]

    def wait_until_ready(self) -> None:
        wait_until(self._web_is_ready, what=f"the web server:\n{self.web.log[-3000:]}")
        wait_until(
            lambda: " ready." in self.worker.log.rpartition("[config]")[2],
            what=f"the worker:\n{self.worker.log[-3000:]}",
        )

    def _web_is_ready(self) -> bool:
        if not self.web.is_running:
            raise RuntimeError(self.web.log[-3000:])
        try:
            return httpx.get(f"{self.web_url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def _beat_has_the_schedule(self) -> bool:
        # A beat that looked while the tables were empty takes the next change for the first, and misses it, so it is
        # told again. But not all the time: a beat that reads anew lets each task that never ran wait a whole period.
        if time.monotonic() >= self._tell_beat_at_monotonic:
            self._tell_beat_at_monotonic = time.monotonic() + TELL_BEAT_EVERY_SECONDS
            PeriodicTasks.update_changed()
        return bool(PeriodicTask.objects.filter(name="sweep-expired", last_run_at__isnull=False).exists())
