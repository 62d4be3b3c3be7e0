"""A worker stands still past its lease while another one finds out, and then goes on as if nothing had happened."""

import json
from collections.abc import Iterator
from signal import SIGCONT

import pytest

from payments.models import GatewayCall, PaymentAttempt
from tests.contract.sandbox_server import wait_until
from tests.crash.verdict import assert_clean
from tests.crash.world import REST_SECONDS, TABLES, Failpoint, World
from tests.system import ManagedProcess

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True, available_apps=TABLES)]

COUNT = 10


class Zombies:
    """The first worker, which stands still with so many payments, and a second one, which may do so too."""

    def __init__(self, world: World) -> None:
        self.world, self.first = world, world.worker
        self.failpoint = Failpoint(world.system.folder / "second")
        self.failpoint.disarm()
        # It is started when the first one stands still: before, it would take some of the payments.
        self.second = world.system.make_worker("second", env=self.failpoint.env)
        self.attempts: list[PaymentAttempt] = []
        self.before = 0

    def stop_first(self, point: str) -> None:
        self.world.failpoint.arm(point, "stop", threads=COUNT)
        self.attempts = self.world.submit(COUNT)
        self.world.failpoint.wait(point)
        self.before = len(self.records(self.first))

    def wake_first(self) -> list[tuple[object, object, object]]:
        """Let it go on; gives what it records then: the outcome, whether its claim still holds, and the step."""
        self.first.signal(SIGCONT)
        wait_until(
            lambda: len(self.records(self.first)) == self.before + COUNT,
            what="the first worker has recorded what it had",
            deadline_seconds=30,
        )
        late = self.records(self.first)[self.before :]
        assert {event["payment_id"] for event in late} == {attempt.public_id for attempt in self.attempts}
        return sorted({(event["outcome"], event["is_current"], event["step"]) for event in late})

    @property
    def names(self) -> set[str]:
        return {attempt.public_id for attempt in self.attempts}

    def records(self, process: ManagedProcess) -> list[dict[str, str]]:
        lines = [line for line in process.log.splitlines() if '"event": "call_recorded"' in line]
        return [event for event in map(json.loads, lines) if event["payment_id"] in self.names]

    def asked_by_second(self) -> set[str]:
        return {event["payment_id"] for event in self.records(self.second) if event["operation"] == "look_up"}

    def calls(self, *, operation: str, fence: int) -> list[str]:
        rows = GatewayCall.objects.filter(attempt__in=self.attempts, operation=operation, fence=fence)
        return list(rows.values_list("outcome", flat=True))


@pytest.fixture
def zombies(world: World) -> Iterator[Zombies]:
    zombies = Zombies(world)
    yield zombies
    if zombies.second.is_running:
        zombies.second.signal(SIGCONT)
    zombies.second.stop()
    zombies.first.signal(SIGCONT)


@pytest.mark.parametrize(
    ("point", "seen", "outcome"),
    [
        ("authorize.before_send", "NeverSent", "never_sent"),
        pytest.param("authorize.answered", "Authorized", "authorized", marks=pytest.mark.long),
        ("capture.answered", "Captured", "captured"),
    ],
)
def test_a_worker_that_wakes_when_all_is_over_changes_nothing(
    world: World, zombies: Zombies, point: str, seen: str, outcome: str
) -> None:
    zombies.stop_first(point)
    zombies.second.start()
    world.wait_for_rest(zombies.attempts)
    assert world.states(zombies.attempts) == ["succeeded"] * COUNT
    # The row is there before its line in the log.
    wait_until(lambda: zombies.asked_by_second() == zombies.names, what="the second worker has told of all")
    found, ledger = world.facts(), world.sandbox.ledger()

    assert zombies.wake_first() == [(seen, False, "Leave")]
    facts = world.facts()
    assert world.sandbox.ledger() == ledger  # Not even a request.
    assert (facts.attempts, facts.history, facts.compensations) == (found.attempts, found.history, [])
    assert zombies.calls(operation=point.partition(".")[0], fence=1) == [outcome] * COUNT  # And yet it is on record.
    assert_clean(facts)
    assert world.supervisor.deaths == []


def test_a_worker_that_stands_still_inside_its_transactions_does_not_keep_their_locks(
    world: World, zombies: Zombies
) -> None:
    zombies.stop_first("claim.written")  # It has the rows of all these orders; only the server can take them back.
    zombies.second.start()
    world.wait_for_rest(zombies.attempts)
    assert world.states(zombies.attempts) == ["succeeded"] * COUNT
    assert {attempt["fence"] for attempt in world.facts().attempts} == {1}  # Nothing of the first claims is left.
    ledger = world.sandbox.ledger()

    zombies.first.signal(SIGCONT)
    wait_until(
        lambda: zombies.first.log.count("idle-in-transaction timeout") >= COUNT,
        what="the first worker has heard of it",
        deadline_seconds=30,
    )
    assert world.sandbox.ledger()["charges"] == ledger["charges"]
    assert_clean(world.facts())
    assert world.supervisor.deaths == []


@pytest.mark.long
def test_a_worker_that_wakes_while_another_asks_changes_nothing(world: World, zombies: Zombies) -> None:
    zombies.stop_first("authorize.before_send")
    zombies.failpoint.arm("look_up.answered", "stop", threads=COUNT)
    zombies.second.start()
    zombies.failpoint.wait("look_up.answered")
    found = world.facts()
    assert {(attempt["state"], attempt["fence"]) for attempt in found.attempts} == {("in_doubt", 2)}

    assert zombies.wake_first() == [("NeverSent", False, "Leave")]
    assert (world.facts().attempts, world.facts().history) == (found.attempts, found.history)
    zombies.second.signal(SIGCONT)
    world.wait_for_rest(zombies.attempts)
    assert world.states(zombies.attempts) == ["succeeded"] * COUNT
    assert_clean(world.facts())


def test_the_success_that_a_late_worker_brings_is_not_lost(world: World, zombies: Zombies) -> None:
    zombies.stop_first("capture.answered")
    world.sandbox.behave("unavailable", operation="lookup")  # Nobody else can find out.
    zombies.second.start()
    wait_until(
        lambda: zombies.calls(operation="look_up", fence=2) == ["in_doubt"] * COUNT,
        what="the second worker has asked in vain",
        deadline_seconds=REST_SECONDS,
    )
    assert world.states(zombies.attempts) == ["in_doubt"] * COUNT

    assert zombies.wake_first() == [("Captured", False, "Succeed")]
    assert world.states(zombies.attempts) == ["succeeded"] * COUNT
    facts = world.facts()
    assert {call["outcome"] for call in facts.calls if call["operation"] == "look_up"} <= {"in_doubt", ""}
    assert_clean(facts)
