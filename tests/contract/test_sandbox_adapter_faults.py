"""Our adapter against everything that goes wrong at the sandbox gateway: never more is claimed than is proven."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Authorized,
    Captured,
    Declined,
    InDoubt,
    NeverSent,
    Operation,
    Outcome,
    Undoing,
    Undone,
)
from payments.gateways.sandbox.behaviours import BEHAVIOURS, Kind
from tests.contract.asking import AMOUNT_MINOR, Asking
from tests.contract.sandbox_server import SandboxProcess, free_port, wait_until

C = FailureCode
QUESTIONS = frozenset({Operation.LOOK_UP, Operation.CANCEL_KEY})
# As what the control endpoint knows our operations.
SWITCHES = {operation: operation.value for operation in Operation} | {
    Operation.LOOK_UP: "lookup",
    Operation.CANCEL_KEY: "cancel",
}
# The money that each operation moves, if it is executed.
MOVES: dict[Operation, list[tuple[str, int]]] = {
    Operation.AUTHORIZE: [("authorize", AMOUNT_MINOR)],
    Operation.CHARGE: [("charge", AMOUNT_MINOR)],
    Operation.CAPTURE: [("capture", AMOUNT_MINOR)],
    Operation.VOID: [("void", AMOUNT_MINOR)],
    Operation.REFUND: [("refund", AMOUNT_MINOR)],
    Operation.LOOK_UP: [],
    Operation.CANCEL_KEY: [("refund", AMOUNT_MINOR)],
}
# Long enough for the request to arrive, short enough to hang for.
IMPATIENT_SECONDS = 0.7


@dataclass(frozen=True)
class Fault:
    """What the caller sees of it, whether the gateway does what was asked, and whether it replays the fault."""

    code: FailureCode
    executes: bool
    hangs: bool = False
    is_saved: bool = False


FAULTS = {
    "hang_before": Fault(C.GATEWAY_TIMEOUT, executes=False, hangs=True),
    "hang_after": Fault(C.GATEWAY_TIMEOUT, executes=True, hangs=True),
    "slow_drip": Fault(C.GATEWAY_TIMEOUT, executes=True, hangs=True),
    "reset_before": Fault(C.GATEWAY_ERROR, executes=False),
    "reset_after": Fault(C.GATEWAY_ERROR, executes=True),
    "error_before": Fault(C.GATEWAY_ERROR, executes=False, is_saved=True),
    "error_after": Fault(C.GATEWAY_ERROR, executes=True, is_saved=True),
    "unavailable": Fault(C.GATEWAY_ERROR, executes=False),
    "garbage": Fault(C.GATEWAY_ERROR, executes=True),
    "rate_limited": Fault(C.RATE_LIMITED, executes=False),
}


def done(operation: Operation, charge: str) -> Outcome:
    """Return what `operation` ends as when nothing goes wrong."""
    match operation:
        case Operation.AUTHORIZE:
            return Authorized(charge)
        case Operation.CHARGE | Operation.CAPTURE | Operation.LOOK_UP:
            return Captured(charge)
        case Operation.VOID:
            return Undone(Undoing.VOIDED, charge)
        case Operation.REFUND | Operation.CANCEL_KEY:
            return Undone(Undoing.REFUNDED, charge)


def assert_nothing_proven(outcome: Outcome, code: FailureCode) -> None:
    assert isinstance(outcome, NeverSent if code == C.RATE_LIMITED else InDoubt), outcome
    assert outcome.code == code


def test_every_fault_and_every_operation_is_tested_here() -> None:
    assert set(FAULTS) == {name for name, fault in BEHAVIOURS.items() if fault.kind in {Kind.BEFORE, Kind.AFTER}}
    assert set(MOVES) == set(Operation)


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("operation", Operation)
def test_a_fault_is_a_doubt_and_a_repeat_does_nothing_twice(
    sandbox: SandboxProcess, asking: Asking, operation: Operation, name: str
) -> None:
    fault = FAULTS[name]
    charge = asking.prepare(operation)
    before, arrived = sandbox.operations(), len(sandbox.ledger()["requests"])
    sandbox.behave(name, operation=SWITCHES[operation], times=1)

    def has_ended() -> bool:
        requests = sandbox.ledger()["requests"]
        return len(requests) == arrived + 1 and requests[-1]["ended"] is not None

    deadline = {"deadline_seconds": IMPATIENT_SECONDS} if fault.hangs else {}
    assert_nothing_proven(asking.ask(operation, charge, **deadline), fault.code)
    wait_until(has_ended, what="the gateway is through with the request")
    assert sandbox.ledger()["requests"][-1]["behaviour"] == name
    assert sandbox.operations() == before + (MOVES[operation] if fault.executes else [])

    again = asking.ask(operation, charge)
    if fault.is_saved and operation not in QUESTIONS:
        assert_nothing_proven(again, fault.code)
        assert sandbox.operations() == before + (MOVES[operation] if fault.executes else [])
    else:
        (made,) = sandbox.ledger()["charges"]
        assert again == done(operation, made["id"])
        assert sandbox.operations() == before + MOVES[operation]


@pytest.mark.parametrize("name", ["error_after", "hang_after", "reset_after", "garbage", "slow_drip"])
def test_after_a_doubt_a_look_up_tells_what_was_done(sandbox: SandboxProcess, asking: Asking, name: str) -> None:
    sandbox.behave(name, operation="charge", times=1)
    assert isinstance(asking.ask(Operation.CHARGE, "", deadline_seconds=IMPATIENT_SECONDS), InDoubt)
    wait_until(lambda: len(sandbox.operations()) == 1, what="the charge is made")
    found = asking.look_up()
    assert isinstance(found, Captured)
    assert asking.refund(found.reference) == Undone(Undoing.REFUNDED, found.reference)
    assert sandbox.operations() == [("charge", AMOUNT_MINOR), ("refund", AMOUNT_MINOR)]


@pytest.mark.parametrize("name", ["unavailable", "error_before", "reset_before"])
@pytest.mark.parametrize("operation", Operation)
def test_in_an_outage_nothing_is_found_out(
    sandbox: SandboxProcess, asking: Asking, operation: Operation, name: str
) -> None:
    charge = asking.prepare(operation)
    before = sandbox.operations()
    sandbox.behave(name, operation="all")
    for _ in range(2):
        assert_nothing_proven(asking.ask(operation, charge), C.GATEWAY_ERROR)
    assert sandbox.operations() == before


@pytest.mark.parametrize("operation", Operation)
def test_nobody_listening_was_never_asked(operation: Operation) -> None:
    with Asking(url=f"http://127.0.0.1:{free_port()}") as asking:
        outcome = asking.ask(operation, "ch_1")
    assert isinstance(outcome, NeverSent)
    assert outcome.code == C.GATEWAY_UNREACHABLE


@pytest.mark.parametrize("operation", Operation)
def test_no_time_left_means_never_sent(sandbox: SandboxProcess, asking: Asking, operation: Operation) -> None:
    assert isinstance(asking.ask(operation, "ch_1", deadline_seconds=0.0), NeverSent)
    assert sandbox.ledger()["requests"] == []


@pytest.fixture
def stranger(sandbox: SandboxProcess) -> Iterator[Asking]:
    with Asking(url=sandbox.url, api_key="wrong") as started:
        yield started


@pytest.mark.parametrize("operation", Operation)
def test_a_wrong_key_of_ours_lets_nothing_in(
    sandbox: SandboxProcess, asking: Asking, stranger: Asking, operation: Operation
) -> None:
    charge = asking.prepare(operation)
    before = sandbox.operations()
    outcome = stranger.ask(operation, charge)
    if operation in QUESTIONS:
        assert isinstance(outcome, InDoubt)
        assert outcome.code == C.CONFIGURATION
    else:
        assert outcome == Declined(C.CONFIGURATION, "unauthorized", charge or None)
    assert sandbox.operations() == before
