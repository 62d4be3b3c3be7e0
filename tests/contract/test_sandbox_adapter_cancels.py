"""Our adapter's cancel by key at the real sandbox gateway: what a key did is undone, what it would do is barred."""

import concurrent.futures

import pytest

from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Declined,
    InDoubt,
    NotFound,
    Operation,
    Several,
    Undoing,
    Undone,
)
from tests.contract.asking import AMOUNT_MINOR, Asking, reference_of
from tests.contract.sandbox_server import SandboxProcess

BARRED = Undone(Undoing.BARRED, None)


def test_a_key_that_did_nothing_is_barred_for_ever(sandbox: SandboxProcess, asking: Asking) -> None:
    assert [asking.cancel_key(), asking.cancel_key()] == [BARRED, BARRED]
    sandbox.forget_keys()
    assert [asking.charge(), asking.authorize()] == [BARRED, BARRED]
    assert asking.look_up() == NotFound()
    assert sandbox.operations() == []


@pytest.mark.parametrize("token", ["tok_ok", "tok_hosted"])
def test_what_is_held_or_pending_is_voided(sandbox: SandboxProcess, asking: Asking, token: str) -> None:
    reference = reference_of(asking.authorize(token=token))
    voided = Undone(Undoing.VOIDED, reference)
    assert [asking.cancel_key(), asking.cancel_key()] == [voided, voided]
    held = [("authorize", AMOUNT_MINOR), ("void", AMOUNT_MINOR)]
    assert sandbox.operations() == (held if token == "tok_ok" else [])


def test_what_was_taken_is_given_back_once(sandbox: SandboxProcess, asking: Asking) -> None:
    reference = reference_of(asking.charge())
    asking.refund(reference, amount_minor=300)
    refunded = Undone(Undoing.REFUNDED, reference)
    assert [asking.cancel_key(), asking.cancel_key()] == [refunded, refunded]
    assert sandbox.operations() == [("charge", 1250), ("refund", 300), ("refund", 950)]


def test_a_declined_charge_is_final_already(sandbox: SandboxProcess, asking: Asking) -> None:
    declined = asking.charge(token="tok_insufficient_funds")
    assert isinstance(declined, Declined)
    assert asking.cancel_key() == declined
    assert sandbox.operations() == []


def test_a_cancelled_key_charges_nothing_more(sandbox: SandboxProcess, asking: Asking) -> None:
    reference = reference_of(asking.authorize())
    asking.cancel_key()
    assert asking.authorize() == Undone(Undoing.BARRED, None)
    assert asking.look_up() == Undone(Undoing.VOIDED, reference)
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR), ("void", AMOUNT_MINOR)]


def test_a_key_that_was_used_twice_is_undone_twice(sandbox: SandboxProcess, asking: Asking) -> None:
    first = reference_of(asking.charge())
    sandbox.forget_keys()
    second = reference_of(asking.charge())

    assert asking.cancel_key() == Undone(Undoing.REFUNDED, second)
    assert asking.look_up() == Several((Undone(Undoing.REFUNDED, second), Undone(Undoing.REFUNDED, first)))


def test_a_key_of_another_payment_is_a_doubt(sandbox: SandboxProcess, asking: Asking) -> None:
    asking.charge(token="tok_declined")
    assert isinstance(asking.cancel_key(reference="pay_2"), InDoubt)


def test_the_key_of_an_act_is_no_charges_key(sandbox: SandboxProcess, asking: Asking) -> None:
    reference = reference_of(asking.authorize())
    asking.capture(reference)
    refused = asking.cancel_key(key="act")
    assert isinstance(refused, InDoubt)
    assert refused.code == FailureCode.KEY_MISMATCH
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR), ("capture", AMOUNT_MINOR)]


@pytest.mark.parametrize("key", ["pay_1:capture", "a/b", "a b?c#d%2F", "k" * 255])
def test_a_key_is_barred_however_it_is_spelled(sandbox: SandboxProcess, asking: Asking, key: str) -> None:
    assert asking.cancel_key(key=key) == BARRED
    assert asking.charge(key=key) == BARRED
    assert sandbox.operations() == []


@pytest.mark.parametrize("operation", [Operation.AUTHORIZE, Operation.CHARGE])
def test_a_held_request_is_refused_after_its_key_was_cancelled(
    sandbox: SandboxProcess, asking: Asking, pool: concurrent.futures.ThreadPoolExecutor, operation: Operation
) -> None:
    sandbox.behave("hang_before", operation=operation, times=1)
    held = pool.submit(asking.ask, operation, "")
    sandbox.wait_until_held(1)
    assert asking.look_up() == NotFound()  # Which proved nothing: the request is inside.
    assert asking.cancel_key() == BARRED
    assert sandbox.release() == 1

    assert held.result() == BARRED
    assert asking.look_up() == NotFound()
    assert sandbox.ledger()["charges"] == []


@pytest.mark.parametrize("operation", [Operation.CAPTURE, Operation.VOID, Operation.REFUND])
def test_a_held_act_is_refused_after_its_key_was_cancelled(
    sandbox: SandboxProcess, asking: Asking, pool: concurrent.futures.ThreadPoolExecutor, operation: Operation
) -> None:
    charge = asking.prepare(operation)
    before, moved = asking.look_up(), sandbox.operations()
    sandbox.behave("hang_before", operation=operation, times=1)
    held = pool.submit(asking.ask, operation, charge)
    sandbox.wait_until_held(1)
    assert asking.cancel_key(key="act") == BARRED
    assert sandbox.release() == 1

    assert held.result() == BARRED
    assert (asking.look_up(), sandbox.operations()) == (before, moved)


def test_a_charge_that_was_made_but_not_answered_is_given_back(
    sandbox: SandboxProcess, asking: Asking, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    held = pool.submit(asking.charge, token="tok_hang_after")
    sandbox.wait_until_held(1)
    undone = asking.cancel_key()
    sandbox.release()

    reference = reference_of(held.result())
    assert undone == Undone(Undoing.REFUNDED, reference)
    assert sandbox.operations() == [("charge", AMOUNT_MINOR), ("refund", AMOUNT_MINOR)]


def test_cancels_and_charges_that_race_agree_on_what_happened(
    sandbox: SandboxProcess, asking: Asking, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    sandbox.behave("slow:0.02")
    for number in range(20):
        name = f"pay_{number}"
        racing = pool.submit(asking.charge, key=name, reference=name)
        undone, charged = asking.cancel_key(key=name, reference=name), racing.result()
        if undone == BARRED:
            assert charged == BARRED
            assert sandbox.operations(reference=name) == []
        else:
            assert undone == Undone(Undoing.REFUNDED, reference_of(charged))
            assert sandbox.operations(reference=name) == [("charge", AMOUNT_MINOR), ("refund", AMOUNT_MINOR)]
