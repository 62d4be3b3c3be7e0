"""One system whose clocks can be set, each by itself: web, worker, PostgreSQL and Valkey, with a sandbox gateway."""

import enum
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP
from uuid import uuid4

import httpx
import jwt
from celery import Celery
from django.conf import settings

from payments import clocks
from tests.contract.sandbox_server import SandboxProcess, wait_until
from tests.crash.shop import SKUS
from tests.crash.world import SHORT_LIMITS, Failpoint
from tests.jumps.books import ENDED, Books
from tests.jumps.shift import WallClock, compile_library, shifted_home
from tests.system import CHECKOUT, ManagedProcess, System

CUSTOMERS = 120
REST_SECONDS = 45.0
TICK_SECONDS = 0.5
DAY_SECONDS = 86_400
TICKS = (("payments.sweep_expired", "expiry"), ("payments.publish_owed", "upkeep"))
SERVERS_START_ALONE = threading.Lock()


class Host(enum.StrEnum):
    """Where the worker runs, as seen from the web process."""

    SAME = "same"
    OTHER = "other"  # Another machine: another boot, another boot clock, another name.
    REBOOTED = "rebooted"  # This machine, booted anew between enqueue and execution.


class World:
    """`begin`, and then everything that a cell does. One thread at a time."""

    def __init__(self, host: Host, *, sandbox: SandboxProcess) -> None:
        self.host, self.sandbox = host, sandbox
        # PostgreSQL runs as somebody else, who may not come into pytest's folders.
        self.folder = Path(tempfile.mkdtemp(prefix="paywindow-jumps-"))
        self.folder.chmod(0o755)
        library = compile_library(self.folder)
        self.clocks = {name: WallClock(name, library=library) for name in ("web", "worker", "database", "redis")}
        self.home = shifted_home(self.folder / "home", database=self.clocks["database"], redis=self.clocks["redis"])
        self._stack = ExitStack()
        self._boots = itertools.count(1)
        self._next_tick = 0.0

    def start(self) -> None:
        try:
            with SERVERS_START_ALONE:
                self._stack.enter_context(self.home.running())
            self._start_system()
        except BaseException:
            self.stop()
            raise

    def _start_system(self) -> None:
        env = {
            **SHORT_LIMITS,
            "DATABASE_URL": self.home.database_url,
            "REDIS_URL": self.home.redis_url,
            "CELERY_BROKER_URL": self.home.redis_url,
            "PAYMENT_CLOCK_LOOK_SECONDS": "1",
        }
        self.system = System(self.folder, sandbox=self.sandbox, env=env)
        self.failpoint = Failpoint(self.folder / "armed")
        self.web = self.system.web
        self.web.env |= self.clocks["web"].env
        self.worker = self.system.worker
        self.worker.env |= {**self.clocks["worker"].env, **self.failpoint.env}
        self._plain_argv = self.worker.argv
        seeded = self._run("tests.crash.seed", str(CUSTOMERS), *SKUS)
        self._tokens = itertools.cycle([_valid_for_days(token) for token in seeded])
        self.books = self._stack.enter_context(closing(Books(self.home.database_url, sandbox=self.sandbox)))
        self.http = self._stack.enter_context(httpx.Client(base_url=self.system.web_url, timeout=30, trust_env=False))
        self._celery = Celery("jumps", broker=self.home.redis_url, set_as_current=False)
        self._stack.callback(self._celery.close)
        self.since = self.books.seed_witness()
        for process in (self.web, self.worker):
            self._stack.callback(_end, process)
        if self.host is Host.OTHER:
            self.worker.argv = self._on_another_boot("elsewhere")
        self.web.start()
        self.worker.start()
        self.system.wait_until_ready()
        self.wait_for_watchers()

    def stop(self) -> None:
        self._stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Processes.

    @property
    def web_processes(self) -> list[str]:
        """What the web server's workers call themselves in what they write down."""
        assert self.web.process is not None
        pid = self.web.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [f"__main__.py:{child}" for child in children]

    @property
    def worker_process(self) -> str:
        assert self.worker.process is not None
        return f"__main__.py:{self.worker.process.pid}"

    def wait_for_watchers(self) -> None:
        """Return when web and worker both know the database's clock back to the day before."""
        processes = [*self.web_processes, self.worker_process]
        wait_until(
            lambda: self.books.watchers_since(self.since, processes=processes) == 2,
            what=f"both watch: {self.worker.log[-2000:]}",
            deadline_seconds=REST_SECONDS,
        )

    def halt_worker(self) -> None:
        """Keep jobs waiting: the worker stands still, or its machine goes down."""
        self.worker.signal(SIGKILL if self.host is Host.REBOOTED else SIGSTOP)
        if self.host is Host.REBOOTED:
            assert self.worker.process is not None
            self.worker.process.wait()

    def continue_worker(self) -> None:
        if self.host is Host.REBOOTED:
            self.boot_worker()
        else:
            self.worker.signal(SIGCONT)

    def boot_worker(self) -> None:
        """Start the worker's machine anew; returns when it takes jobs."""
        if self.worker.is_running:
            self.worker.kill()
        self.worker.log_path.unlink()
        self.worker.argv = self._on_another_boot(clocks.host())
        self.worker.start()
        wait_until(
            lambda: " ready." in self.worker.log.rpartition("[config]")[2],
            what=f"the worker is ready: {self.worker.log[-2000:]}",
            deadline_seconds=REST_SECONDS,
        )

    def _on_another_boot(self, hostname: str) -> list[str]:
        number = next(self._boots)
        boot_id = self.folder / f"boot-{number}"
        boot_id.write_text(f"{uuid4()}\n")
        seconds = str(1_000 * number)
        script = 'mount --bind "$1" /proc/sys/kernel/random/boot_id && hostname "$2" && shift 2 && exec "$@"'
        return [
            *("unshare", "-m", "-T", "-u", "--boottime", seconds, "--monotonic", seconds),
            *("sh", "-c", script, "sh", str(boot_id), hostname, *self._plain_argv),
        ]

    def _run(self, module: str, *arguments: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            check=True,
            cwd=CHECKOUT,
            env={**os.environ, **self.system.env},
            stdout=subprocess.PIPE,
            text=True,
        )
        found: list[str] = json.loads(done.stdout.splitlines()[-1])
        return found

    # What customers and clocks do.

    def begin(self) -> None:
        """Forget what was seen before; every clock is true and every process runs."""
        if not self.worker.is_running:
            self.boot_worker()
        self.books.forget_future()
        self.wait_for_watchers()
        self.books.forget_events()
        self.books.seen.clear()

    def open(self) -> tuple[str, str]:
        """Place an order; returns the attempt's id and the customer's token."""
        token, sku = next(self._tokens), SKUS[0]
        body = {"lines": [{"sku": sku, "quantity": 2}], "total_minor": 2500, "currency": "USD"}
        placed = self.http.post("/api/orders/", json=body, headers={"Authorization": f"Bearer {token}"})
        assert placed.status_code == 201, placed.text
        digits = placed.json()["payment"]["id"].removeprefix("pay_")
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}", token

    def submit(self, attempt: tuple[str, str]) -> None:
        id_, token = attempt
        path = f"/api/payments/pay_{id_.replace('-', '')}/submit/"
        answer = self.http.post(path, json={"payment_token": "tok_visa"}, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 202, answer.text

    def open_many(self, count: int) -> list[str]:
        return self._run("tests.jumps.seed", str(count))

    def shift(self, names: Sequence[str], *, seconds: int) -> None:
        for name in names:
            self.clocks[name].set(seconds)

    @contextmanager
    def database_shifted(self, *, seconds: int) -> Iterator[None]:
        """Set the database's clock during the block; ends when every process has seen it come back."""
        processes = {*self.web_processes, self.worker_process}
        self.shift(["database"], seconds=seconds)
        try:
            yield
        finally:
            self.shift(["database"], seconds=0)
        query = "SELECT process FROM payments_clockevent WHERE attempt_id IS NULL AND abs(seconds + %s) < 1"
        wait_until(
            lambda: {row["process"] for row in self.books.rows(query, seconds)} >= processes,
            what="both have seen the clock come back",
        )

    def watch(self, ids: Sequence[str], *, until: Callable[[], bool], what: str) -> None:
        """Look at the attempts, and drive the sweep and the rescue as beat does, until something holds."""

        def looked() -> bool:
            if time.monotonic() >= self._next_tick:
                self._next_tick = time.monotonic() + TICK_SECONDS
                for task, queue in TICKS:
                    self._celery.send_task(task, queue=queue, ignore_result=True)
            self.states = self.books.states(ids)
            return until()

        try:
            wait_until(looked, what=what, deadline_seconds=REST_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.states}\n{self.worker.log[-3000:]}") from None

    def watch_until(self, moment: float, ids: Sequence[str]) -> None:
        """Look on until a moment of the monotonic clock."""
        self.watch(ids, until=lambda: time.monotonic() >= moment, what="time has passed")

    def watch_to_the_end(self, ids: Sequence[str]) -> None:
        self.watch(ids, until=lambda: set(self.states.values()) <= set(ENDED), what="all have ended")


def _valid_for_days(token: str) -> str:
    """Sign a customer's token anew, so that no web server whose clock is hours off refuses it."""
    claims = jwt.decode(token, options={"verify_signature": False})
    claims["iat"], claims["exp"] = claims["iat"] - DAY_SECONDS, claims["exp"] + DAY_SECONDS
    return jwt.encode(claims, settings.JWT_SIGNING_KEY, algorithm=settings.JWT_ALGORITHM)


def _end(process: ManagedProcess) -> None:
    if process.is_running:
        process.kill()
