"""A gateway that misbehaves for as long as it can, with thirty payments at once: each is charged once."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

import pytest

from payments.models import HistoryEntry
from tests.contract.sandbox_server import wait_until
from tests.crash.facts import Facts, Row
from tests.crash.verdict import assert_clean, by
from tests.crash.world import TABLES, World

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True, available_apps=TABLES)]

COUNT = 30


@dataclass(frozen=True)
class Fault:
    """How the gateway answers whatever would move money, and what our side may call it."""

    behaviour: str
    called: str  # The doubt, or for what was never sent the reason to try again.
    lasts: bool = True  # Or it ends when it has struck everybody: nobody could ever pay otherwise.
    forgets_keys: bool = False

    def __str__(self) -> str:
        return f"{self.behaviour}-and-forgets-keys" if self.forgets_keys else self.behaviour


DOUBTS = [
    Fault("hang_after", called="gateway_timeout"),
    Fault("slow_drip", called="gateway_timeout"),
    Fault("slow:5", called="gateway_timeout"),  # Executed when everybody has left, and has asked and repeated it.
    Fault("reset_after", called="gateway_error"),
    Fault("reset_after", called="gateway_error", forgets_keys=True),
    Fault("error_after", called="gateway_error"),
    Fault("garbage", called="gateway_error"),
    Fault("reset_before", called="gateway_error", lasts=False, forgets_keys=True),
    Fault("unavailable", called="gateway_error", lasts=False),
]


@contextmanager
def forgetting_keys(world: World) -> Iterator[list[int]]:
    """Let the gateway forget every key, over and over; gives how many it forgot each time."""
    forgotten: list[int] = []
    ends = threading.Event()

    def forget() -> None:
        while not ends.wait(0.05):
            forgotten.append(world.sandbox.forget_keys())

    thread = threading.Thread(target=forget)
    thread.start()
    try:
        yield forgotten
    finally:
        ends.set()
        thread.join()


@pytest.mark.parametrize("fault", DOUBTS, ids=str)
def test_doubts_end_by_evidence_whatever_the_gateway_does(world: World, fault: Fault) -> None:
    world.sandbox.settings(drip_interval_seconds=1, execute_at_fraction=1)
    if fault.forgets_keys:
        with forgetting_keys(world) as forgotten:
            facts = charge_under(world, fault)
        assert sum(forgotten) > 0
    else:
        facts = charge_under(world, fault)
    if fault.behaviour.startswith("slow:"):
        assert any(request["status"] == HTTPStatus.CONFLICT for request in facts.requests)  # It was repeated meanwhile.
    for attempt in facts.attempts:
        assert_road_of_evidence(facts, attempt, doubt=fault.called)


def test_a_gateway_that_says_too_many_requests_is_asked_again_with_the_same_key(world: World) -> None:
    fault = Fault("rate_limited", called="never_sent", lasts=False)
    facts = charge_under(world, fault)
    reasons = {entry["reason"] for entry in facts.history if entry["to_state"] == "queued"}
    assert reasons == {"submitted", "never_sent"}


def charge_under(world: World, fault: Fault) -> Facts:
    """Charge everybody once, and see that it struck; gives what there is when the gateway too has come to rest."""
    world.sandbox.behave(fault.behaviour)
    attempts = world.submit(COUNT)
    if not fault.lasts:
        struck = HistoryEntry.objects.filter(reason=fault.called).values("attempt").distinct()
        wait_until(lambda: struck.count() == COUNT, what="it has struck everybody", deadline_seconds=30)
        world.sandbox.behave_normally()
    world.wait_for_rest(attempts)
    wait_until(lambda: world.sandbox.in_flight()["count"] == 0, what="the gateway is done", deadline_seconds=30)
    facts = world.facts()
    assert_clean(facts)
    assert_fired(facts, fault)
    assert_all_charged_once(facts)
    return facts


def assert_fired(facts: Facts, fault: Fault) -> None:
    struck = Counter(request["operation"] for request in facts.requests if request["behaviour"] == fault.behaviour)
    if fault.lasts:
        assert struck == {"authorize": COUNT, "capture": COUNT}
    else:
        assert struck["authorize"] >= COUNT


def assert_all_charged_once(facts: Facts) -> None:
    assert [attempt["state"] for attempt in facts.attempts] == ["succeeded"] * COUNT
    moved = [moved["operation"] for moved in facts.operations]
    assert (moved.count("authorize"), moved.count("capture"), len(moved)) == (COUNT, COUNT, 2 * COUNT)
    assert facts.compensations == []


def assert_road_of_evidence(facts: Facts, attempt: Row, *, doubt: str) -> None:
    """One claim, one doubt, and the resolver's success, which names a charge that it was told of by then."""
    entries = [entry for entry in facts.history if entry["attempt_id"] == attempt["id"]]
    road = [(entry["to_state"], entry["actor"]) for entry in entries[2:]]
    assert road == [("charging", "worker"), ("in_doubt", "worker"), ("succeeded", "resolver")]
    assert entries[3]["reason"] == doubt
    captured = [call for call in by(facts.calls, "attempt_id")[attempt["id"]] if call["outcome"] == "captured"]
    assert captured
    assert captured[0]["finished_at"] <= entries[4]["at"]
    assert {call["reference"] for call in captured} == {entries[4]["evidence"]["reference"]}
