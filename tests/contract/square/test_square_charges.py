"""Square's adapter against Square's face: what becomes of a payment, held against the gateway's own books."""

import pytest

from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Authorized,
    Captured,
    Declined,
    InDoubt,
    NeverSent,
    NotFound,
    Pending,
    Several,
    Undoing,
    Undone,
)
from tests.contract.sandbox_server import SandboxProcess
from tests.contract.square.asking import AMOUNT_MINOR, PATIENT_SECONDS, PAYMENT_ID, Asking, charge_request
from tests.contract.square.bench import BENCH


def only_charge(sandbox: SandboxProcess) -> dict[str, object]:
    (charge,) = sandbox.ledger(reference=PAYMENT_ID)["charges"]
    return charge


def test_a_held_payment_is_taken_once(sandbox: SandboxProcess, square: Asking) -> None:
    held = square.authorize()
    assert isinstance(held, Authorized)
    assert square.look_up() == square.look_up(held.reference) == held
    assert square.capture(held.reference) == Captured(reference=held.reference)
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR), ("capture", AMOUNT_MINOR)]
    assert square.look_up() == square.look_up(held.reference) == Captured(reference=held.reference)


def test_a_hold_ends_with_the_window(sandbox: SandboxProcess, square: Asking) -> None:
    square.authorize()
    charge = only_charge(sandbox)
    metadata = charge["metadata"]
    assert isinstance(metadata, dict)
    assert metadata["delay_duration"] == "PT900S"
    assert charge["expires_at"] is not None


def test_a_charge_takes_the_money_in_one_call(sandbox: SandboxProcess, square: Asking) -> None:
    taken = square.charge()
    assert isinstance(taken, Captured)
    assert sandbox.operations() == [("charge", AMOUNT_MINOR)]


@pytest.mark.parametrize(("token", "code"), BENCH.declines.items())
def test_a_decline_moves_no_money(sandbox: SandboxProcess, square: Asking, token: str, code: FailureCode) -> None:
    for outcome in (square.authorize(token), square.look_up()):
        assert isinstance(outcome, Declined)
        assert outcome.code is code
        assert outcome.reference == only_charge(sandbox)["id"]
    assert sandbox.operations() == []


def test_a_second_capture_takes_nothing_more(sandbox: SandboxProcess, square: Asking) -> None:
    held = square.authorize()
    assert isinstance(held, Authorized)
    assert square.capture(held.reference) == square.capture(held.reference) == Captured(reference=held.reference)
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR), ("capture", AMOUNT_MINOR)]


def test_a_hold_is_let_go_of_once(sandbox: SandboxProcess, square: Asking) -> None:
    held = square.authorize()
    assert isinstance(held, Authorized)
    let_go = Undone(how=Undoing.VOIDED, reference=held.reference)
    assert square.void(held.reference) == square.void(held.reference) == let_go
    assert square.look_up() == let_go
    refused = square.capture(held.reference)
    assert isinstance(refused, Declined)
    assert refused.code is FailureCode.ALREADY_DONE
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR), ("void", AMOUNT_MINOR)]


def test_what_was_taken_cannot_be_let_go_of(sandbox: SandboxProcess, square: Asking) -> None:
    taken = square.charge()
    assert isinstance(taken, Captured)
    refused = square.void(taken.reference)
    assert isinstance(refused, Declined)
    assert refused.code is FailureCode.ALREADY_DONE
    assert sandbox.operations() == [("charge", AMOUNT_MINOR)]


def test_a_whole_refund_under_one_key_is_made_once(sandbox: SandboxProcess, square: Asking) -> None:
    taken = square.charge()
    assert isinstance(taken, Captured)
    returned = Undone(how=Undoing.REFUNDED, reference=taken.reference)
    assert square.refund(taken.reference) == square.refund(taken.reference) == returned
    assert square.look_up() == square.look_up(taken.reference) == returned
    again = square.refund(taken.reference, key="cmp_2")
    assert isinstance(again, Declined)
    assert again.code is FailureCode.ALREADY_DONE
    assert sandbox.operations() == [("charge", AMOUNT_MINOR), ("refund", AMOUNT_MINOR)]


def test_partial_refunds_add_up(sandbox: SandboxProcess, square: Asking) -> None:
    taken = square.charge()
    assert isinstance(taken, Captured)
    assert square.refund(taken.reference, amount_minor=250) == Captured(taken.reference, refunded_minor=250)
    assert square.refund(taken.reference, key="cmp_2", amount_minor=250) == Captured(
        taken.reference, refunded_minor=500
    )
    assert square.look_up() == Captured(taken.reference, refunded_minor=500)
    assert sandbox.operations()[1:] == [("refund", 250), ("refund", 250)]


def test_a_payment_that_takes_time_is_pending_under_its_own_name(sandbox: SandboxProcess, square: Asking) -> None:
    begun = square.charge("tok_pending")
    assert isinstance(begun, Pending)
    assert square.look_up() == begun
    sandbox.settle(begun.reference, "pay")
    assert square.look_up(begun.reference) == Captured(reference=begun.reference)


def test_yen_have_no_smaller_unit(sandbox: SandboxProcess, square: Asking) -> None:
    request = charge_request(amount_minor=1200, currency="JPY")
    assert isinstance(square.gateway.charge(request, deadline_seconds=PATIENT_SECONDS), Captured)
    assert sandbox.operations() == [("charge", 1200)]


def test_nothing_under_our_reference_is_not_found(square: Asking) -> None:
    other = charge_request(key="other", reference="pay_other")
    square.gateway.charge(other, deadline_seconds=PATIENT_SECONDS)
    assert square.look_up() == NotFound()


def test_two_payments_under_our_reference_are_both_told(square: Asking) -> None:
    first = square.charge()
    second = square.gateway.charge(charge_request(key="another"), deadline_seconds=PATIENT_SECONDS)
    assert isinstance(first, Captured)
    assert isinstance(second, Captured)
    assert square.look_up() == Several(charges=(first, second))


def test_every_page_is_read(square: Asking) -> None:
    for number in range(101):  # Square shows a hundred at a time.
        square.gateway.charge(
            charge_request(key=f"other-{number}", reference=f"pay_{number}"), deadline_seconds=PATIENT_SECONDS
        )
    ours = square.charge()
    assert isinstance(ours, Captured)
    assert square.look_up() == ours


def test_a_payment_that_was_seen_is_not_proven_away(square: Asking) -> None:
    unknown = square.look_up("ch_0123456789abcdef01234567")
    assert isinstance(unknown, InDoubt)
    assert unknown.code is FailureCode.CONFIGURATION


def test_a_repeat_gets_the_saved_answer_and_another_body_a_doubt(sandbox: SandboxProcess, square: Asking) -> None:
    assert square.charge() == square.charge()
    another = square.gateway.charge(charge_request(amount_minor=99), deadline_seconds=PATIENT_SECONDS)
    assert isinstance(another, InDoubt)
    assert another.code is FailureCode.KEY_MISMATCH
    assert sandbox.operations() == [("charge", AMOUNT_MINOR)]


def test_rate_limits_let_nothing_in(sandbox: SandboxProcess, square: Asking) -> None:
    sandbox.behave("rate_limited", operation="all")
    for outcome in (square.charge(), square.look_up(), square.capture("ch_1"), square.refund("ch_1")):
        assert isinstance(outcome, NeverSent)
        assert outcome.code is FailureCode.RATE_LIMITED
    assert sandbox.operations() == []
