"""A running system whose workers may be struck: killed, stopped, started again, and looked at from outside."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP
from uuid import UUID

from django.core.management import call_command
from django.db.models import Q
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from beat_schedules.write import write_schedule
from payments import clocks
from payments.models import Compensation, PaymentAttempt
from tests import factories
from tests.contract.sandbox_server import SandboxProcess, wait_until
from tests.crash.facts import Facts, read_facts
from tests.crash.verdict import ENDED
from tests.system import ManagedProcess, System

# A lease of 7 seconds, and doubts that are asked about at once. They fit together as payments/checks.py demands.
SHORT_LIMITS = {
    "PAYMENT_GATEWAY_TOTAL_SECONDS": "2",
    "PAYMENT_GATEWAY_CONNECT_SECONDS": "1",
    "PAYMENT_LEASE_MARGIN_SECONDS": "3",
    "PAYMENT_LOCK_WAIT_SECONDS": "5",
    "PAYMENT_TRANSACTION_SECONDS": "6",
    "PAYMENT_RESOLVE_AFTER_SECONDS": "1",
    "PAYMENT_REDISPATCH_SECONDS": "2",
}
REST_SECONDS = 60.0

# Every test leaves these apps' tables empty, and beat's schedule as it is: beat goes on from test to test.
TABLES = ["payments", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.admin"]
UNDONE = ("owed", "calling", "in_doubt")


class Failpoint:
    """The file of one process's failpoints."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def env(self) -> dict[str, str]:
        return {"PAYWINDOW_FAILPOINTS": str(self.path)}

    def arm(self, name: str, action: str, *, threads: int) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(f"{name} {action} {threads}")
        new.rename(self.path)  # Nobody reads half a line.

    def disarm(self) -> None:
        for left in self.path.parent.glob(f"{self.path.name}*"):
            left.unlink()

    @property
    def has_struck(self) -> bool:
        return any(self.path.parent.glob(f"{self.path.name}.struck-*"))

    def wait(self, what: str) -> None:
        wait_until(lambda: self.has_struck, what=f"{what} strikes", deadline_seconds=REST_SECONDS)


class Supervisor:
    """Starts a process again whenever it has died, as an operator's would."""

    def __init__(self, process: ManagedProcess) -> None:
        self.process = process
        self.deaths: list[int] = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self.process.start()
        self._thread.start()

    def stop(self) -> None:
        self._ends.set()
        if self._thread.is_alive():
            self._thread.join()
        self.process.stop()

    def wait_for_kill(self) -> None:
        """Return when the process has died by SIGKILL, for the first time and not otherwise."""
        wait_until(lambda: bool(self.deaths), what=f"{self.process.name} dies")
        assert self.deaths == [-SIGKILL]

    def _watch(self) -> None:
        while not self._ends.wait(0.05):
            if not self.process.is_running and self.process.process is not None:
                self.deaths.append(self.process.process.wait())
                self.process.start()


class World:
    """Workers and beat on the test database, with a failpoint in the supervised worker; the web server if wanted."""

    def __init__(
        self, folder: Path, *, sandbox: SandboxProcess, threads: int = 32, env: Mapping[str, str] | None = None
    ) -> None:
        self.failpoint = Failpoint(folder / "armed")
        self.system = System(folder, sandbox=sandbox, env={**SHORT_LIMITS, **(env or {})}, threads=threads)
        self.worker = self.system.make_worker("struck", env=self.failpoint.env)
        self.supervisor = Supervisor(self.worker)
        self.sandbox = sandbox

    @contextmanager
    def running(self) -> Iterator["World"]:
        """Start all of it, and leave neither a process nor a row."""
        try:
            self._start()
            yield self
        finally:
            self.supervisor.stop()
            self.system.stop()
            self.system.close_clients()
            call_command("flush", verbosity=0, interactive=False, inhibit_post_migrate=False)

    def _start(self) -> None:
        write_schedule()
        every_second, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.SECONDS)
        PeriodicTask.objects.update(interval=every_second)
        self.system.beat.start()
        self.supervisor.start()
        self._wait_for_worker()

    def begin(self) -> None:
        """Forget what an earlier test did; what runs goes on."""
        self._wait_for_worker()
        self.failpoint.disarm()
        self.supervisor.deaths.clear()
        self.sandbox.reset()

    def _wait_for_worker(self) -> None:
        wait_until(
            lambda: self.worker.is_running and " ready." in self.worker.log.rpartition("[config]")[2],
            what="the worker is ready",
            deadline_seconds=REST_SECONDS,
        )

    def submit(self, count: int, *, method: str = "card") -> list[PaymentAttempt]:
        """Payments that do not meet: each of a customer and for an item of its own."""
        placed = [
            factories.place_order(customer=factories.make_user(), item=factories.make_item(), quantity=2, method=method)
            for _ in range(count)
        ]
        return [factories.submit(attempt) for attempt in placed]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep the worker from everything during the block."""
        self.worker.signal(SIGSTOP)
        try:
            yield
        finally:
            self.worker.signal(SIGCONT)

    def let_leases_lapse(self) -> None:
        """Make everything due that somebody holds or waits with: its time is over."""
        now = clocks.database_now()
        PaymentAttempt.objects.filter(state__in=["queued", "charging", "confirming", "in_doubt"]).update(due_at=now)
        Compensation.objects.filter(state__in=UNDONE).update(due_at=now)

    def wait_for_rest(self, attempts: Sequence[PaymentAttempt]) -> None:
        ids = [attempt.id for attempt in attempts]
        ended = Q(state__in=[*ENDED, "needs_review"])

        def rests() -> bool:
            moving = PaymentAttempt.objects.filter(id__in=ids).exclude(ended)
            return not moving.exists() and not Compensation.objects.filter(state__in=UNDONE).exists()

        try:
            wait_until(rests, what="all has come to rest", deadline_seconds=REST_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._story(ids)}\n{self.worker.log[-3000:]}") from None

    def _story(self, ids: Sequence[UUID]) -> str:
        """Tell what became of the payments that still move, and of money that is still owed back."""
        facts = self.facts()
        moving = {row["id"] for row in facts.attempts if row["id"] in ids and row["state"] not in ENDED}
        told = [row for row in facts.attempts if row["id"] in moving]
        told += [row for row in facts.history + facts.calls if row["attempt_id"] in moving]
        told += [row for row in facts.compensations if row["state"] in UNDONE]
        return "\n".join(str({name: str(value) for name, value in row.items() if value}) for row in told)

    def states(self, attempts: Sequence[PaymentAttempt]) -> list[str]:
        ids = [attempt.id for attempt in attempts]
        return list(PaymentAttempt.objects.filter(id__in=ids).values_list("state", flat=True))

    def facts(self) -> Facts:
        return read_facts(database_url=self.system.env["DATABASE_URL"], ledger=self.sandbox.ledger())
