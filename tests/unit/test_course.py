"""What a process knows of the database's clock: steps, disputes, eras, and the witnesses that it follows on."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from payments.domain.clock import Detection
from payments.domain.course import (
    ANCHOR_EVERY_SECONDS,
    SETTLED_AFTER_SECONDS,
    Course,
    Detected,
    Look,
    Sample,
    Witness,
    begin,
    follow,
    go_on,
    sampled,
)
from tests.clocks import reading_at

START = datetime(2026, 1, 1, tzinfo=UTC)
HERE, THERE = "boot:here", "boot:there"


def look_at(t: float, *, step: float = 0.0, wall: float = 0.0, redis: float | None = 0.0) -> Look:
    """A look `t` seconds after the start, by clocks that are wrong by so many seconds."""
    now = START + timedelta(seconds=t)
    return Look(
        database=now + timedelta(seconds=step),
        boot=1000.0 + t,
        round_trip=0.001,
        wall=now.timestamp() + wall,
        redis=None if redis is None else now.timestamp() + redis,
    )


def begun(look: Look, *witnesses: Witness, latest_stamp: datetime | None = None) -> tuple[Course, list[Detected]]:
    return begin(look, witnesses, domain=HERE, host="here", latest_stamp=latest_stamp)


def watched(*looks: Look, witnesses: Sequence[Witness] = ()) -> tuple[Course, list[Detected]]:
    course, detected = begun(looks[0], *witnesses)
    for look in looks[1:]:
        course, seen = go_on(course, look, witnesses)
        detected += seen
    return course, detected


def witness(number: int, since: float, until: float, *, domain: str = THERE, host: str = "there") -> Witness:
    return Witness(
        id=UUID(int=number),
        domain=domain,
        host=host,
        since=START + timedelta(seconds=since),
        until=START + timedelta(seconds=until),
        boot_at_until=1000.0 + until,
    )


def redis_by(course: Course, look: Look) -> float | None:
    reading = reading_at(look.database)._replace(boottime_seconds=look.boot)
    return course.added_to(reading).redis


def kinds(detected: Sequence[Detected]) -> list[Detection]:
    return [seen.kind for seen in detected]


def test_a_clock_that_runs_true_is_one_course() -> None:
    course, detected = watched(*(look_at(t) for t in range(0, 3600, 5)))
    assert detected == []
    assert (course.since, course.era, course.crept, course.dispute) == (START, 1, 0.0, None)
    assert course.last.boot - course.anchor.boot <= ANCHOR_EVERY_SECONDS


@pytest.mark.parametrize(("step", "kind"), [(3600, Detection.DB_STEP_FORWARD), (-2, Detection.DB_STEP_BACK)])
def test_a_step_is_seen_once_and_disputed(step: float, kind: Detection) -> None:
    course, detected = watched(look_at(0), look_at(5), *(look_at(t, step=step) for t in range(10, 40, 5)))
    assert kinds(detected) == [kind]
    assert detected[0].seconds == pytest.approx(step, abs=0.01)
    assert not course.attests()
    assert course.anchor.expected(1030.0) == START + timedelta(seconds=30)  # It keeps to what it knew.


def test_a_clock_that_comes_back_goes_on_as_if_nothing_was() -> None:
    course, detected = watched(look_at(0), look_at(5, step=60), look_at(10, step=60), look_at(15))
    assert kinds(detected) == [Detection.DB_STEP_FORWARD, Detection.DB_STEP_BACK]
    assert course.attests()
    assert (course.since, course.era) == (START, 1)
    assert course.unsteady is not None


def test_a_clock_that_keeps_to_its_new_course_is_believed_and_what_was_before_is_not() -> None:
    looks = [look_at(0), *(look_at(t, step=60) for t in range(5, 5 + SETTLED_AFTER_SECONDS + 5, 5))]
    course, detected = watched(*looks[:-1])
    assert not course.attests()
    course, detected = watched(*looks)
    assert kinds(detected) == [Detection.DB_STEP_FORWARD]
    assert course.attests()
    assert (course.since, course.era) == (START + timedelta(seconds=65), 2)


def test_small_steps_are_recorded_and_add_up() -> None:
    course, detected = watched(look_at(0), look_at(5, step=0.5), look_at(10, step=0.8))
    assert kinds(detected) == [Detection.DB_STEP_FORWARD, Detection.DB_STEP_FORWARD]
    assert course.attests()
    assert course.crept == pytest.approx(0.8, abs=0.02)
    course, _ = watched(look_at(0), look_at(5, step=0.5), look_at(10, step=1.4))
    assert not course.attests()  # Together they are more than the margin.


def test_a_process_that_begins_follows_on_its_own_boot() -> None:
    before = witness(1, -500, -3, domain=HERE, host="here")
    course, detected = begun(look_at(0), before)
    assert (course.since, detected) == (before.since, [])
    # Not if the database's clock was set while nobody watched.
    course, _ = begun(look_at(0, step=60), before)
    assert course.since == START + timedelta(seconds=60)


def test_a_watch_that_overlaps_is_followed_to_its_beginning() -> None:
    course, _ = begun(look_at(0))
    assert follow(course, [witness(1, -500, -1)]).since == START  # It ended before this one began.
    chain = [witness(1, -500, 2), witness(2, -900, -400), witness(3, -2000, -901)]
    assert follow(course, chain).since == START - timedelta(seconds=900)


def test_a_clock_below_the_high_water_mark_was_set_back() -> None:
    course, detected = begun(look_at(0), witness(1, -500, 3600))
    assert kinds(detected) == [Detection.DB_STEP_BACK]
    assert detected[0].seconds == pytest.approx(-3600, abs=0.01)
    assert follow(course, [witness(1, -500, 3600)]).since == START  # Nobody follows a time that was taken back.
    _, detected = begun(look_at(0), latest_stamp=START + timedelta(seconds=30))
    assert kinds(detected) == [Detection.DB_STEP_BACK]


def test_who_saw_a_step_follows_nobody_who_did_not() -> None:
    looks = [look_at(0), *(look_at(t, step=-3) for t in range(5, 75, 5))]
    course, _ = watched(*looks)
    assert course.era == 2
    unaware = witness(1, -500, 60)
    assert follow(course, [unaware]).since == course.since
    assert course.latest_step is not None
    aware = replace(unaware, latest_step=course.latest_step)
    assert follow(course, [aware]).since == aware.since


def test_a_host_that_booted_and_a_wall_clock_that_is_off_are_told_at_the_beginning() -> None:
    booted = witness(1, -500, -60, domain="boot:before", host="here")
    _, detected = begun(look_at(0), booted, witness(2, -500, 0))
    assert kinds(detected) == [Detection.DOMAIN_CHANGE]
    _, detected = begun(look_at(0, wall=5))
    assert kinds(detected) == [Detection.HOST_SKEW]
    assert detected[0].seconds == pytest.approx(5, abs=0.01)


def test_a_wall_clock_that_drifts_away_is_told_once_and_a_step_is_told_elsewhere() -> None:
    _, detected = watched(*(look_at(5 * n, wall=0.009 * n) for n in range(20)))
    assert kinds(detected) == [Detection.HOST_SKEW]
    assert watched(look_at(0), look_at(5, wall=60))[1] == []


def test_redis_steps_are_told_and_what_it_said_counts_until_something_steps() -> None:
    _, detected = watched(look_at(0), look_at(5, redis=-60), look_at(10, redis=-60))
    assert kinds(detected) == [Detection.REDIS_STEP]
    # It may step while it does not answer, and back again.
    _, detected = watched(
        look_at(0), look_at(5, redis=None), look_at(10, redis=60), look_at(15, redis=None), look_at(20)
    )
    assert [round(seen.seconds) for seen in detected] == [60, -60]
    course, _ = watched(look_at(0), look_at(5))
    assert redis_by(course, look_at(7)) == pytest.approx(START.timestamp() + 7)
    assert redis_by(course, look_at(7, step=60)) is None
    assert redis_by(course, look_at(500)) is None


def test_samples_tell_a_wall_that_stepped_and_a_machine_that_slept() -> None:
    before = Sample(wall=100.0, boot=50.0, monotonic=20.0)
    assert sampled(before, Sample(wall=100.25, boot=50.25, monotonic=20.25)) == []
    assert sampled(before, Sample(wall=100.34, boot=50.25, monotonic=20.25)) == []
    back, slept = Sample(wall=40.25, boot=50.25, monotonic=20.25), Sample(wall=130.25, boot=80.25, monotonic=20.25)
    assert kinds(sampled(before, back)) == [Detection.WALL_STEP]
    assert sampled(before, back)[0].seconds == pytest.approx(-60)
    assert kinds(sampled(before, slept)) == [Detection.SUSPEND]
    assert sampled(before, slept)[0].seconds == pytest.approx(30)
