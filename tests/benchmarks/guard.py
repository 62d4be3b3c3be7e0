"""What the clock guard costs: `make bench BENCH=guard` prints one JSON object a line.

The throughput of whole charges, claim to record, is measured with the guard and without it in turn, in many short
rounds of one run, so that what else the machine does falls on both. "Without" reads the database's clock at the same
places and compares it with the deadline: a window needs that much with one clock, too. Nothing is stamped, no other
clock is read, and no evidence is kept. The watcher runs all the time: its own share is measured by itself.
"""

import argparse
import gc
import statistics
import tempfile
import threading
import time
import timeit
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from unittest import mock

from django.conf import settings
from django.db import connection

from payments import clocks, clockwatch, guard, lifecycle
from payments.domain.clock import Judgement, Reading, Ruling
from payments.domain.states import AttemptState
from payments.gateways import registry
from payments.lifecycle.claim import NotClaimed
from payments.models import PaymentAttempt
from project.celery import app
from tests import factories
from tests.benchmarks._running import own_database, say
from tests.contract.sandbox_server import API_KEY, SandboxProcess, wait_until

DATABASE = "paywindow_bench_guard"
Swap = Callable[[], AbstractContextManager[None]]


@contextmanager
def without_guard() -> Iterator[None]:
    """One clock: what the guard replaced."""

    def read() -> Reading:
        boot = clocks.boottime_seconds()
        return Reading(now=clocks.database_now(), boottime_seconds=boot, round_trip=0.0, wall=0.0, domain="", host="")

    def judge(attempt: PaymentAttempt, *, reading: Reading, until: datetime | None = None) -> Judgement:
        is_over = reading.now >= (until or attempt.expires_at)
        return Judgement(Ruling.EXPIRE if is_over else Ruling.CHARGE, "", 0.0, (), None)

    def note(attempt: PaymentAttempt, judgement: Judgement, *, reading: Reading) -> None:
        pass

    with ExitStack() as swapped:
        for home, name, plain in (
            (clocks, "read", read),
            (guard, "judge", judge),
            (guard, "note", note),
            (Judgement, "as_evidence", lambda _: {}),
            (Reading, "as_stamp", lambda _: {}),
        ):
            swapped.enter_context(mock.patch.object(home, name, plain))
        yield


@contextmanager
def with_guard() -> Iterator[None]:
    yield


class Bench:
    """Threads that charge, and what they charge."""

    def __init__(self, *, threads: int, charges: int) -> None:
        self._threads, self._charges = threads, charges
        self._item = factories.make_item("BENCH", on_hand=10_000_000)
        self._customers = [factories.make_user(f"bench-{number}") for number in range(charges)]
        self._pool = ThreadPoolExecutor(max_workers=threads)

    def _attempts(self, *, under: Swap) -> list[PaymentAttempt]:
        """Submitted attempts, each of another customer: none waits for another."""
        with under():
            return [factories.submit(factories.place_order(customer=who, item=self._item)) for who in self._customers]

    def an_attempt(self) -> PaymentAttempt:
        """One of those, with its stamps."""
        return self._attempts(under=with_guard)[0]

    def block(self) -> dict[Swap, tuple[float, float]]:
        """(seconds, seconds of this process on a core) of four rounds of each, in the order A B B A, B A A B.

        What they charge is made before. One round more goes first and does not count: it follows on an idle moment,
        and is slower.
        """
        a, b = with_guard, without_guard
        order = [a, a, b, b, a, b, a, a, b]
        prepared = [self._attempts(under=under) for under in order]
        gc.collect()
        took: dict[Swap, tuple[float, float]] = {with_guard: (0.0, 0.0), without_guard: (0.0, 0.0)}
        list(self._pool.map(_charge, prepared.pop(0)))
        for under, attempts in zip(order[1:], prepared, strict=True):
            with under():
                began, used = time.perf_counter(), time.process_time()
                ended = list(self._pool.map(_charge, attempts))
                seconds, cpu = took[under]
                took[under] = seconds + time.perf_counter() - began, cpu + time.process_time() - used
            assert set(ended) == {AttemptState.SUCCEEDED}, ended
        return took

    def compare(self, *, blocks: int) -> None:
        """Take medians over many blocks: they leave out those in which the machine did something else."""
        self.block()  # Fills caches and pools.
        took = [self.block() for _ in range(blocks)]
        charges = 4 * self._charges
        ratios = [block[without_guard][0] / block[with_guard][0] for block in took]
        more_cpu = [block[with_guard][1] - block[without_guard][1] for block in took]
        say("guard.charges_per_second", charges / statistics.median(block[with_guard][0] for block in took), "1/s")
        say("guard.cpu_microseconds", statistics.median(more_cpu) / charges * 1e6, "us more a charge, in this process")
        low, ratio, high = statistics.quantiles(ratios)
        say("guard.throughput_ratio_spread", high - low, "between the quartiles of the blocks")
        say("guard.throughput_ratio", ratio, "with/without")

    def close(self) -> None:
        self._pool.shutdown()


def _charge(attempt: PaymentAttempt) -> AttemptState | NotClaimed:
    try:
        return lifecycle.charge_attempt(attempt_id=attempt.id)
    finally:
        connection.close()  # As a worker does after each job.


def microseconds(act: Callable[[], object], *, times: int = 5000) -> float:
    """The least of several runs: what it costs, without what else the machine did."""
    return min(timeit.repeat(act, number=times, repeat=5)) / times * 1e6


def watcher_cpu_share(*, seconds: float) -> float:
    """What this process takes of one core while it does nothing but watch."""
    began, used = time.monotonic(), time.process_time()
    threading.Event().wait(seconds)
    return (time.process_time() - used) / (time.monotonic() - began)


def measure(arguments: argparse.Namespace) -> None:
    clockwatch.start()
    wait_until(lambda: clocks.course() is not None, what="the watcher has looked")
    bench = Bench(threads=arguments.threads, charges=arguments.charges)
    try:
        attempt = bench.an_attempt()
        reading = clocks.read()
        say("guard.judge_microseconds", microseconds(lambda: guard.judge(attempt, reading=reading)), "us")
        say("guard.read_microseconds", microseconds(lambda: clocks.Before().reading(now=reading.now)), "us")
        say("guard.watcher_cpu_share", watcher_cpu_share(seconds=arguments.watch_seconds), "of one core")
        bench.compare(blocks=arguments.blocks)
    finally:
        bench.close()
        clockwatch.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=60, help="of eight rounds, four with and four without the guard")
    parser.add_argument("--charges", type=int, default=8, help="charges a round")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--watch-seconds", type=float, default=15.0)
    arguments = parser.parse_args()
    app.conf.update(broker_url="memory://", broker_write_url="memory://", broker_read_url="memory://")
    with (
        own_database(DATABASE),
        tempfile.TemporaryDirectory() as folder,
        SandboxProcess(ledger=Path(folder) / "ledger.sqlite") as sandbox,
    ):
        settings.PAYMENT_GATEWAYS = {"sandbox": {"url": sandbox.url, "api_key": API_KEY}}
        measure(arguments)
        registry.close_gateways()


if __name__ == "__main__":
    main()
