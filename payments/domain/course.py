"""The course of the database's clock, as one process watches it by its boot clock. Pure: looks come in.

At its first look a process takes the database's time for an anchor, and from then on expects it to go as its own boot
clock goes. While it does, the anchor is renewed and the course goes on; a step makes a dispute, in which the process
keeps to its anchor, until the clock comes back or has kept to its new course for long enough to be believed.

A process that just began knows nothing of a step before its first look. So each one leaves a `Witness` in the
database: from when to when the database's clock ran true, by its own boot clock. Whose watch overlaps another's, or
began under the same boot, has watched from the other's beginning on. The latest time in all of them is the
high-water mark: a clock that shows less has been set back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from payments.domain.clock import DRIFT, MARGIN_SECONDS, RECORDED_FROM_SECONDS, Detection, Reading, Step

ANCHOR_EVERY_SECONDS = 60  # Never more often while the clocks agree, so that small steps cannot creep past unseen.
SETTLED_AFTER_SECONDS = 60  # A clock that was set on purpose is believed after so long.
REDIS_LOOK_GOOD_FOR_SECONDS = 120
UNSTEADY_FOR = timedelta(hours=25)  # Longer than any window that a step may have fallen into.


@dataclass(frozen=True, slots=True)
class Look:
    """What the watcher reads at once; the database's clock within `round_trip` seconds after the boot clock."""

    database: datetime
    boot: float
    round_trip: float
    wall: float
    redis: float | None = None  # Seconds since 1970; None when it did not answer.


@dataclass(frozen=True, slots=True)
class Witness:
    """What a process has attested: the database's clock ran true from `since` to `until`."""

    id: UUID
    domain: str
    host: str
    since: datetime
    until: datetime
    boot_at_until: float
    crept: float = 0.0
    unsteady: Step | None = None
    latest_step: Step | None = None


@dataclass(frozen=True, slots=True)
class Detected:
    """One thing that a clock did. `seconds` is how far it moved, forward if positive."""

    kind: Detection
    seconds: float
    detail: str


@dataclass(frozen=True, slots=True)
class Anchor:
    """The database's time at one moment of the boot clock."""

    database: datetime
    boot: float
    error: float

    def expected(self, boot: float) -> datetime:
        """Tell what the database's clock should show when the boot clock shows `boot`."""
        return self.database + timedelta(seconds=boot - self.boot)

    def error_at(self, boot: float) -> float:
        """How far that may be off, in seconds."""
        return self.error + DRIFT * (boot - self.boot)

    def offset(self, look: Look) -> float:
        """How far the database's clock is ahead of what was expected, in seconds."""
        return (look.database - self.expected(look.boot)).total_seconds()

    def agrees(self, look: Look) -> bool:
        """Tell whether a look shows what was expected."""
        return abs(self.offset(look)) < RECORDED_FROM_SECONDS + self.error_at(look.boot) + look.round_trip


def anchor_at(look: Look) -> Anchor:
    """Take a look for an anchor."""
    return Anchor(database=look.database, boot=look.boot, error=look.round_trip)


@dataclass(frozen=True, slots=True)
class Dispute:
    """The database's clock shows something else than expected. `candidate` is its new course."""

    offset: float
    candidate: Anchor


@dataclass(frozen=True, slots=True)
class Course:
    """What one process knows of the course of the database's clock."""

    anchor: Anchor
    since: datetime  # From when on the clock was watched to run true, by this process or by those it follows on.
    last: Look
    last_with_redis: Look | None = None  # Which may be older: Redis does not always answer in time.
    era: int = 1  # Counts the courses that this process believed, one after the other.
    crept: float = 0.0  # The steps since then that were too small to act on, added up, in seconds.
    dispute: Dispute | None = None
    unsteady: Step | None = None  # Every step of the last day in one.
    latest_step: Step | None = None
    from_the_future: frozenset[UUID] = frozenset()  # Witnesses of a time that the clock was set back from.

    def attests(self) -> bool:
        """Tell whether the clock runs true as far as this process sees."""
        return self.dispute is None

    @property
    def offset_seconds(self) -> float:
        """How far the database's clock was ahead of what was expected at the last look."""
        return self.anchor.offset(self.last)

    def witness(self, *, id: UUID, domain: str, host: str) -> Witness:  # noqa: A002 - a row's id
        """Attest what was watched up to the last look."""
        return Witness(
            id=id,
            domain=domain,
            host=host,
            since=self.since,
            until=self.last.database,
            boot_at_until=self.last.boot,
            crept=self.crept,
            unsteady=self.unsteady,
            latest_step=self.latest_step,
        )

    def added_to(self, reading: Reading) -> Reading:
        """Add to a reading what this process expected, and what Redis said at the last look.

        What Redis said counts for as long as the database's clock kept to its course since: after a step, or a pause
        of this machine, Redis must be asked again.
        """
        boot = reading.boottime_seconds
        passed = boot - self.last.boot
        moved = (reading.now - self.last.database).total_seconds() - passed
        redis = None
        if self.last.redis is not None and abs(moved) < RECORDED_FROM_SECONDS + reading.round_trip:
            redis = self.last.redis + passed if passed < REDIS_LOOK_GOOD_FOR_SECONDS else None
        return reading._replace(
            expected=self.anchor.expected(boot),
            expected_error=self.anchor.error_at(boot) + self.crept,
            watched_since=self.since,
            unsteady=self.unsteady,
            redis=redis,
        )


def begin(
    look: Look, witnesses: Sequence[Witness], *, domain: str, host: str, latest_stamp: datetime | None
) -> tuple[Course, list[Detected]]:
    """Begin to watch. The witnesses tell what was before, and so does the latest stamp of a living attempt."""
    detected = []
    course = Course(
        anchor=anchor_at(look),
        since=look.database,
        last=look,
        last_with_redis=None if look.redis is None else look,
    )
    future = _from_the_future(look, witnesses)
    mark = max([*(witness.until for witness in witnesses), latest_stamp or look.database])
    if mark > look.database + _slack(look):
        seconds = (look.database - mark).total_seconds()
        detected.append(Detected(Detection.DB_STEP_BACK, seconds, "the database's clock is behind its high-water mark"))
        ids = frozenset(witness.id for witness in future)
        # Nobody was there to see where the clock stepped.
        step = Step(look.database - UNSTEADY_FOR, mark + UNSTEADY_FOR)
        course = replace(course, unsteady=step, latest_step=step, from_the_future=ids)
    same_host = [witness for witness in witnesses if witness.host == host and witness.id not in course.from_the_future]
    latest = max(same_host, key=lambda witness: witness.until, default=None)
    if latest is not None and latest.domain != domain:
        away = (look.database - latest.until).total_seconds()
        detected.append(Detected(Detection.DOMAIN_CHANGE, away, f"{host} has booted: {latest.domain} to {domain}"))
    skew = _skew(look)
    if abs(skew) >= RECORDED_FROM_SECONDS + look.round_trip:
        detected.append(Detected(Detection.HOST_SKEW, skew, f"the wall clock of {host} against the database's"))
    return _bridged(course, witnesses, domain=domain), detected


def _from_the_future(look: Look, witnesses: Sequence[Witness]) -> list[Witness]:
    return [witness for witness in witnesses if witness.until > look.database + _slack(look)]


def _slack(look: Look) -> timedelta:
    return timedelta(seconds=RECORDED_FROM_SECONDS + look.round_trip)


def _bridged(course: Course, witnesses: Sequence[Witness], *, domain: str) -> Course:
    """Go on where a process of the same boot ended, if both clocks agree about the time between."""
    for witness in witnesses:
        if witness.domain != domain or witness.id in course.from_the_future:
            continue
        ended = Anchor(database=witness.until, boot=witness.boot_at_until, error=course.anchor.error)
        if witness.since < course.since and ended.agrees(course.last):
            course = _joined(course, witness)
    return course


def follow(course: Course, witnesses: Sequence[Witness]) -> Course:
    """Go back to where the watches began that overlap with this one, one after the other."""
    while True:
        earlier = [
            witness
            for witness in witnesses
            if witness.since < course.since <= witness.until and _is_one_course(course, witness)
        ]
        if not earlier:
            return course
        course = _joined(course, min(earlier, key=lambda witness: witness.since))


def _is_one_course(course: Course, witness: Witness) -> bool:
    # Who has seen a step follows nobody who has not: those times may be from before it.
    if witness.id in course.from_the_future:
        return False
    if course.latest_step is None:
        return True
    return witness.latest_step is not None and witness.latest_step.meets(course.latest_step)


def _joined(course: Course, witness: Witness) -> Course:
    unsteady = course.unsteady if witness.unsteady is None else witness.unsteady.merged(course.unsteady)
    return replace(
        course,
        since=witness.since,
        crept=course.crept + witness.crept,
        unsteady=unsteady,
        latest_step=course.latest_step or witness.latest_step,
    )


def go_on(course: Course, look: Look, witnesses: Sequence[Witness]) -> tuple[Course, list[Detected]]:
    """Take the next look."""
    detected = [
        *_database_step(course, look),
        *_redis_step(course, look),
        *_new_skew(course, look),
    ]
    if course.unsteady is not None and look.database - course.unsteady.high > UNSTEADY_FOR:
        course = replace(course, unsteady=None, latest_step=None)
    with_redis = course.last_with_redis if look.redis is None else look
    return replace(_judged(course, look, witnesses), last=look, last_with_redis=with_redis), detected


def _judged(course: Course, look: Look, witnesses: Sequence[Witness]) -> Course:
    offset = abs(course.anchor.offset(look))
    unexplained = max(0.0, offset - course.anchor.error_at(look.boot) - look.round_trip)
    is_new = look.boot - course.anchor.boot < ANCHOR_EVERY_SECONDS
    dispute = course.dispute
    if course.anchor.agrees(look) and (is_new or dispute is not None):
        return replace(course, dispute=None)
    if dispute is None and course.crept + unexplained < MARGIN_SECONDS:
        return replace(course, anchor=anchor_at(look), crept=course.crept + unexplained)
    if dispute is None or not dispute.candidate.agrees(look):
        return _disputed(course, look, witnesses)
    if look.boot - dispute.candidate.boot < SETTLED_AFTER_SECONDS:
        return course
    since = dispute.candidate.database
    return replace(course, anchor=anchor_at(look), since=since, era=course.era + 1, crept=0.0, dispute=None)


def _disputed(course: Course, look: Look, witnesses: Sequence[Witness]) -> Course:
    first, last = sorted((look.database, course.anchor.expected(look.boot)))
    unseen = timedelta(seconds=look.boot - course.last.boot)
    ids = frozenset(witness.id for witness in _from_the_future(look, witnesses))
    return replace(
        course,
        dispute=Dispute(course.anchor.offset(look), anchor_at(look)),
        unsteady=Step(first - unseen, last).merged(course.unsteady),
        latest_step=Step(first, last),
        from_the_future=course.from_the_future | ids,
    )


def _database_step(course: Course, look: Look) -> list[Detected]:
    known = 0.0 if course.dispute is None else course.dispute.offset
    moved = course.anchor.offset(look) - known
    if abs(moved) < RECORDED_FROM_SECONDS + course.anchor.error_at(look.boot) + look.round_trip:
        return []
    kind = Detection.DB_STEP_FORWARD if moved > 0 else Detection.DB_STEP_BACK
    return [Detected(kind, moved, "the database's clock against this host's boot clock")]


def _redis_step(course: Course, look: Look) -> list[Detected]:
    before = course.last_with_redis
    if look.redis is None or before is None or before.redis is None:
        return []
    passed = look.boot - before.boot
    moved = look.redis - before.redis - passed
    if abs(moved) < RECORDED_FROM_SECONDS + look.round_trip + before.round_trip + DRIFT * passed:
        return []
    return [Detected(Detection.REDIS_STEP, moved, "the clock of Redis against this host's boot clock")]


def _new_skew(course: Course, look: Look) -> list[Detected]:
    """See a wall clock that goes away from the database's bit by bit; steps of either are told elsewhere."""
    passed, before = look.boot - course.last.boot, course.last
    is_wall_steady = abs(look.wall - before.wall - passed) < RECORDED_FROM_SECONDS
    is_database_steady = abs((look.database - before.database).total_seconds() - passed) < RECORDED_FROM_SECONDS
    crossed = abs(_skew(before)) < RECORDED_FROM_SECONDS <= abs(_skew(look))
    if not (is_wall_steady and is_database_steady and crossed):
        return []
    return [Detected(Detection.HOST_SKEW, _skew(look), "the wall clock went away from the database's")]


def _skew(look: Look) -> float:
    return look.wall - look.database.timestamp()


@dataclass(frozen=True, slots=True)
class Sample:
    """What the watcher samples four times a second, all within some microseconds."""

    wall: float
    boot: float
    monotonic: float


def sampled(before: Sample, now: Sample) -> list[Detected]:
    """Tell what a clock did between two samples."""
    detected = []
    passed = now.boot - before.boot
    stepped = now.wall - before.wall - passed
    if abs(stepped) >= RECORDED_FROM_SECONDS:
        detected.append(Detected(Detection.WALL_STEP, stepped, "the wall clock against the boot clock"))
    slept = passed - (now.monotonic - before.monotonic)
    if slept >= RECORDED_FROM_SECONDS:
        detected.append(Detected(Detection.SUSPEND, slept, "the machine slept"))
    return detected
