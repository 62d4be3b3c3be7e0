"""The watcher on a real database: what it knows, what it attests, and that nothing ends it but its end."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, MutableMapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from payments import clockevents, clocks, clockwatch
from payments.models import ClockEvent, ClockWitness
from tests.contract.sandbox_server import ROOT, wait_until
from tests.faults import database_away
from tests.system import test_database_url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def watch(settings: Settings) -> Iterator[None]:
    """This process watches, as often as it may."""
    settings.PAYMENT_CLOCK_LOOK_SECONDS = 0.1
    clockwatch.start()
    yield
    clockwatch.stop()
    clockevents.flush(timeout_seconds=10)


def attested() -> ClockWitness | None:
    return ClockWitness.objects.first()


def wait_for_a_look() -> None:
    """Until the watcher has seen the database once more than now."""
    before = clocks.course()
    wait_until(
        lambda: (course := clocks.course()) is not None and (before is None or course.last.boot > before.last.boot),
        what="the watcher looks",
    )


@pytest.mark.usefixtures("watch")
def test_it_attests_in_one_row_and_its_knowledge_is_in_every_reading() -> None:
    wait_until(lambda: attested() is not None, what="a witness is attested")
    first = attested()
    assert first is not None
    assert (first.domain, first.host, first.process) == (
        clocks.domain(),
        clocks.host(),
        clockevents.process_name(),
    )
    assert first.since <= first.until <= clocks.database_now()
    assert first.boottime_at_until_seconds <= clocks.boottime_seconds()
    wait_until(lambda: ClockWitness.objects.filter(until__gt=first.until).exists(), what="it goes on")
    (row,) = ClockWitness.objects.all()
    assert (row.id, row.since) == (first.id, first.since)
    reading = clocks.read()
    assert reading.watched_since == first.since
    assert reading.expected is not None
    assert abs((reading.expected - reading.now).total_seconds()) < 1
    assert reading.redis is not None
    assert ClockEvent.objects.count() == 0


def test_it_begins_once_and_leaves_nothing_when_it_ends(settings: Settings) -> None:
    settings.PAYMENT_CLOCK_LOOK_SECONDS = 0.1
    clockwatch.start()
    clockwatch.start()
    assert [thread.name for thread in threading.enumerate()].count("clock-watch") == 1
    assert clockwatch.is_watching()
    wait_for_a_look()
    clockwatch.stop()
    assert "clock-watch" not in [thread.name for thread in threading.enumerate()]
    assert not clockwatch.is_watching()
    assert clocks.course() is None
    assert clocks.read().watched_since is None


@pytest.mark.usefixtures("watch")
def test_it_goes_on_where_it_was_after_the_database_was_away(captured_logs: list[MutableMapping[str, Any]]) -> None:
    wait_for_a_look()
    course = clocks.course()
    assert course is not None
    with database_away():
        wait_until(
            lambda: any(log["event"] == "clocks_not_seen" for log in captured_logs),
            what="a look fails",
            deadline_seconds=30,  # The pool tries for 10 s.
        )
        assert clockwatch.is_watching()
    wait_for_a_look()
    after = clocks.course()
    assert after is not None
    assert (after.since, after.era) == (course.since, course.era)
    assert ClockEvent.objects.count() == 0


def test_without_redis_it_has_one_witness_less(settings: Settings) -> None:
    settings.PAYMENT_CLOCK_LOOK_SECONDS = 0.1
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    clockwatch.start()
    wait_for_a_look()
    wait_for_a_look()
    reading = clocks.read()
    clockwatch.stop()
    assert reading.redis is None
    assert reading.watched_since is not None
    assert ClockEvent.objects.count() == 0


@pytest.mark.usefixtures("watch")
def test_a_later_process_of_the_same_boot_has_watched_from_the_earlier_ones_beginning() -> None:
    wait_until(lambda: attested() is not None, what="a witness is attested")
    first = attested()
    assert first is not None
    clockwatch.stop()
    clockwatch.start()
    wait_for_a_look()
    course = clocks.course()
    assert course is not None
    assert course.since == first.since


def test_a_clock_below_the_high_water_mark_is_a_detection(settings: Settings) -> None:
    now = clocks.database_now()
    ClockWitness.objects.create(
        host="another",
        domain="boot:another",
        process="web:1",
        since=now,
        until=now + timedelta(hours=1),
        boottime_at_until_seconds=1.0,
    )
    clockwatch.start()
    wait_for_a_look()
    clockwatch.stop()
    assert clockevents.flush(timeout_seconds=10)
    (event,) = ClockEvent.objects.all()
    assert event.kind == "db_step_back"
    assert -3600 <= event.seconds < -3500


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import django\ndjango.setup()\n{code}"],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": test_database_url(),
            "DATABASE_POOL_CONNECTIONS": "0",
            "DJANGO_SETTINGS_MODULE": "project.settings.test",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


FORKS = """
import os
from payments import clocks, clockwatch
from tests.contract.sandbox_server import wait_until
clockwatch.start()
wait_until(lambda: clocks.course() is not None, what="the parent has looked")
child = os.fork()
if child == 0:
    knows_nothing = clocks.course() is None and not clockwatch.is_watching()
    clockwatch.start()
    wait_until(lambda: clocks.course() is not None, what="the child has looked")
    clockwatch.stop()
    os._exit(7 if knows_nothing else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), clockwatch.is_watching())
clockwatch.stop()
"""


def test_a_child_knows_nothing_until_it_watches_by_itself() -> None:
    assert run_python(FORKS) == "7 True"
    assert ClockWitness.objects.values("process").distinct().count() == 2


def test_where_the_system_names_no_boot_each_process_is_a_domain_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(clocks, "_BOOT_ID", tmp_path / "missing")
    clocks.domain.cache_clear()
    try:
        domain = clocks.domain()
        assert domain.startswith("process:")
        assert clocks.domain() == domain
        clocks.domain.cache_clear()
        assert clocks.domain() != domain
    finally:
        monkeypatch.undo()
        clocks.domain.cache_clear()
    assert clocks.domain().startswith("boot:")
