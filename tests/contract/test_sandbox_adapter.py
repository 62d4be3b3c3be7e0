"""Our adapter and the real sandbox gateway: what each road leads to, and what the gateway's ledger says of it."""

import concurrent.futures
from typing import Any

import pytest

from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Authorized,
    Captured,
    Declined,
    InDoubt,
    NotFound,
    Operation,
    Outcome,
    Pending,
    Several,
    Undoing,
    Undone,
)
from payments.gateways.sandbox.adapter import SandboxGateway
from payments.gateways.sandbox.answers import CHARGES_PER_PAGE, FAILURES
from payments.gateways.sandbox.behaviours import BEHAVIOURS
from payments.gateways.sandbox.engine import CHARGES_PER_LOOKUP
from payments.gateways.sandbox.settings import KEY_TTL_SECONDS
from tests.contract.asking import AMOUNT_MINOR, REFERENCE, Asking, reference_of
from tests.contract.sandbox_server import SandboxProcess, wait_until

C = FailureCode


def test_what_the_adapter_knows_of_the_gateway_is_true() -> None:
    declines = {behaviour.decline_code for behaviour in BEHAVIOURS.values()} - {None}
    assert set(FAILURES.codes) == declines - {"zq_17_unlisted"}
    assert CHARGES_PER_PAGE == CHARGES_PER_LOOKUP
    can = SandboxGateway.capabilities
    assert (can.authorizes, can.cancels_keys) == (True, True)
    assert can.key_life_seconds + can.horizon_seconds < KEY_TTL_SECONDS
    assert can.horizon_seconds > 9_999


# The normal roads


def test_money_is_held_then_taken(sandbox: SandboxProcess, asking: Asking) -> None:
    held = asking.authorize()
    reference = reference_of(held)
    assert held == Authorized(reference)
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR)]

    assert asking.capture(reference) == Captured(reference)
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR), ("capture", AMOUNT_MINOR)]
    (charge,) = sandbox.ledger()["charges"]
    assert (charge["id"], charge["reference"], charge["idempotency_key"]) == (reference, REFERENCE, "k")


def test_money_is_taken_in_one_call(sandbox: SandboxProcess, asking: Asking) -> None:
    taken = asking.charge()
    assert taken == Captured(reference_of(taken))
    assert sandbox.operations() == [("charge", AMOUNT_MINOR)]


@pytest.mark.parametrize("token", ["tok_ok", "tok_pending"])
def test_what_is_held_or_pending_is_let_go_of(sandbox: SandboxProcess, asking: Asking, token: str) -> None:
    reference = reference_of(asking.authorize(token=token))
    assert asking.void(reference) == Undone(Undoing.VOIDED, reference)
    assert asking.look_up() == Undone(Undoing.VOIDED, reference)
    held = [("authorize", AMOUNT_MINOR), ("void", AMOUNT_MINOR)]
    assert sandbox.operations() == (held if token == "tok_ok" else [])


def test_all_is_given_back(sandbox: SandboxProcess, asking: Asking) -> None:
    reference = reference_of(asking.charge())
    assert asking.refund(reference) == Undone(Undoing.REFUNDED, reference)
    assert sandbox.operations() == [("charge", AMOUNT_MINOR), ("refund", AMOUNT_MINOR)]


def test_parts_are_given_back_until_nothing_is_left(sandbox: SandboxProcess, asking: Asking) -> None:
    reference = reference_of(asking.charge())
    assert asking.refund(reference, key="r1", amount_minor=300) == Captured(reference, refunded_minor=300)
    assert asking.look_up() == Captured(reference, refunded_minor=300)
    too_much = asking.refund(reference, key="r2", amount_minor=951)
    assert too_much == Declined(C.ALREADY_DONE, "refund_exceeds_captured", reference)
    assert asking.refund(reference, key="r3", amount_minor=950) == Undone(Undoing.REFUNDED, reference)
    assert asking.look_up() == Undone(Undoing.REFUNDED, reference)
    assert sandbox.operations() == [("charge", 1250), ("refund", 300), ("refund", 950)]


# Doubles under the same key


@pytest.mark.parametrize("operation", Operation)
def test_the_same_request_again_is_answered_alike_and_done_once(
    sandbox: SandboxProcess, asking: Asking, operation: Operation
) -> None:
    charge = asking.prepare(operation)
    first = asking.ask(operation, charge)
    moved = sandbox.operations()

    assert not isinstance(first, InDoubt)
    assert [asking.ask(operation, charge) for _ in range(2)] == [first, first]
    assert sandbox.operations() == moved


def test_a_decline_is_answered_alike_again(sandbox: SandboxProcess, asking: Asking) -> None:
    first = asking.charge(token="tok_stolen_card")
    assert isinstance(first, Declined)
    assert (first.code, first.gateway_code) == (C.BLOCKED, "stolen_card")
    assert asking.charge(token="tok_stolen_card") == first
    assert asking.look_up() == first
    assert sandbox.operations() == []


def test_another_request_with_the_same_key_is_a_doubt(sandbox: SandboxProcess, asking: Asking) -> None:
    reference = reference_of(asking.authorize())
    others = [
        asking.charge(),
        asking.authorize(amount_minor=1300),
        asking.capture(reference, key="k"),
        asking.void(reference, key="k"),
        asking.refund(reference, key="k"),
    ]
    assert {type(other) for other in others} == {InDoubt}
    assert {getattr(other, "code", None) for other in others} == {C.KEY_MISMATCH}
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR)]


@pytest.mark.parametrize("operation", [*Operation][:5])
def test_the_same_request_while_the_first_runs_is_a_doubt(
    sandbox: SandboxProcess,
    asking: Asking,
    pool: concurrent.futures.ThreadPoolExecutor,
    operation: Operation,
) -> None:
    charge = asking.prepare(operation)
    sandbox.behave("hang_after", operation=operation, times=1)
    first = pool.submit(asking.ask, operation, charge)
    sandbox.wait_until_held(1)
    second = asking.ask(operation, charge)
    moved = sandbox.operations()
    sandbox.release()

    assert isinstance(second, InDoubt)
    assert second.code == C.KEY_IN_FLIGHT
    assert asking.ask(operation, charge) == first.result()
    assert sandbox.operations() == moved


# Acts that the charge is in no state for


def test_an_act_that_comes_too_late_is_declined_as_done_already(sandbox: SandboxProcess, asking: Asking) -> None:
    def states(reference: str, *, prefix: str) -> list[Outcome]:
        return [
            asking.capture(reference, key=f"{prefix}1"),
            asking.void(reference, key=f"{prefix}2"),
            asking.refund(reference, key=f"{prefix}3"),
        ]

    taken = reference_of(asking.charge(key="a"))
    asking.refund(taken, key="all")
    held = reference_of(asking.authorize(key="b"))
    asking.void(held, key="gone")
    moved = sandbox.operations()

    for reference, codes in (
        (taken, ["invalid_state", "invalid_state", "refund_exceeds_captured"]),
        (held, ["invalid_state", "invalid_state", "invalid_state"]),
    ):
        for _ in range(2):  # The gateway saves these refusals under their keys.
            assert states(reference, prefix=reference) == [Declined(C.ALREADY_DONE, code, reference) for code in codes]
    assert sandbox.operations() == moved


def test_more_than_is_held_cannot_be_taken(sandbox: SandboxProcess, asking: Asking) -> None:
    reference = reference_of(asking.authorize())
    refused = asking.capture(reference, amount_minor=AMOUNT_MINOR + 1)
    assert refused == Declined(C.ALREADY_DONE, "capture_exceeds_authorized", reference)
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR)]


@pytest.mark.parametrize("operation", [Operation.CAPTURE, Operation.VOID, Operation.REFUND])
def test_an_issuer_may_decline_an_act(sandbox: SandboxProcess, asking: Asking, operation: Operation) -> None:
    charge = asking.prepare(operation)
    before, moved = asking.look_up(), sandbox.operations()
    sandbox.behave("insufficient_funds", operation=operation, times=1)

    for _ in range(2):
        declined = asking.ask(operation, charge)
        assert declined == Declined(C.INSUFFICIENT_FUNDS, "insufficient_funds", charge)
    assert (asking.look_up(), sandbox.operations()) == (before, moved)


@pytest.mark.parametrize("operation", [Operation.CAPTURE, Operation.VOID, Operation.REFUND])
def test_a_charge_that_the_gateway_does_not_have_is_our_mistake(asking: Asking, operation: Operation) -> None:
    for name in ("ch_none", "ch/../x y?#%"):
        assert asking.ask(operation, name) == Declined(C.CONFIGURATION, "not_found", name)


@pytest.mark.parametrize(
    "operation", [Operation.AUTHORIZE, Operation.CHARGE, Operation.CAPTURE, Operation.REFUND], ids=str
)
def test_a_request_that_makes_no_sense_was_not_done(
    sandbox: SandboxProcess, asking: Asking, operation: Operation
) -> None:
    charge = asking.prepare(operation)
    moved = sandbox.operations()
    refused = {
        Operation.AUTHORIZE: lambda: asking.authorize(amount_minor=0),
        Operation.CHARGE: lambda: asking.charge(amount_minor=0),
        Operation.CAPTURE: lambda: asking.capture(charge, amount_minor=0),
        Operation.REFUND: lambda: asking.refund(charge, amount_minor=0),
    }[operation]()
    assert refused == Declined(C.INVALID_REQUEST, "invalid_request", charge or None)
    assert sandbox.operations() == moved


# Look-ups


def test_a_look_up_tells_every_status(sandbox: SandboxProcess, asking: Asking) -> None:
    assert asking.look_up() == NotFound()
    pending = asking.charge(key="p", token="tok_pending", reference="p")
    hosted = asking.charge(key="h", token="tok_hosted", reference="h")
    declined = asking.charge(key="d", token="tok_expired_card", reference="d")
    unknown = asking.charge(key="u", token="tok_unknown_code", reference="u")
    held = asking.authorize(key="a", reference="a")

    assert pending == Pending(reference_of(pending), None)
    assert hosted == Pending(reference_of(hosted), f"{sandbox.url}/pay/{reference_of(hosted)}")
    assert isinstance(declined, Declined)
    assert declined.code == C.EXPIRED_CARD
    assert isinstance(unknown, Declined)
    assert (unknown.code, unknown.gateway_code) == (C.DECLINED, "zq_17_unlisted")
    for reference, seen in (("p", pending), ("h", hosted), ("d", declined), ("u", unknown), ("a", held)):
        assert asking.look_up(reference=reference) == seen

    sandbox.settle(reference_of(hosted), "pay")
    assert asking.look_up(reference="h") == Captured(reference_of(hosted))
    sandbox.settle(reference_of(pending), "decline")
    assert asking.look_up(reference="p") == Declined(C.DECLINED, "declined", reference_of(pending))


@pytest.mark.parametrize("more", [{"capture": False}, {"token": "tok_pending"}])
def test_a_look_up_tells_that_a_charge_has_expired(
    sandbox: SandboxProcess, asking: Asking, more: dict[str, Any]
) -> None:
    made = sandbox.charge(key="k", reference=REFERENCE, amount_minor=AMOUNT_MINOR, expires_in_seconds=1, **more)
    expired = Undone(Undoing.EXPIRED, made.json()["id"])
    wait_until(lambda: asking.look_up() == expired, what="the charge has expired")
    assert asking.cancel_key() == expired


def test_a_reference_is_found_however_it_is_spelled(asking: Asking) -> None:
    reference = "pay/1 ä?&reference=x#%2F+"
    taken = asking.charge(reference=reference)
    assert asking.look_up(reference=reference) == Captured(reference_of(taken))
    assert asking.look_up() == NotFound()


def test_several_charges_under_one_reference_are_all_told(sandbox: SandboxProcess, asking: Asking) -> None:
    first = reference_of(asking.charge())
    assert sandbox.forget_keys() == 1
    second = reference_of(asking.charge())
    third = reference_of(asking.authorize(key="other"))
    asking.refund(first)

    assert len({first, second, third}) == 3
    assert asking.look_up() == Several((Authorized(third), Captured(second), Undone(Undoing.REFUNDED, first)))
    assert len(sandbox.ledger()["charges"]) == 3


def test_a_charge_for_another_amount_under_our_reference_is_a_doubt(asking: Asking) -> None:
    asking.charge(key="a")
    asking.charge(key="b", amount_minor=1300)
    for amount_minor in (AMOUNT_MINOR, 1300):
        assert isinstance(asking.look_up(amount_minor=amount_minor), InDoubt)


def test_a_look_up_that_may_not_be_all_is_a_doubt(sandbox: SandboxProcess, asking: Asking) -> None:
    for number in range(CHARGES_PER_PAGE - 1):
        asking.charge(key=f"k{number}")
    found = asking.look_up()
    assert isinstance(found, Several)
    assert len(found.charges) == CHARGES_PER_PAGE - 1
    for number in range(2):
        asking.charge(key=f"more{number}")
        assert isinstance(asking.look_up(), InDoubt)
