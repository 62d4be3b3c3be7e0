"""Every process of the system, on a database and a broker of its own, each started again should it die."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.contract.sandbox_server import SandboxProcess, wait_until
from tests.crash.facts import Facts, read_facts
from tests.crash.home import Home
from tests.crash.load import Load
from tests.crash.verdict import assert_clean
from tests.crash.world import REST_SECONDS, SHORT_LIMITS, Supervisor
from tests.system import CHECKOUT, System

CUSTOMERS = 300  # A customer's second charge waits for the first; these come round slowly.
SKUS = [f"ITEM-{number}" for number in range(10)]
MOVING = """
    SELECT (SELECT count(*) FROM payments_paymentattempt
            WHERE state IN ('queued', 'charging', 'confirming', 'in_doubt'))
         + (SELECT count(*) FROM payments_compensation WHERE state IN ('owed', 'calling', 'in_doubt'))
"""


class Shop:
    """The system, and the customers that it has."""

    def __init__(self, folder: Path, *, home: Home, sandbox: SandboxProcess, broker: str, threads: int) -> None:
        self.home = home
        urls = {"DATABASE_URL": home.database_url, "REDIS_URL": home.redis_url, "CELERY_BROKER_URL": broker}
        self.system = System(folder, sandbox=sandbox, env=urls | SHORT_LIMITS, threads=threads)
        self.supervisors = [Supervisor(process) for process in self.system.processes]
        self._tokens: list[str] = []

    def prepare(self) -> None:
        """Make the tables, the schedule, the items and the customers."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.crash.seed", str(CUSTOMERS), *SKUS],
            check=True,
            cwd=CHECKOUT,
            env={**os.environ, **self.system.env},
            stdout=subprocess.PIPE,
            text=True,
        )
        self._tokens = json.loads(done.stdout)

    @contextmanager
    def running(self) -> Iterator["Shop"]:
        try:
            for supervisor in self.supervisors:
                supervisor.start()
            self.system.wait_until_ready()
            yield self
        finally:
            for supervisor in self.supervisors:
                supervisor.stop()

    def load(self, *, threads: int = 3) -> Load:
        return Load(self.system.web_url, tokens=self._tokens, skus=SKUS, threads=threads)

    def assert_paid_once(self, load: Load) -> Facts:
        """Wait until nothing moves any more: whoever was told 202 has paid, and everybody's money is right."""
        wait_until(lambda: self._moving() == 0, what="all has come to rest", deadline_seconds=REST_SECONDS)
        facts = read_facts(database_url=self.home.database_url, ledger=self.system.sandbox.ledger())
        assert_clean(facts)
        states = {attempt["public_id"]: attempt["state"] for attempt in facts.attempts}
        assert {
            payment_id: states[payment_id] for payment_id in load.accepted if states[payment_id] != "succeeded"
        } == {}
        assert load.answers["submit 202"] == len(load.accepted) > 0
        assert [supervisor.deaths for supervisor in self.supervisors] == [[], [], []]
        return facts

    def _moving(self) -> int:
        with psycopg.connect(self.home.database_url) as connection:
            row = connection.execute(MOVING).fetchone()
        assert row is not None
        return int(row[0])
