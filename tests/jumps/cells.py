"""A cell: one clock, one distance, one host. What happens in it, and what must have come of it."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from payments.domain.clock import Detection
from tests.contract.sandbox_server import wait_until
from tests.jumps.books import Row, names
from tests.jumps.world import Host, World

SOURCES = ("web", "worker", "database", "redis", "all")
SIZES = (2, -2, 60, -60, 3600, -3600)
EVERY_CLOCK = ("web", "worker", "database", "redis")

LATE_SECONDS = 0.3  # What is left of a window that closes before its job is executed.
EDGE_SECONDS = 3.0  # What is left of one on the edge when the jump comes; a machine takes its time to boot.
EDGE_AFTER_BOOT_SECONDS = 6.0
EARLY_SECONDS = 1.2  # MARGIN_SECONDS and what the clocks of a window of 15 minutes may drift.
AFTER_SECONDS = 1.5  # How long the jump lasts beyond the deadline: more than the second between two looks.

DATABASE_STEPS = {Detection.DB_STEP_FORWARD, Detection.DB_STEP_BACK}


@dataclass(frozen=True, slots=True)
class Cell:
    source: str  # One of SOURCES; "none" is a run in which nothing jumps.
    seconds: int
    host: Host

    def __str__(self) -> str:
        return f"{self.source}{self.seconds:+d}-{self.host}"

    @property
    def clocks(self) -> tuple[str, ...]:
        return {"all": EVERY_CLOCK, "none": ()}.get(self.source, (self.source,))

    @property
    def is_in_third(self) -> bool:
        """CI's third has every source with every size, and each of both on every host."""
        if self.source == "none":
            return True
        return (SOURCES.index(self.source) + SIZES.index(self.seconds) + list(Host).index(self.host)) % 3 == 0


CELLS = [Cell("none", 0, host) for host in Host] + [
    Cell(source, seconds, host) for host in Host for source in SOURCES for seconds in SIZES
]


@dataclass(slots=True)
class Ran:
    """What came of a cell, by the test's own clock, the rows and the gateway's books."""

    deadlines: dict[str, float] = field(default_factory=dict)  # On the monotonic clock.
    states: dict[str, str] = field(default_factory=dict)
    plenty: list[str] = field(default_factory=list)
    edge_submitted: str = ""
    was_held: bool = False  # The one that was submitted.
    seen: dict[str, float] = field(default_factory=dict)
    charges: dict[str, list[float]] = field(default_factory=dict)
    events: list[Row] = field(default_factory=list)
    web: list[str] = field(default_factory=list)


def run(cell: Cell, world: World) -> Ran:
    """Submit before and after the jump, let a deadline pass during it, set the clock right, and wait for the end."""
    world.begin()
    before, after, late, submitted, opened = attempts = [world.open() for _ in range(5)]
    everything = [id_ for id_, _ in attempts]
    ran = Ran(plenty=[before[0], after[0]], edge_submitted=submitted[0], web=world.web_processes)
    world.halt_worker()
    try:
        for attempt in (before, late, submitted):
            world.submit(attempt)
        seconds_left = EDGE_AFTER_BOOT_SECONDS if world.host is Host.REBOOTED else EDGE_SECONDS
        edge = world.books.age([submitted[0], opened[0]], seconds_left=seconds_left)
        too_late = world.books.age([late[0]], seconds_left=LATE_SECONDS)
        ran.deadlines = {submitted[0]: edge, opened[0]: edge, late[0]: too_late}
        world.shift(cell.clocks, seconds=cell.seconds)
        wait_until(lambda: time.monotonic() > too_late + LATE_SECONDS, what="a window closed while its job waited")
        world.continue_worker()
        world.submit(after)
        world.watch_until(max(edge, time.monotonic()) + AFTER_SECONDS, everything)
    finally:
        world.shift(cell.clocks, seconds=0)
    if world.host is Host.REBOOTED and "database" in cell.clocks:
        # Who began in the middle of a jump believes the clock that it found until the true one has run for a minute.
        world.boot_worker()
    world.watch_to_the_end(everything)
    wait_until(
        lambda: not _missing(cell, world.books.events(), web=ran.web),
        what=f"every step is written down: {names(world.books.events())}",
    )
    ran.states, ran.seen, ran.events = world.states, dict(world.books.seen), world.books.events()
    ran.charges = {id_: world.books.charges_begun(id_) for id_ in everything}
    ran.was_held = world.books.was_held(ran.edge_submitted)
    return ran


def wrongs(cell: Cell, ran: Ran) -> Iterator[str]:
    """Say everything that is not as it must be."""
    yield from _wrong_acts(ran)
    yield from _wrong_ends(cell, ran)
    yield from _missing(cell, ran.events, web=ran.web)
    foreign = [event for event in ran.events if event["kind"] not in _allowed(cell)]
    if foreign:
        yield f"these do not belong: {names(foreign)}"


def _wrong_acts(ran: Ran) -> Iterator[str]:
    for id_, deadline in ran.deadlines.items():
        if any(arrived >= deadline for arrived in ran.charges[id_]):
            yield f"{id_} was charged {max(ran.charges[id_]) - deadline:.3f} s after its deadline"
        if ran.states[id_] == "expired" and ran.seen[id_] < deadline - EARLY_SECONDS:
            yield f"{id_} had expired {deadline - ran.seen[id_]:.3f} s before its deadline"


def _wrong_ends(cell: Cell, ran: Ran) -> Iterator[str]:
    for id_, state in ran.states.items():
        if state not in _ends(id_, ran):
            yield f"{id_} is {state}, not {_ends(id_, ran)}"
        if len(ran.charges[id_]) != (state == "succeeded"):
            yield f"{id_} is {state}, and {len(ran.charges[id_])} charges were begun"
    if cell.host is not Host.REBOOTED and ran.states[ran.edge_submitted] == "expired":
        # A worker was there in time.
        if "database" not in cell.clocks:
            yield "what was submitted in time was not paid, although the database's clock was right"
        if not ran.was_held:
            yield "what was submitted in time expired without having been held"


def _ends(id_: str, ran: Ran) -> set[str]:
    if id_ in ran.plenty:
        return {"succeeded"}
    return {"succeeded", "expired"} if id_ == ran.edge_submitted else {"expired"}


def _missing(cell: Cell, events: list[Row], *, web: list[str]) -> list[str]:
    """Each process saw each clock that it looks at jump and come back; who booted in between, come back only."""
    missing = []
    for clock, is_web in itertools.product(cell.clocks, (True, False)):
        is_new = cell.host is Host.REBOOTED and not is_web
        if clock in {"web", "worker"} and is_web is not (clock == "web"):
            continue  # Nobody sees the wall clock of another host.
        if is_new and "database" in cell.clocks:
            continue  # It was booted once more.
        for seconds in (-cell.seconds,) if is_new else (cell.seconds, -cell.seconds):
            told = [event for event in events if (event["process"] in web) is is_web]
            if not any(_is_step(event, clock, seconds=seconds) for event in told):
                missing.append(f"{'web' if is_web else 'worker'} did not tell: {clock} moved by {seconds} s")
    return missing


def _is_step(event: Row, clock: str, *, seconds: int) -> bool:
    kind = {
        "web": Detection.WALL_STEP,
        "worker": Detection.WALL_STEP,
        "redis": Detection.REDIS_STEP,
        "database": Detection.DB_STEP_FORWARD if seconds > 0 else Detection.DB_STEP_BACK,
    }[clock]
    return event["kind"] == kind and event["attempt_id"] is None and abs(event["seconds"] - seconds) < 1


def _allowed(cell: Cell) -> set[Detection]:
    kinds: set[Detection] = set()
    if {"web", "worker"} & set(cell.clocks):
        kinds |= {Detection.WALL_STEP, Detection.ENQUEUE_SKEW}
    if "redis" in cell.clocks:
        kinds |= {Detection.REDIS_STEP}
    if "database" in cell.clocks:
        kinds |= {*DATABASE_STEPS, Detection.NO_QUORUM}
        if cell.host is not Host.SAME:
            kinds |= {Detection.ENQUEUE_SKEW}  # Between two hosts the database's clock tells what passed.
    if cell.host is Host.REBOOTED:
        # Until it has found those that watched before, it knows nothing of the time before its start.
        kinds |= {Detection.DOMAIN_CHANGE, Detection.NO_QUORUM}
        if {"worker", "database"} & set(cell.clocks):
            kinds |= {Detection.HOST_SKEW}
    return kinds
