"""What a load balancer and monitoring see of the clocks."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from payments import clockevents, clocks, clockwatch, lifecycle
from payments.domain.clock import Detection
from payments.domain.course import Course, Look, anchor_at, begin, go_on
from payments.lifecycle.sweep import SweepRun
from payments.models import Duty, PaymentAttempt, StockItem
from tests import factories
from tests.contract.sandbox_server import wait_until
from tests.faults import database_away

pytestmark = pytest.mark.django_db(transaction=True)


def sweep_run(*, held_orders: int) -> SweepRun:
    why = "the clocks contradict each other" if held_orders else ""
    return SweepRun(
        expired_orders=0,
        held_orders=held_orders,
        held_why=why,
        failed_orders=0,
        skipped_orders=0,
        batches=1,
        lag_seconds=0.0,
        duration_seconds=0.0,
        is_finished=True,
    )


def disputed() -> Course:
    now, boot = clocks.database_now(), clocks.boottime_seconds()
    true = Look(database=now, boot=boot, round_trip=0.001, wall=now.timestamp())
    course, _ = begin(true, [], domain=clocks.domain(), host=clocks.host(), latest_stamp=None)
    leapt = Look(database=now + timedelta(hours=1, seconds=5), boot=boot + 5, round_trip=0.001, wall=true.wall + 5)
    course, _ = go_on(course, leapt, [])
    assert course.anchor == anchor_at(true)
    return course


def test_without_a_watcher_nothing_is_claimed(client: Client) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert answer.json()["clocks"] == {
        "watching": False,
        "database": "unknown",
        "offset_seconds": None,
        "watched_since": None,
    }
    assert answer.json()["sweep"] == {"stands_still_since": None, "why": ""}


def test_a_watcher_says_that_the_clock_runs_true_and_since_when(client: Client) -> None:
    began = clocks.database_now()
    clockwatch.start()
    try:
        wait_until(lambda: clocks.course() is not None, what="the watcher has looked")
        told = client.get("/readyz").json()
        course = clocks.course()
    finally:
        clockwatch.stop()
    assert course is not None
    assert course.since >= began
    assert told["status"] == "ready"
    assert told["clocks"]["watching"] is True
    assert told["clocks"]["database"] == "true"
    assert told["clocks"]["watched_since"] == course.since.isoformat()
    assert abs(told["clocks"]["offset_seconds"]) < 1


def test_a_disputed_clock_degrades_and_stops_nothing(client: Client) -> None:
    clocks.set_course(disputed())
    try:
        answer = client.get("/readyz")
    finally:
        clocks.set_course(None)
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["clocks"]["database"] == "disputed"
    assert answer.json()["clocks"]["offset_seconds"] == 3600


def test_a_sweep_that_stands_still_says_since_when_and_why_until_it_goes_on(client: Client) -> None:
    lifecycle.note_sweep(sweep_run(held_orders=2))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    since = Duty.objects.get(name="sweep").stands_still_since
    assert since is not None
    assert answer.json()["sweep"] == {
        "stands_still_since": since.isoformat(),
        "why": "2 due orders are held: the clocks contradict each other",
    }
    assert scraped(client)["paywindow_sweep_stands_still", ""] == 1
    lifecycle.note_sweep(sweep_run(held_orders=0))
    assert client.get("/readyz").json()["status"] == "ready"
    assert scraped(client)["paywindow_sweep_stands_still", ""] == 0
    clockevents.flush()


def scraped(client: Client) -> dict[tuple[str, str], float]:
    """{(name, kind): value} as Prometheus reads it."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.content.decode())
    return {
        (sample.name, sample.labels.get("kind", "")): sample.value for family in families for sample in family.samples
    }


def test_metrics_count_what_the_rows_say(client: Client, customer: User, item: StockItem) -> None:
    before = scraped(client)
    assert {kind for name, kind in before if name == "paywindow_clock_events_total"} == set(Detection)
    assert set(before.values()) == {0}
    for _ in range(2):
        clockevents.record(kind=Detection.WALL_STEP, seconds=60.0, detail="made for this test")
    assert clockevents.flush(timeout_seconds=10)
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    PaymentAttempt.objects.filter(id=attempt.id).update(held_since=clocks.database_now())
    after = scraped(client)
    assert after["paywindow_clock_events_total", "wall_step"] == 2
    assert after["paywindow_attempts_held", ""] == 1
    assert sum(after.values()) == 3


def test_metrics_of_a_database_that_is_away_are_not_zeros(client: Client) -> None:
    with database_away():
        assert [client.get(path).status_code for path in ("/metrics", "/readyz")] == [503, 503]
