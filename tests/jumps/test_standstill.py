"""The database's clock is an hour off, or a worker stands still between its look at the clock and the send."""

import time
from signal import SIGCONT, SIGSTOP

import pytest

from payments.domain.clock import Detection
from tests.contract.sandbox_server import wait_until
from tests.jumps.books import Row
from tests.jumps.cells import EARLY_SECONDS
from tests.jumps.conftest import Lanes
from tests.jumps.world import Host, World

pytestmark = [pytest.mark.jumps, pytest.mark.timeout(3000)]

HOUR_SECONDS = 3600
MANY, OVER = 500, 20
RUNS = 4


def test_a_sweep_that_the_clocks_contradict_stands_still_and_goes_on_by_itself(lanes: Lanes) -> None:
    lanes.of(Host.SAME).submit(_sweep_stands_still).result()


def _sweep_stands_still(world: World) -> None:
    world.begin()
    ids = world.open_many(MANY)
    over, alive = ids[:OVER], ids[OVER:]
    assert _sweep(world)["stands_still_since"] is None
    deadline = world.books.age(over, seconds_left=4)
    with world.database_shifted(seconds=HOUR_SECONDS):
        world.watch(ids, until=lambda: _sweep(world)["stands_still_since"] is not None, what="the sweep stands still")
        world.watch_until(deadline - EARLY_SECONDS, ids)
        assert set(world.states.values()) == {"open"}
        assert _sweep(world)["stands_still_why"] == f"{MANY} due orders are held: the clocks contradict each other"
        health = world.http.get("/readyz").json()
        assert (health["status"], health["clocks"]["database"]) == ("degraded", "disputed")
        assert health["sweep"]["why"] == f"{MANY} due orders are held: the clocks contradict each other"
        assert "paywindow_sweep_stands_still 1.0" in world.http.get("/metrics").text
        # What its boot clock proves to be over ends all the same; the rest is left alone, run after run.
        world.watch(over, until=lambda: set(world.states.values()) == {"expired"}, what="what is over ends")
        runs = _sweep(world)["runs"]
        world.watch(ids, until=lambda: _sweep(world)["runs"] >= runs + RUNS, what="some more runs")
        assert {id_ for id_, state in world.states.items() if state != "open"} == set(over)
        stands_still = [event for event in world.books.events() if "the sweep stands still" in event["detail"]]
        assert [event["kind"] for event in stands_still] == [Detection.NO_QUORUM]
    world.watch(ids, until=lambda: _sweep(world)["stands_still_since"] is None, what="the sweep goes on")
    assert _sweep(world)["stands_still_why"] == ""
    wait_until(lambda: world.http.get("/readyz").json()["status"] == "ready", what="the web process agrees again")
    world.books.age(alive, seconds_left=1)
    world.watch(alive, until=lambda: set(world.states.values()) == {"expired"}, what="all are over")


def _sweep(world: World) -> Row:
    (row,) = world.books.rows("SELECT * FROM payments_duty WHERE name = 'sweep'")
    return row


def test_a_database_that_was_set_back_keeps_no_window_open(lanes: Lanes) -> None:
    lanes.of(Host.SAME).submit(_windows_close_on_time).result()


def _windows_close_on_time(world: World) -> None:
    world.begin()
    submitted, opened = world.open(), world.open()
    ids = [submitted[0], opened[0]]
    world.worker.signal(SIGSTOP)
    try:
        world.submit(submitted)
        deadline = world.books.age(ids, seconds_left=2)
        with world.database_shifted(seconds=-HOUR_SECONDS):
            wait_until(lambda: time.monotonic() >= deadline, what="the deadline has passed")
            world.worker.signal(SIGCONT)
            world.watch_to_the_end(ids)
            query = "SELECT expires_at > clock_timestamp() AS is_open FROM payments_paymentattempt"
            rows = world.books.rows(f"{query} WHERE id = ANY(%s::uuid[])", ids)
            assert [row["is_open"] for row in rows] == [True, True]
    finally:
        world.worker.signal(SIGCONT)
    assert world.states == dict.fromkeys(ids, "expired")
    assert [world.books.charges_begun(id_) for id_ in ids] == [[], []]


def test_a_worker_that_was_stopped_before_its_send_looks_at_the_clocks_again(lanes: Lanes) -> None:
    lanes.of(Host.SAME).submit(_sends_nothing_stale).result()


def _sends_nothing_stale(world: World) -> None:
    world.begin()
    attempt = world.open()
    world.failpoint.arm("authorize.begun", "stop", threads=1)
    world.submit(attempt)
    world.failpoint.wait("authorize.begun")
    stale = time.monotonic() + 2.2  # The look at the clock was earlier still.
    wait_until(lambda: time.monotonic() >= stale, what="the look is stale")
    assert world.books.charges_begun(attempt[0]) == []
    world.worker.signal(SIGCONT)
    world.watch_to_the_end([attempt[0]])
    world.failpoint.disarm()

    query = "SELECT operation, outcome FROM payments_gatewaycall WHERE attempt_id = %s ORDER BY started_at, id"
    calls = [(row["operation"], row["outcome"]) for row in world.books.rows(query, attempt[0])]
    assert calls == [("authorize", "never_sent"), ("authorize", "authorized"), ("capture", "captured")]
    assert len(world.books.charges_begun(attempt[0])) == 1
    wait_until(lambda: bool(world.books.events()), what="the event is written down")
    events = world.books.events()
    assert [(event["kind"], str(event["attempt_id"])) for event in events] == [(Detection.STALE_CHECK, attempt[0])]
    assert events[0]["seconds"] > 2
