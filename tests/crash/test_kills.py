"""A worker dies without warning at every commit and every call, with five payments at the point, and starts again."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from payments import lifecycle
from payments.models import PaymentAttempt
from tests.crash.aging import age
from tests.crash.verdict import assert_clean
from tests.crash.world import TABLES, World

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True, available_apps=TABLES)]

COUNT = 5


def paying(world: World) -> list[PaymentAttempt]:
    """They have just been submitted."""
    return world.submit(COUNT)


def paying_in_one_call(world: World) -> list[PaymentAttempt]:
    """The same, by a method that is charged without being authorised first."""
    return world.submit(COUNT, method="wallet")


def doubted(world: World, behaviour: str, *, operation: str, seconds_left: float = 600) -> list[PaymentAttempt]:
    """They were charged here, with a gateway that misbehaved, and nobody has asked yet."""
    with world.frozen():
        world.sandbox.behave(behaviour, operation=operation)
        attempts = world.submit(COUNT)
        for attempt in attempts:
            assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
            age(attempt.id, seconds_left=seconds_left)
        world.sandbox.behave_normally()
    return attempts


def lost(world: World) -> list[PaymentAttempt]:
    """The gateway has nothing, and the window is open: the same request goes out again."""
    return doubted(world, "reset_before", operation="authorize")


def lost_and_late(world: World) -> list[PaymentAttempt]:
    """The gateway has nothing, and the window has closed: the key is barred."""
    return doubted(world, "reset_before", operation="authorize", seconds_left=-1000)


def held(world: World) -> list[PaymentAttempt]:
    """The gateway holds the money, and the window is open: it is taken."""
    return doubted(world, "reset_after", operation="authorize")


def held_and_late(world: World) -> list[PaymentAttempt]:
    """The gateway holds the money, and the window has closed: it is let go."""
    return doubted(world, "reset_after", operation="authorize", seconds_left=-1000)


def taken_and_late(world: World) -> list[PaymentAttempt]:
    """The gateway has taken the money, and it is too late for it: it goes back."""
    return doubted(world, "reset_after", operation="capture", seconds_left=-1000)


@dataclass(frozen=True)
class Kill:
    point: str
    payments: Callable[[World], list[PaymentAttempt]]
    end: str
    threads: int = COUNT

    def __str__(self) -> str:
        return f"{self.point}-{self.payments.__name__}"


KILLS = [
    Kill("claim.written", paying, "succeeded"),
    Kill("authorize.begun", paying, "succeeded"),
    Kill("authorize.before_send", paying, "succeeded"),
    Kill("authorize.answered", paying, "succeeded"),
    Kill("authorize.settled", paying, "succeeded"),
    Kill("authorize.recorded", paying, "succeeded"),
    Kill("capture.begun", paying, "succeeded"),
    Kill("capture.before_send", paying, "succeeded"),
    Kill("capture.answered", paying, "succeeded"),
    Kill("capture.settled", paying, "succeeded"),
    Kill("capture.recorded", paying, "succeeded"),
    Kill("charge.before_send", paying_in_one_call, "succeeded"),
    Kill("charge.answered", paying_in_one_call, "succeeded"),
    Kill("charge.settled", paying_in_one_call, "succeeded"),
    Kill("charge.recorded", paying_in_one_call, "succeeded"),
    Kill("rescue.taken", lost, "succeeded", threads=1),
    Kill("resolve.taken", lost, "succeeded"),
    Kill("look_up.before_send", lost, "succeeded"),
    Kill("look_up.answered", lost, "succeeded"),
    Kill("look_up.settled", lost, "succeeded"),
    Kill("look_up.recorded", lost, "succeeded"),
    Kill("authorize.answered", lost, "succeeded"),
    Kill("capture.answered", held, "succeeded"),
    Kill("cancel_key.before_send", lost_and_late, "expired"),
    Kill("cancel_key.answered", lost_and_late, "expired"),
    Kill("cancel_key.settled", lost_and_late, "expired"),
    Kill("cancel_key.recorded", lost_and_late, "expired"),
    Kill("compensate.taken", held_and_late, "expired"),
    Kill("void.before_send", held_and_late, "expired"),
    Kill("void.answered", held_and_late, "expired"),
    Kill("void.settled", held_and_late, "expired"),
    Kill("void.recorded", held_and_late, "expired"),
    Kill("refund.before_send", taken_and_late, "expired"),
    Kill("refund.answered", taken_and_late, "expired"),
    Kill("refund.settled", taken_and_late, "expired"),
    Kill("refund.recorded", taken_and_late, "expired"),
]


# One for each commit and call of each act; `make long` kills at all the others too.
SHORT = {
    "claim.written-paying",
    "authorize.before_send-paying",
    "authorize.answered-paying",
    "authorize.settled-paying",
    "capture.answered-paying",
    "capture.recorded-paying",
    "charge.answered-paying_in_one_call",
    "resolve.taken-lost",
    "look_up.answered-lost",
    "cancel_key.answered-lost_and_late",
    "void.answered-held_and_late",
    "refund.answered-taken_and_late",
}


@pytest.mark.parametrize(
    "kill", [pytest.param(kill, id=str(kill), marks=[] if str(kill) in SHORT else pytest.mark.long) for kill in KILLS]
)
def test_a_worker_killed_at_any_point_leaves_everybodys_money_right(world: World, kill: Kill) -> None:
    world.failpoint.arm(kill.point, "kill", threads=kill.threads)
    attempts = kill.payments(world)
    world.failpoint.wait(kill.point)
    world.supervisor.wait_for_kill()
    world.let_leases_lapse()
    world.wait_for_rest(attempts)
    assert world.states(attempts) == [kill.end] * COUNT
    assert_clean(world.facts())
