"""The clock guard's judge: is a window open, over, or not to be told? Pure: readings come in, a judgement goes out.

A clock may jump, and whoever trusts one clock charges late or expires what lives. So every reading is kept with the
row and compared with a later one: what is compared are *ages*, so that what a clock is wrong by all the time cancels
out. Three witnesses tell how old a window is:

- the **database**: its wall clock, then and now. It stamps, and nothing is charged against its word;
- this **host**: its boot clock, then and now, if it was this boot that stamped. No operator sets a boot clock, but a
  virtual machine that was paused has missed time: it is never too old, and may be too young. Where another host or
  another boot stamped, it is what the process expects the database's clock to say, from an anchor and the boot clock
  since (payments/domain/course.py), as far as that was watched back to the opening; or, on a host that shares no
  kernel with the database, its wall clock;
- **Redis**: its wall clock as of the last look, where it is declared to run on another kernel.

What holds while at most one of the independent clocks is faulty: nothing is charged at or after its deadline, and
nothing is refused earlier than `MARGIN_SECONDS` and the errors of the readings before it. docs/clocks.md tells why.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

RECORDED_FROM_SECONDS = 0.1
MARGIN_SECONDS = 1.0  # Clocks that differ by less tell the same; NTP keeps good ones within some milliseconds.

# How far two clocks that nobody set may drift apart: NTP slews by up to 500 ppm, an unwatched crystal by 100. The
# kernel's slew moves the boot clock and the wall clock alike.
DRIFT = 200e-6


class Ruling(enum.StrEnum):
    """What may be done about a window."""

    CHARGE = "charge"  # It is open by every witness that counts.
    EXPIRE = "expire"  # It is over.
    WAIT = "wait"  # Too close to call.
    HOLD = "hold"  # The witnesses contradict each other, or there is only one.


class Detection(enum.StrEnum):
    """What the guard has seen a clock do."""

    WALL_STEP = "wall_step"  # This process's wall clock moved against its boot clock.
    HOST_SKEW = "host_skew"  # This host's wall clock and the database's tell different times.
    ENQUEUE_SKEW = "enqueue_skew"  # Between enqueue and execution the wall clocks counted another time than passed.
    DB_STEP_FORWARD = "db_step_forward"  # The database's clock went ahead of what had passed.
    DB_STEP_BACK = "db_step_back"
    REDIS_STEP = "redis_step"
    DOMAIN_CHANGE = "domain_change"  # This host has booted anew.
    SUSPEND = "suspend"  # This machine slept, or its process was stopped.
    STALE_CHECK = "stale_check"  # Too long from the look at the clock to the call: it was not made.
    NO_QUORUM = "no_quorum"  # A window that the witnesses do not agree about: its attempt is held.


@dataclass(frozen=True, slots=True)
class Step:
    """Where a clock stepped: the earlier and the later of its times before and after.

    What it said between them may have been said before the step, or after it.
    """

    low: datetime
    high: datetime

    @classmethod
    def parse(cls, texts: Sequence[str] | None) -> "Step | None":
        """Read a step back from the two instants that it was stored as; None when there is none."""
        return None if texts is None else cls(*(datetime.fromisoformat(text) for text in texts))

    def as_texts(self) -> list[str]:
        """Give what is stored."""
        return [self.low.isoformat(), self.high.isoformat()]

    def merged(self, other: "Step | None") -> "Step":
        """Give one step that holds both."""
        return self if other is None else Step(min(self.low, other.low), max(self.high, other.high))

    def meets(self, other: "Step") -> bool:
        """Tell whether two processes may have seen the same one."""
        return self.low <= other.high and other.low <= self.high


# Five of each are made for every charge; a frozen dataclass takes ten times as long to make as a tuple.


class Reading(NamedTuple):
    """What one process reads of its clocks at one moment, under the lock; stored, it is a stamp.

    The database's clock was read within `round_trip` seconds after the boot clock.
    """

    now: datetime  # The database's, timezone-aware.
    boottime_seconds: float
    round_trip: float
    wall: float  # Seconds since 1970.
    domain: str  # Names the boot, or the process where no boot clock is shared: boot clocks compare within it only.
    host: str
    expected: datetime | None = None  # What the database should say, by this process's anchor.
    expected_error: float = 0.0
    watched_since: datetime | None = None  # From when on the database's clock was seen to run true.
    unsteady: Step | None = None  # Where it lately did not.
    redis: float | None = None  # Seconds since 1970, extrapolated from the last look.
    is_doubtful: bool = False  # Of a stamp: the database's clock was not to be trusted when it was made.

    def as_stamp(self) -> dict[str, Any]:
        """Give what is kept on the row, as JSON."""
        stamp: dict[str, Any] = {
            "database": self.now.isoformat(),
            "boot": round(self.boottime_seconds, 6),
            "round_trip": round(self.round_trip, 6),
            "wall": round(self.wall, 6),
            "domain": self.domain,
            "host": self.host,
        }
        if self.expected is not None and self.watched_since is not None:
            stamp["expected"] = self.expected.isoformat()
            stamp["watched_since"] = self.watched_since.isoformat()
        if self.redis is not None:
            stamp["redis"] = round(self.redis, 6)
        if self._is_off_course():
            stamp["doubtful"] = True
        return stamp

    def _is_off_course(self) -> bool:
        if self.unsteady is not None and self.unsteady.low <= self.now <= self.unsteady.high:
            return True
        return self.expected is not None and abs((self.now - self.expected).total_seconds()) >= MARGIN_SECONDS

    @classmethod
    def from_stamp(cls, stamp: dict[str, Any]) -> "Reading":
        """Read a stamp back.

        :raises KeyError: for one that was never a stamp.
        """
        return cls(
            now=datetime.fromisoformat(stamp["database"]),
            boottime_seconds=stamp["boot"],
            round_trip=stamp["round_trip"],
            wall=stamp["wall"],
            domain=stamp["domain"],
            host=stamp["host"],
            expected=_instant(stamp.get("expected")),
            watched_since=_instant(stamp.get("watched_since")),
            redis=stamp.get("redis"),
            is_doubtful=stamp.get("doubtful", False),
        )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


@dataclass(frozen=True, slots=True)
class Topology:
    """Which clocks are independent. By default everything may run on one machine, and has one wall clock."""

    is_host_apart: bool = False  # The workers' and web hosts share no kernel with the database.
    is_redis_apart: bool = False  # Redis shares no kernel with the database or with the workers.


class Age(NamedTuple):
    """How much time passed since a stamp, by one witness: somewhere from `low` to `high`, in seconds."""

    source: str
    low: float
    high: float

    def gap_to(self, other: "Age") -> float:
        """How far two ages are apart; 0 when they overlap."""
        return max(0.0, self.low - other.high, other.low - self.high)


class Judgement(NamedTuple):
    """A ruling, and what it rests on."""

    ruling: Ruling
    why: str
    window: float
    ages: tuple[Age, ...]  # The database's first.
    at_least: float | None  # What boot clocks prove to have passed.

    @property
    def disagreement(self) -> float:
        """How much older the window is by the database than by its nearest other witness, in seconds; 0 if none."""
        database, *others = self.ages
        gaps = [other.gap_to(database) * (1 if database.low > other.high else -1) for other in others]
        return min(gaps, key=abs, default=0.0)

    def as_evidence(self) -> dict[str, Any]:
        """Give what the history and the events show."""
        return {
            "ruling": self.ruling.value,
            "why": self.why,
            "window": round(self.window, 3),
            "ages": {age.source: [round(age.low, 3), round(age.high, 3)] for age in self.ages},
            **({} if self.at_least is None else {"at_least": round(self.at_least, 3)}),
        }


def judge(*, stamp: Reading, reading: Reading, until: datetime, topology: Topology) -> Judgement:
    """Judge at `reading` whether a window that was opened at `stamp` and closes at `until` is over.

    `until` is on the database's clock, like `stamp.now`.
    """
    window = (until - stamp.now).total_seconds()
    ages = ages_between(stamp, reading, topology=topology)
    at_least = proven_age(stamp, reading)
    margin = MARGIN_SECONDS + 2 * (DRIFT * window + stamp.round_trip + reading.round_trip)
    ruling, why = _decide(window, ages, at_least=at_least, margin=margin)
    return Judgement(ruling=ruling, why=why, window=window, ages=ages, at_least=at_least)


def _decide(window: float, ages: tuple[Age, ...], *, at_least: float | None, margin: float) -> tuple[Ruling, str]:
    database = ages[0]
    if at_least is not None and at_least >= window:
        return Ruling.EXPIRE, "the boot clock proves that the window is over"
    if len(ages) == 1:
        return Ruling.HOLD, "nothing but the database tells how much time passed"
    counted = _without_outlier(ages)
    # The database stamps what an auditor reads later, so outvoted or not: nothing is charged against its word, nor
    # while it says that the window has not been opened yet.
    is_possible = database.high > -MARGIN_SECONDS
    if is_possible and all(age.high < window for age in (*counted, database)):
        return Ruling.CHARGE, "the window is open"
    if all(age.low >= window for age in counted):
        return Ruling.EXPIRE, "the window is over"
    if database in counted and database.low >= window and all(age.low >= window - margin for age in counted):
        return Ruling.EXPIRE, "the window is over"
    if all(age.gap_to(other) <= MARGIN_SECONDS for age in ages for other in ages):
        return Ruling.WAIT, "too close to the deadline to tell"
    return Ruling.HOLD, "the clocks contradict each other"


def _without_outlier(ages: tuple[Age, ...]) -> tuple[Age, ...]:
    """Leave out the one witness that a majority of agreeing ones outvotes; with two there is no majority."""
    if len(ages) < 3:  # noqa: PLR2004 - the smallest majority
        return ages
    for outlier in ages:
        rest = tuple(age for age in ages if age is not outlier)
        agree = all(age.gap_to(other) == 0 for age in rest for other in rest)
        if agree and all(outlier.gap_to(age) > 0 for age in rest):
            return rest
    return ages


def ages_between(stamp: Reading, reading: Reading, *, topology: Topology) -> tuple[Age, ...]:
    """Tell how much time passed from `stamp` to `reading`, by each independent witness; the database comes first."""
    by_database = (reading.now - stamp.now).total_seconds()
    database = Age("database", by_database, by_database)
    ages: list[Age | None] = [database, _by_host(stamp, reading, topology=topology)]
    if topology.is_redis_apart and stamp.redis is not None and reading.redis is not None:
        error = stamp.round_trip + reading.round_trip + MARGIN_SECONDS / 10
        ages.append(_around("redis", reading.redis - stamp.redis, error=error))
    return tuple(age for age in ages if age is not None)


def _by_host(stamp: Reading, reading: Reading, *, topology: Topology) -> Age | None:
    error = stamp.round_trip + reading.round_trip
    if stamp.domain == reading.domain:
        passed = reading.boottime_seconds - stamp.boottime_seconds
        # The database was read within a round trip after each boot clock.
        return Age("boot", passed - stamp.round_trip - DRIFT * passed, passed + reading.round_trip + DRIFT * passed)
    if reading.expected is not None and stamp.expected is not None and _is_one_course(stamp, reading):
        error += reading.expected_error
        to_stamp = (reading.expected - stamp.now).total_seconds()
        to_its_anchor = (reading.expected - stamp.expected).total_seconds()
        low, high = sorted((to_stamp, to_its_anchor))
        drift = DRIFT * max(0.0, high)
        return Age("anchor", low - error - drift, high + error + drift)
    if topology.is_host_apart and stamp.host == reading.host:
        return _around("wall", reading.wall - stamp.wall, error=error)
    return None


def _is_one_course(stamp: Reading, reading: Reading) -> bool:
    """Tell whether both processes watched the same course of the database's clock, from before the stamp on.

    Who began to watch after a step, or in the middle of one, takes what it finds for the truth.
    """
    if reading.watched_since is None or stamp.watched_since is None or reading.watched_since > stamp.now:
        return False
    step = reading.unsteady
    if step is None or stamp.watched_since == reading.watched_since:
        return True
    return stamp.watched_since < step.low and stamp.now > step.high


def _around(source: str, age: float, *, error: float) -> Age:
    error += DRIFT * max(0.0, age)
    return Age(source, age - error, age + error)


def proven_age(stamp: Reading, reading: Reading) -> float | None:
    """Give what has passed at the least since `stamp`; None when no boot clock tells.

    A boot clock may miss time, and never makes any up. If it did not see the stamp being made, it counts from where
    this process began to watch the database's clock, if the stamp is older than that.
    """
    if stamp.domain == reading.domain:
        passed = reading.boottime_seconds - stamp.boottime_seconds
        return passed * (1 - DRIFT) - stamp.round_trip
    since = reading.watched_since
    if since is None or reading.expected is None or stamp.now > since or stamp.is_doubtful:
        return None
    if reading.unsteady is not None and stamp.now >= reading.unsteady.low:
        return None  # It may be from the other side of the step.
    watched = (reading.expected - since).total_seconds()
    steady = abs((reading.now - reading.expected).total_seconds()) < MARGIN_SECONDS
    return watched * (1 - DRIFT) - reading.expected_error if steady else None
