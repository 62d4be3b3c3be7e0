"""What the HTTP API costs beside bare views of the same server: `make bench BENCH=api` prints one JSON object a line.

The web server runs as the Procfile starts it, and answers a process that sends requests over raw sockets. Submits and
status answers are measured in rounds that alternate with rounds of bare views (`_web.py`), so that what else the
machine does falls on both; what is told is the median over many short blocks. A round of submits is over when the
broker has all of its jobs. No worker runs: this is about the web server.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from typing import NamedTuple
from uuid import UUID

import httpx
import psutil
import redis
from django.contrib.auth.models import User

from payments.api.tokens import issue_token
from payments.domain.ids import Prefix, public_id
from payments.models import PaymentAttempt
from project.embedded.valkey import Valkey
from tests import bulk
from tests.benchmarks import _load
from tests.benchmarks._load import Round
from tests.benchmarks._running import own_database, say
from tests.contract.sandbox_server import free_port, wait_until
from tests.system import ManagedProcess, test_database_url

DATABASE = "paywindow_bench_api"
BODY = b'{"payment_token": "tok_visa"}'


class Web:
    """The web server with a broker of its own, and what it costs."""

    def __init__(self, folder: Path) -> None:
        self.broker = Valkey(folder)
        url = self.broker.ensure_running()
        self.port = free_port()
        self._process = ManagedProcess(
            "web",
            [
                *(sys.executable, "-m", "gunicorn", "tests.benchmarks._web", "--config", "project/gunicorn.py"),
                *("--bind", f"127.0.0.1:{self.port}"),
            ],
            env={
                "DJANGO_SETTINGS_MODULE": "project.settings.test",
                "DATABASE_URL": test_database_url(),
                # One server for both, as shipped: without it, gate and limits are away, too.
                "CELERY_BROKER_URL": url,
                "REDIS_URL": url,
                "LOG_LEVEL": "INFO",
            },
            folder=folder,
        )
        self.jobs = redis.Redis.from_url(self.broker.url())

    @contextmanager
    def running(self) -> Iterator["Web"]:
        try:
            self._process.start()
            wait_until(self._is_ready, what=f"the web server: {self._process.log[-3000:]}", deadline_seconds=60)
            yield self
        finally:
            self._process.stop()
            self.jobs.close()
            self.broker.stop()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz", timeout=5, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def cpu_seconds(self) -> float:
        """What its processes have used of a core so far."""
        return sum(sum(child.cpu_times()[:2]) for child in self._children())

    def memory_bytes(self) -> list[int]:
        """What each of its processes holds."""
        return [child.memory_info().rss for child in self._children()]

    def _children(self) -> list[psutil.Process]:
        assert self._process.process is not None
        return list(psutil.Process(self._process.process.pid).children())


class Customers:
    """Whose payments are submitted and asked about: payments that wait, each used once, and everybody's token."""

    def __init__(self, *, customers: int, payments: int) -> None:
        ids = bulk.make_customers(customers)
        bulk.make_orders(
            payments,
            prefix="BENCH",
            customers=ids,
            items=bulk.make_items(100),
            first_deadline_in=timedelta(minutes=14),
            spread=timedelta(seconds=30),
        )
        bulk.count_stock()
        users = User.objects.in_bulk(ids)
        self._tokens = {pk: issue_token(user=user, lifetime=timedelta(hours=1)) for pk, user in users.items()}
        rows = PaymentAttempt.objects.order_by("id").values_list("id", "customer_id")
        self._unused = iter(list(rows))
        self._asked = cycle(list(rows[:1000]))

    def submits(self, count: int) -> list[bytes]:
        found = islice(self._unused, count)
        return [self._post(f"/api/payments/{public_id(Prefix.PAYMENT, pk)}/submit/", who) for pk, who in found]

    def bare_submits(self, count: int) -> list[bytes]:
        return [self._post(f"/bare/{pk}/submit/", who) for pk, who in islice(self._asked, count)]

    def looks(self, count: int) -> list[bytes]:
        return [self._get(f"/api/payments/{public_id(Prefix.PAYMENT, pk)}/", who) for pk, who in self._some(count)]

    def bare_looks(self, count: int) -> list[bytes]:
        return [self._get(f"/bare/{pk}/", who) for pk, who in self._some(count)]

    def _some(self, count: int) -> Iterator[tuple[UUID, int]]:
        return islice(self._asked, count)

    def _post(self, path: str, customer_id: int) -> bytes:
        return _load.request("POST", path, token=self._tokens[customer_id], body=BODY)

    def _get(self, path: str, customer_id: int) -> bytes:
        return _load.request("GET", path, token=self._tokens[customer_id])


class Cost(NamedTuple):
    """What rounds of one kind took."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0  # Of the web server's processes.

    def plus(self, other: "Cost") -> "Cost":
        return Cost(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds)


class Bench:
    """Rounds of requests from a process of its own."""

    def __init__(self, web: Web, customers: Customers, *, pool: ProcessPoolExecutor, connections: int) -> None:
        self.web, self.customers = web, customers
        self._pool, self._connections = pool, connections

    def drive(self, payloads: list[bytes], *, status: int, per_second: float = 0.0, connections: int = 0) -> Round:
        done = self._pool.submit(
            _load.drive,
            port=self.web.port,
            payloads=payloads,
            connections=connections or self._connections,
            per_second=per_second,
        ).result()
        assert set(done.statuses) == {status}, done.statuses
        return done

    def submit_cost(self, payloads: list[bytes]) -> Cost:
        """What a round takes, until its last job is with the broker."""
        self.web.jobs.flushall()
        began, used = monotonic(), self.web.cpu_seconds()
        self.drive(payloads, status=202)
        wait_until(lambda: self.web.jobs.llen("charge") >= len(payloads), what="the jobs are published")
        cost = Cost(monotonic() - began, self.web.cpu_seconds() - used)
        assert self.web.jobs.llen("charge") == len(payloads)
        return cost

    def look_cost(self, payloads: list[bytes]) -> Cost:
        used = self.web.cpu_seconds()
        done = self.drive(payloads, status=200)
        return Cost(done.seconds, self.web.cpu_seconds() - used)


Kind = Callable[[int], list[bytes]]


def compare(
    what: str, own: Kind, bare: Kind, *, cost_of: Callable[[list[bytes]], Cost], requests: int, blocks: int
) -> None:
    """Tell how fast the one is beside the other: a block has two rounds of each, in the order A B B A."""
    took: list[dict[Kind, Cost]] = []
    for _ in range(blocks + 1):
        costs = {own: Cost(), bare: Cost()}
        for kind in (own, bare, bare, own):
            costs[kind] = costs[kind].plus(cost_of(kind(requests)))
        took.append(costs)
    took = took[1:]  # The first fills caches and pools.
    for name, kind in ((what, own), (f"{what}.bare", bare)):
        say(f"{name}.per_second", statistics.median(2 * requests / block[kind].seconds for block in took), "1/s")
        cpu_seconds = statistics.median(block[kind].cpu_seconds for block in took) / (2 * requests)
        say(f"{name}.cpu_milliseconds", cpu_seconds * 1e3, "ms of a core a request, in the web server")
    ratios = [block[bare].seconds / block[own].seconds for block in took]
    low, ratio, high = statistics.quantiles(ratios)
    say(f"{what}.ratio_spread", high - low, "between the quartiles of the blocks")
    say(f"{what}.ratio_to_bare_view", ratio, "own/bare")


def tell_latencies(what: str, done: Round) -> None:
    say(f"{what}p50_seconds", statistics.median(done.latencies), "s")
    say(f"{what}p99_seconds", statistics.quantiles(done.latencies, n=100)[98], "s")


def measure(bench: Bench, arguments: argparse.Namespace) -> None:
    web, customers = bench.web, bench.customers
    compare(
        "status",
        customers.looks,
        customers.bare_looks,
        cost_of=bench.look_cost,
        requests=arguments.requests,
        blocks=arguments.blocks,
    )
    used = web.cpu_seconds()
    done = bench.drive(customers.looks(arguments.looks), status=200)
    cores = (web.cpu_seconds() - used) / arguments.looks * 1000 / arguments.poll_seconds
    say("status.answer_bytes", done.answer_bytes / arguments.looks, "bytes")
    say("status.thousand_waiting_cores", cores, f"cores for 1,000 that ask every {arguments.poll_seconds:g} s")
    compare(
        "submit",
        customers.submits,
        customers.bare_submits,
        cost_of=bench.submit_cost,
        requests=arguments.requests,
        blocks=arguments.blocks,
    )
    rate = arguments.per_second
    tell_latencies(
        "submit.",
        bench.drive(customers.submits(rate * arguments.seconds), status=202, per_second=rate, connections=64),
    )
    web.broker.stop()
    rate = arguments.per_second // 2
    tell_latencies(
        "submit.broker_away_",
        bench.drive(customers.submits(rate * arguments.seconds), status=202, per_second=rate, connections=64),
    )
    for memory_bytes in web.memory_bytes():
        say("web.memory_megabytes", memory_bytes / 1e6, "MB of one process")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=10, help="of four rounds, two of them of bare views")
    parser.add_argument("--requests", type=int, default=200, help="a round")
    parser.add_argument("--looks", type=int, default=2000, help="status answers whose cost in CPU is measured")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--per-second", type=int, default=100, help="submits, and half of it without a broker")
    parser.add_argument("--seconds", type=int, default=20, help="of these")
    parser.add_argument("--poll-seconds", type=float, default=2.0, help="how often a customer's page asks")
    arguments = parser.parse_args()
    payments = 2 * arguments.requests * (arguments.blocks + 1) + 3 * arguments.per_second * arguments.seconds // 2
    with (
        own_database(DATABASE),
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool,
    ):
        customers = Customers(customers=1000, payments=max(payments, 1000))
        with Web(Path(folder)).running() as web:
            measure(Bench(web, customers, pool=pool, connections=arguments.connections), arguments)


if __name__ == "__main__":
    main()
