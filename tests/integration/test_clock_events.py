"""A clock event is stored whatever becomes of the payment that it was seen with, and never lost without a word."""

import json
import os
import subprocess
import sys
import threading

import pytest
from django.contrib.auth.models import User

from payments import clockevents, clocks
from payments.domain.clock import Detection
from payments.models import ClockEvent, PaymentAttempt, StockItem
from payments.transactions import transaction
from tests import factories
from tests.contract.sandbox_server import ROOT
from tests.system import test_database_url

pytestmark = pytest.mark.django_db(transaction=True)


class TakenBackError(Exception):
    pass


def test_an_event_stays_when_its_transaction_is_rolled_back(customer: User, item: StockItem) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    with pytest.raises(TakenBackError), transaction():  # noqa: PT012 - what comes before the end is the point
        PaymentAttempt.objects.select_for_update().get(id=attempt.id)
        PaymentAttempt.objects.filter(id=attempt.id).update(correlation_id="undone")
        clockevents.record(
            kind=Detection.DB_STEP_BACK, seconds=-3600.0, detail="set back", attempt_id=attempt.id, evidence={"a": 1}
        )
        assert clockevents.flush(timeout_seconds=10), "it waits for no lock of the payment"
        raise TakenBackError
    attempt.refresh_from_db()
    assert attempt.correlation_id == ""
    event = ClockEvent.objects.get()
    assert (event.kind, event.seconds, event.detail) == ("db_step_back", -3600.0, "set back")
    assert (event.attempt_id, event.evidence) == (attempt.id, {"a": 1})
    assert (event.host, event.domain, event.process) == (clocks.host(), clocks.domain(), clockevents.process_name())
    assert event.boottime_seconds <= clocks.boottime_seconds()
    assert abs((event.recorded_at - clocks.database_now()).total_seconds()) < 60


def test_one_thread_writes_the_events_of_all() -> None:
    def record() -> None:
        for _ in range(5):
            clockevents.record(kind=Detection.SUSPEND, seconds=1.0, detail="")

    threads = [threading.Thread(target=record) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clockevents.flush(timeout_seconds=10)
    assert ClockEvent.objects.count() == 40
    assert [thread.name for thread in threading.enumerate()].count("clock-events") == 1


def test_a_detail_that_is_too_long_is_cut_and_not_lost() -> None:
    clockevents.record(kind=Detection.SUSPEND, seconds=1.0, detail="x" * 1000)
    assert clockevents.flush(timeout_seconds=10)
    assert ClockEvent.objects.get().detail == "x" * 255


def run_python(code: str, *, database_url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import django\ndjango.setup()\n{code}"],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": database_url,
            "DATABASE_POOL_CONNECTIONS": "0",
            "DJANGO_SETTINGS_MODULE": "project.settings.test",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


RECORDS = """
from uuid import UUID
from payments import clockevents
from payments.domain.clock import Detection
clockevents.record(kind=Detection.WALL_STEP, seconds=60.0, detail="seen", attempt_id=UUID(int=7), evidence={"a": [1]})
"""


def test_without_the_database_it_is_one_line_of_json_on_standard_error() -> None:
    done = run_python(RECORDS, database_url="postgresql://nobody@127.0.0.1:9/nothing")
    lines = [json.loads(line) for line in done.stderr.splitlines() if "clock_event_not_stored" in line]
    assert done.returncode == 0
    assert len(lines) == 1, done.stderr
    (line,) = lines
    assert (line["kind"], line["seconds"], line["detail"]) == ("wall_step", 60.0, "seen")
    assert (line["attempt_id"], line["evidence"]) == ("00000000-0000-0000-0000-000000000007", {"a": [1]})
    assert (line["host"], line["domain"]) == (clocks.host(), clocks.domain())


def test_a_process_that_ends_at_once_writes_its_event_first() -> None:
    assert run_python(RECORDS, database_url=test_database_url()).returncode == 0
    assert ClockEvent.objects.get().detail == "seen"


FORKS = """
import os
from payments import clockevents
from payments.domain.clock import Detection
from django.db import connection
clockevents.record(kind=Detection.SUSPEND, seconds=1.0, detail="parent")
clockevents.flush(timeout_seconds=10)
connection.close()
child = os.fork()
if child == 0:
    clockevents.record(kind=Detection.SUSPEND, seconds=1.0, detail="child")
    os._exit(0 if clockevents.flush(timeout_seconds=10) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_child_writes_its_own_events_and_none_of_its_parents() -> None:
    done = run_python(FORKS, database_url=test_database_url())
    assert done.returncode == 0, done.stderr
    assert sorted(ClockEvent.objects.values_list("detail", flat=True)) == ["child", "parent"]
    assert len(set(ClockEvent.objects.values_list("process", flat=True))) == 2
