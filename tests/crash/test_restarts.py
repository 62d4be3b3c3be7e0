"""Servers die and come back while customers go on paying: whatever was accepted is charged, once."""

from collections.abc import Iterator
from contextlib import closing
from signal import SIGCONT, SIGSTOP

import pytest
import redis

from tests.contract.sandbox_server import SandboxProcess, wait_until
from tests.crash.home import Home
from tests.crash.shop import Shop

pytestmark = pytest.mark.crash

SOME = 15


@pytest.fixture(scope="module")
def shop(home: Home, sandbox_process: SandboxProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    sandbox_process.reset()
    sandbox_process.behave("slow:0.3")  # Many calls are on their way when something is struck.
    folder = tmp_path_factory.mktemp("shop")
    shop = Shop(folder, home=home, sandbox=sandbox_process, broker=home.redis_url, threads=32)
    shop.prepare()
    with shop.running():
        yield shop


def test_a_broker_that_is_flushed_loses_jobs_and_no_payment(home: Home, shop: Shop) -> None:
    with shop.load().running() as load, closing(redis.Redis.from_url(home.redis_url)) as valkey:
        load.wait_for(SOME)
        shop.system.worker.signal(SIGSTOP)
        try:
            wait_until(lambda: valkey.llen("charge") >= SOME, what="jobs pile up", deadline_seconds=30)
            valkey.flushall()
        finally:
            shop.system.worker.signal(SIGCONT)
        load.wait_for(SOME)
    shop.assert_paid_once(load)
    assert set(load.answers) == {"order 201", "submit 202"}


def test_a_broker_that_is_killed_and_comes_back_is_used_again(home: Home, shop: Shop) -> None:
    before = home.valkey.pid()
    with shop.load().running() as load:
        load.wait_for(SOME)
        home.kill_valkey()
        home.start_valkey()
        load.wait_for(SOME)
    assert before != home.valkey.pid()
    shop.assert_paid_once(load)
    assert set(load.answers) == {"order 201", "submit 202"}


def test_payments_are_taken_while_the_broker_is_away(home: Home, shop: Shop) -> None:
    with shop.load().running() as load:
        load.wait_for(SOME)
        home.kill_valkey()
        try:
            load.wait_for(SOME)
            assert home.valkey.pid() is None
        finally:
            home.start_valkey()
        load.wait_for(SOME)
    shop.assert_paid_once(load)
    assert set(load.answers) == {"order 201", "submit 202"}


def test_a_database_that_crashes_forgets_nothing_that_was_accepted(home: Home, shop: Shop) -> None:
    recovered = home.postgres.log.read_text().count("automatic recovery in progress")
    with shop.load().running() as load:
        load.wait_for(SOME)
        home.crash_postgres()
        load.wait_for(SOME)
    assert home.postgres.log.read_text().count("automatic recovery in progress") == recovered + 1
    shop.assert_paid_once(load)
