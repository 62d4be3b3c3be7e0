"""The judge: what each pair of readings allows, and why. The simulation tries it against every single fault."""

from datetime import UTC, datetime, timedelta

import pytest

from payments.domain.clock import MARGIN_SECONDS, Age, Reading, Ruling, Step, Topology, judge
from tests.clocks import reading_at

OPENED = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = timedelta(minutes=15)
STAMP = reading_at(OPENED)
APART = Topology(is_host_apart=True, is_redis_apart=True)
LONG_AGO = OPENED - timedelta(days=1)


def after(seconds: float, *, database: float = 0.0, boot: float = 0.0) -> Reading:
    """Readings that many seconds after the opening; `database` and `boot` are by how much those clocks are wrong."""
    true = reading_at(OPENED + timedelta(seconds=seconds))
    return true._replace(
        now=true.now + timedelta(seconds=database),
        boottime_seconds=true.boottime_seconds + boot,
    )


def elsewhere(reading: Reading, *, expected: float = 0.0, since: datetime = LONG_AGO) -> Reading:
    """The same on another host, whose anchor says something else by `expected` seconds."""
    return reading._replace(
        domain="boot:two",
        host="two",
        boottime_seconds=7.0,
        expected=reading.now + timedelta(seconds=expected),
        watched_since=since,
    )


WATCHED = STAMP._replace(expected=STAMP.now, watched_since=LONG_AGO)


def ruling(reading: Reading, *, stamp: Reading = STAMP, topology: Topology = Topology()) -> Ruling:  # noqa: B008 - frozen
    return judge(stamp=stamp, reading=reading, until=OPENED + WINDOW, topology=topology).ruling


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, Ruling.CHARGE),
        (800, Ruling.CHARGE),
        (899, Ruling.CHARGE),
        (899.95, Ruling.WAIT),  # The boot clock may have drifted by so much.
        (900, Ruling.EXPIRE),  # The deadline itself is already outside.
        (901, Ruling.EXPIRE),
        (9000, Ruling.EXPIRE),
    ],
)
def test_clocks_that_agree_decide_by_the_database(seconds: float, expected: Ruling) -> None:
    assert ruling(after(seconds)) is expected
    assert ruling(elsewhere(after(seconds)), stamp=WATCHED) is expected


@pytest.mark.parametrize(
    ("seconds", "database", "expected"),
    [
        (10, 2, Ruling.CHARGE),  # Wrong, and it does not matter.
        (10, -2, Ruling.CHARGE),
        (10, 60, Ruling.CHARGE),
        (10, 3600, Ruling.HOLD),  # Expired, says the database; it lives.
        (10, -3600, Ruling.HOLD),  # Not opened yet, says the database.
        (880, 60, Ruling.HOLD),
        (899, 0.5, Ruling.CHARGE),
        (899.4, 0.7, Ruling.EXPIRE),  # Inside the stated margin.
        (898, 3, Ruling.HOLD),
        (910, -60, Ruling.EXPIRE),  # Still open, says the database; the boot clock proves that it is not.
        (910, -3600, Ruling.EXPIRE),
    ],
)
def test_a_database_that_stepped_decides_nothing_alone(seconds: float, database: float, expected: Ruling) -> None:
    assert ruling(after(seconds, database=database)) is expected


def test_a_paused_machine_is_not_believed() -> None:
    assert ruling(after(1000, boot=-990)) is Ruling.HOLD
    assert ruling(after(500, boot=-400)) is Ruling.CHARGE
    assert ruling(after(1000, boot=-990)._replace(redis=1000.0), stamp=STAMP._replace(redis=0.0), topology=APART) is (
        Ruling.EXPIRE
    )


def test_a_third_witness_outvotes_a_paused_machine_but_charges_nothing_against_the_database() -> None:
    stamp = STAMP._replace(redis=0.0)
    assert ruling(after(10, boot=-9)._replace(redis=10.0), stamp=stamp, topology=APART) is Ruling.CHARGE
    ahead = after(10, database=3600)._replace(redis=10.0)
    assert ruling(ahead, stamp=stamp, topology=APART) is Ruling.HOLD
    behind = after(910, database=-60, boot=-8)._replace(redis=910.0)
    assert ruling(behind, stamp=stamp, topology=APART) is Ruling.EXPIRE  # By Redis and this machine.


def test_redis_and_the_wall_testify_only_where_they_are_apart() -> None:
    stamp, reading = STAMP._replace(redis=0.0), after(10)._replace(redis=3610.0)
    together = judge(stamp=stamp, reading=reading, until=OPENED + WINDOW, topology=Topology())
    assert [age.source for age in together.ages] == ["database", "boot"]
    rebooted = after(10)._replace(domain="boot:two", boottime_seconds=1.0)
    assert ruling(rebooted) is Ruling.HOLD
    assert ruling(rebooted, topology=APART) is Ruling.CHARGE  # By its wall clock.


@pytest.mark.parametrize("seconds", [10, 910])
def test_the_database_alone_is_no_quorum(seconds: float) -> None:
    stranger = after(seconds)._replace(domain="boot:two", host="two", boottime_seconds=1.0)
    judgement = judge(stamp=STAMP, reading=stranger, until=OPENED + WINDOW, topology=APART)
    assert judgement.ruling is Ruling.HOLD
    assert judgement.why == "nothing but the database tells how much time passed"


def test_an_anchor_counts_if_it_was_watched_from_before_the_opening() -> None:
    assert ruling(elsewhere(after(10)), stamp=WATCHED) is Ruling.CHARGE
    assert ruling(elsewhere(after(10), since=OPENED + timedelta(seconds=5)), stamp=WATCHED) is Ruling.HOLD
    assert ruling(elsewhere(after(10))) is Ruling.HOLD  # Nobody watched where it was opened.
    assert ruling(elsewhere(after(10, database=3600), expected=-3600), stamp=WATCHED) is Ruling.HOLD


def test_an_anchor_of_another_course_does_not_count() -> None:
    step = Step(OPENED - timedelta(hours=1), OPENED + timedelta(hours=1))
    unsteady = elsewhere(after(10))._replace(unsteady=step)
    assert ruling(unsteady, stamp=WATCHED) is Ruling.CHARGE  # Both follow the same watch from its beginning.
    began_in_the_step = WATCHED._replace(watched_since=OPENED - timedelta(seconds=3))
    assert ruling(unsteady, stamp=began_in_the_step) is Ruling.HOLD
    assert ruling(unsteady._replace(unsteady=None), stamp=began_in_the_step) is Ruling.CHARGE


def test_a_long_watch_proves_in_the_end_that_a_window_is_over() -> None:
    began = OPENED + timedelta(seconds=60)
    reading = elsewhere(after(961), since=began)
    assert ruling(reading._replace(now=reading.now)) is Ruling.EXPIRE  # It has watched for more than a window.
    assert ruling(elsewhere(after(950), since=began)) is Ruling.HOLD
    assert ruling(elsewhere(after(961), since=began, expected=-30)) is Ruling.HOLD  # A clock in dispute proves nothing.
    doubtful = STAMP._replace(is_doubtful=True)
    assert ruling(reading, stamp=doubtful) is Ruling.HOLD


def test_a_slow_database_makes_the_judge_careful_and_never_late() -> None:
    slow = after(895)._replace(round_trip=10.0)
    assert ruling(slow) is Ruling.WAIT
    assert ruling(after(880)._replace(round_trip=10.0)) is Ruling.CHARGE


def test_the_margin_is_what_is_stated() -> None:
    """A database that is ahead refuses nothing earlier than the margin and the drift before the deadline."""
    for hundredths in range(300):
        seconds = 897 + hundredths / 100
        for ahead in (0.2, 0.7, 1.0, 2.0, 5.0):
            refused = ruling(after(seconds, database=ahead)) is Ruling.EXPIRE
            assert not refused or seconds >= 900 - MARGIN_SECONDS - 2 * 0.18 - 0.01


def test_a_stamp_survives_its_row() -> None:
    whole = STAMP._replace(
        expected=OPENED, watched_since=LONG_AGO, redis=5.5, unsteady=Step(OPENED, OPENED), round_trip=0.25
    )
    read_back = Reading.from_stamp(whole.as_stamp())
    assert read_back == whole._replace(unsteady=None, is_doubtful=True)
    assert Reading.from_stamp(STAMP.as_stamp()) == STAMP
    with pytest.raises(KeyError):
        Reading.from_stamp({})


def test_ages_tell_how_far_apart_they_are() -> None:
    assert Age("a", 1, 2).gap_to(Age("b", 5, 6)) == Age("b", 5, 6).gap_to(Age("a", 1, 2)) == 3
    assert Age("a", 1, 5).gap_to(Age("b", 5, 6)) == 0
    ahead = judge(stamp=STAMP, reading=after(10, database=60), until=OPENED + WINDOW, topology=Topology())
    assert ahead.disagreement == pytest.approx(60, abs=0.1)
    behind = judge(stamp=STAMP, reading=after(10, database=-60), until=OPENED + WINDOW, topology=Topology())
    assert behind.disagreement == pytest.approx(-60, abs=0.1)
    agreeing = judge(stamp=STAMP, reading=after(10), until=OPENED + WINDOW, topology=Topology())
    assert agreeing.disagreement == 0
    assert agreeing.as_evidence() == {
        "ruling": "charge",
        "why": "the window is open",
        "window": 900.0,
        "ages": {"database": [10.0, 10.0], "boot": [9.998, 10.002]},
        "at_least": 9.998,
    }
