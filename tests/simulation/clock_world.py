"""Worlds of clocks, at most one of them faulty, in which payments are opened, executed and judged.

True time runs in seconds from a world's beginning; the database's clock defines it as long as it is sound, since
deadlines live on it. Every other sound clock drifts against it by up to 100 ppm.
"""

import enum
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from payments.domain.clock import Judgement, Reading, Topology, judge
from payments.domain.course import Course, Look, Witness, begin, follow, go_on

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
WATCHED_BEFORE_SECONDS = 400.0  # A process that runs "for long" began so long before the opening.


class Fault(enum.StrEnum):
    """Which clock is faulty, and how."""

    NONE = "none"
    DATABASE = "database"  # It steps.
    DATABASE_FOR_A_WHILE = "database_for_a_while"  # It steps, and comes back.
    REDIS = "redis"
    WALL = "wall"  # Of one host.
    PAUSE = "pause"  # A host stands still: its boot clock and its wall clock miss the time.


class Place(enum.StrEnum):
    """Where the executor runs, seen from the opener."""

    SAME_HOST = "same_host"
    OTHER_HOST = "other_host"
    REBOOTED_HOST = "rebooted_host"


@dataclass
class Clock:
    """A clock that drifts, and may step."""

    base: float
    rate: float = 1.0
    steps: list[tuple[float, float]] = field(default_factory=list)

    def at(self, t: float) -> float:
        return self.base + self.rate * t + sum(size for when, size in self.steps if when <= t)


@dataclass
class Host:
    """A machine: its wall clock, and one boot clock a boot."""

    name: str
    wall: Clock
    boot: Clock
    boots: list[float]  # When it booted.

    def domain(self, t: float) -> str:
        return f"{self.name}/{sum(at <= t for at in self.boots)}"

    def boot_seconds(self, t: float) -> float:
        return self.boot.at(t) - self.boot.at(max(at for at in self.boots if at <= t))


@dataclass
class Process:
    """A process that watches, and what it knows."""

    number: int
    host: Host
    started: float
    course: Course | None = None


class World:
    """One generated case."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.place = rng.choice(list(Place))
        self.topology = rng.choice((Topology(), Topology(is_host_apart=True, is_redis_apart=True)))
        self.window = rng.choice((300.0, 300.0, 900.0, 3600.0))
        self.opened = 500.0
        self.database = Clock(0.0)
        drift = [1 + rng.uniform(-100e-6, 100e-6) for _ in range(6)]
        self.redis = Clock(rng.uniform(-3, 3), drift[0])
        self.web = Host("web", Clock(rng.uniform(-3, 3), drift[1]), Clock(9e3, drift[2]), [-1e5])
        self.work = self.web
        if self.place is Place.OTHER_HOST:
            self.work = Host("work", Clock(rng.uniform(-3, 3), drift[3]), Clock(5e6, drift[4]), [-2e5])
        self.fault, self.faulty_at = self._break_one()
        self.executor_began = self._executor_began()
        self.processes = self._processes()
        self.witnesses: dict[UUID, Witness] = {}
        self.stamp: Reading | None = None

    def _break_one(self) -> tuple[Fault, float]:
        rng, faults = self.rng, list(Fault)
        if not self.topology.is_host_apart:
            faults = [Fault.NONE, Fault.DATABASE, Fault.DATABASE_FOR_A_WHILE, Fault.WALL]
        fault = rng.choice(faults)
        at = self.opened + rng.choice((rng.uniform(-450, 0), rng.uniform(0, self.window), rng.uniform(-6, 6)))
        size = rng.choice((-1, 1)) * rng.choice((0.05, 0.5, 0.9, 1.5, 2, 60, 600, 3600, 86400)) * rng.uniform(0.9, 1.1)
        back = at + rng.choice((3, 30, 100, 500)) * rng.uniform(0.5, 1.5)
        steps = [(at, size)]
        match fault:
            case Fault.DATABASE:
                self.database.steps = steps
            case Fault.DATABASE_FOR_A_WHILE:
                self.database.steps = [*steps, (back, -size)]
            case Fault.NONE:
                pass
            case Fault.REDIS:
                self.redis.steps = steps
            case Fault.WALL:
                rng.choice((self.web, self.work)).wall.steps = steps
            case Fault.PAUSE:
                host = rng.choice((self.web, self.work))
                host.boot.steps = host.wall.steps = [(at, -abs(size))]
                if rng.random() < 0.3:
                    host.wall.steps = [(at, -abs(size)), (back, abs(size))]
        return fault, at

    def _executor_began(self) -> float:
        began = self.rng.choice(
            (self.opened - WATCHED_BEFORE_SECONDS, self.opened + self.rng.uniform(-30, self.window * 1.2))
        )
        if self.place is Place.REBOOTED_HOST:
            began = self.opened + self.rng.uniform(1, self.window * 1.2)
            self.work.boots.append(began - self.rng.uniform(0.1, 0.9))
        return began

    def _processes(self) -> list[Process]:
        rng, long_ago = self.rng, self.opened - WATCHED_BEFORE_SECONDS
        opener = Process(0, self.web, rng.choice((long_ago, long_ago, self.opened - rng.uniform(0.1, 60))))
        processes = [opener, Process(1, self.work, self.executor_began)]
        if rng.random() < 0.5:  # A third that has seen it all, on a host of its own or on the web host.
            other = Host("third", Clock(0.0), Clock(1e6, 1 + rng.uniform(-1e-4, 1e-4)), [-3e5])
            is_gone = self.place is Place.REBOOTED_HOST
            processes.append(Process(2, other if is_gone else rng.choice((self.web, other)), long_ago))
        return processes

    def look_times(self, process: Process, *, until: float) -> Iterator[float]:
        """Tell when a process looks: at its start, now and then, and a little after anything that may have happened."""
        rng = self.rng
        times = {process.started, until}
        step = max(60.0, (until - process.started) / 6)
        t = process.started + rng.uniform(0, step)
        while t < until:
            times.add(t)
            t += rng.uniform(0.3, 1.0) * step
        events = (self.opened, self.faulty_at, *(when for when, _ in self.database.steps), self.executor_began)
        for event in events:
            after = event + rng.uniform(0, 5)
            times |= {after, after + rng.uniform(1, 5), after + 70}
        times.discard(until)
        # A process ends with its boot.
        ends = min((at for at in process.host.boots if at > process.started), default=float("inf"))
        return iter(sorted(t for t in times if process.started <= t < min(until, ends)))

    def look(self, process: Process, t: float) -> None:
        round_trip = self.rng.uniform(0.0002, 0.01)
        look = Look(
            database=self.database_at(t + self.rng.uniform(0, round_trip)),
            boot=process.host.boot_seconds(t),
            round_trip=round_trip,
            wall=process.host.wall.at(t) + EPOCH.timestamp(),
            redis=self.redis.at(t) + EPOCH.timestamp(),
        )
        own = UUID(int=process.number * 1000 + (0 if process.course is None else process.course.era))
        others = [witness for witness in self.witnesses.values() if witness.id != own]
        if process.course is None:
            course, _ = begin(
                look,
                others,
                domain=process.host.domain(t),
                host=process.host.name,
                latest_stamp=None if self.stamp is None else self.stamp.now,
            )
        else:
            course, _ = go_on(process.course, look, others)
        process.course = course = follow(course, others)
        if course.attests():
            own = UUID(int=process.number * 1000 + course.era)
            self.witnesses[own] = course.witness(id=own, domain=process.host.domain(t), host=process.host.name)

    def database_at(self, t: float) -> datetime:
        return EPOCH + timedelta(seconds=self.database.at(t))

    def read(self, process: Process, t: float) -> tuple[Reading, float]:
        """Read the clocks under a lock; returns the true time at which the database was read, too."""
        round_trip = self.rng.uniform(0.0002, 0.01)
        read_at = t + self.rng.uniform(0, round_trip)
        boot = process.host.boot_seconds(t)
        reading = Reading(
            now=self.database_at(read_at),
            boottime_seconds=boot,
            round_trip=round_trip,
            wall=process.host.wall.at(t) + EPOCH.timestamp(),
            domain=process.host.domain(t),
            host=process.host.name,
        )
        course = process.course
        if course is None:
            return reading, read_at
        return course.added_to(reading), read_at


@dataclass(frozen=True)
class Case:
    """A judgement, and the truth about it."""

    world: World
    stamp: Reading
    reading: Reading
    until: datetime
    true_age: float
    judgement: Judgement

    @property
    def is_watched(self) -> bool:
        """The same boot stamped and judges, or both processes watched from long before the opening on."""
        began = max(process.started for process in self.world.processes[:2])
        return self.world.place is Place.SAME_HOST or began <= self.world.opened - WATCHED_BEFORE_SECONDS

    @property
    def errors(self) -> float:
        """By how much sound readings may be off."""
        return 2 * (self.stamp.round_trip + self.reading.round_trip) + 0.0005 * self.world.window


def cases(seed: int) -> Iterator[Case]:
    """Generate a world and judge its payment at some moments, the deadline's neighbourhood above all."""
    rng = random.Random(seed)  # noqa: S311 - not a secret
    world = World(rng)
    opener, executor = world.processes[:2]
    opened_at = 0.0
    moments = sorted(
        max(world.opened + 0.01, world.executor_began + 0.01, moment)
        for moment in (
            world.opened + rng.uniform(0, 2 * world.window),
            world.opened + world.window + rng.choice((-1, 1)) * rng.expovariate(1),
            world.faulty_at + rng.expovariate(0.3),
        )
    )
    timeline = sorted(
        [(t, 0, p) for p in world.processes for t in world.look_times(p, until=moments[-1] + 1)]
        + [(world.opened, 1, opener)]
        + [(moment, 2, executor) for moment in moments],
        key=lambda event: (event[0], event[1]),
    )
    for t, what, process in timeline:
        if what == 0:
            world.look(process, t)
        elif what == 1:
            reading, opened_at = world.read(process, t)
            world.stamp = Reading.from_stamp(reading.as_stamp())
        elif (stamp := world.stamp) is not None:
            reading, read_at = world.read(process, t)
            until = stamp.now + timedelta(seconds=world.window)
            yield Case(
                world=world,
                stamp=stamp,
                reading=reading,
                until=until,
                true_age=read_at - opened_at,
                judgement=judge(stamp=stamp, reading=reading, until=until, topology=world.topology),
            )
