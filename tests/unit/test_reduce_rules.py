"""Each rule of the reducer, by an example that a person can read."""

from dataclasses import replace

import pytest

from payments.domain.clock import Ruling
from payments.domain.compensations import CompensationKind, CompensationReason, Owed
from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Authorized,
    Captured,
    Declined,
    InDoubt,
    NeverSent,
    NotFound,
    Operation,
    Pending,
    Several,
    Undoing,
    Undone,
)
from payments.domain.reduce import (
    AskAgain,
    BeginCancel,
    BeginCapture,
    BeginReplay,
    Confirm,
    Doubt,
    Expire,
    Fail,
    Leave,
    Requeue,
    Situation,
    Succeed,
    Verdict,
    reduce,
)
from payments.domain.states import AttemptState, OrderStatus

S, F, O = AttemptState, FailureCode, Operation  # noqa: E741 - one letter each, beside the tables below
VOID, REFUND = CompensationKind.VOID, CompensationKind.REFUND
R = CompensationReason

CHARGING = Situation(
    state=S.CHARGING,
    order_status=OrderStatus.UNDER_PAYING,
    is_stock_held=True,
    window=Ruling.CHARGE,
    grace=Ruling.CHARGE,
    is_in_time=True,
    operation=O.AUTHORIZE,
    is_current=True,
    known_reference="",
    doubt_code="",
    may_replay=False,
    may_cancel_key=True,
    is_cancelling=False,
    is_absence_proven=False,
)
CAPTURING = replace(CHARGING, operation=O.CAPTURE, known_reference="ch_1")
ASKED = replace(CHARGING, state=S.IN_DOUBT, operation=O.LOOK_UP, doubt_code="gateway_timeout", may_replay=True)
WAITING = replace(CHARGING, state=S.CONFIRMING, operation=O.LOOK_UP, known_reference="ch_1")
ENDED = replace(CHARGING, state=S.EXPIRED, is_current=False, order_status=OrderStatus.CANCELLED)
PAID = replace(ENDED, state=S.SUCCEEDED, order_status=OrderStatus.PAID, known_reference="ch_1")
REVIEWED = replace(CHARGING, state=S.NEEDS_REVIEW, doubt_code="gateway_timeout", operation=O.LOOK_UP)


def closed(situation: Situation) -> Situation:
    return replace(situation, window=Ruling.EXPIRE)


def past_grace(situation: Situation) -> Situation:
    return replace(closed(situation), grace=Ruling.EXPIRE)


def late(situation: Situation) -> Situation:
    return replace(past_grace(situation), is_in_time=False)


def older(situation: Situation) -> Situation:
    return replace(situation, is_current=False)


# Money that came.


@pytest.mark.parametrize("situation", [CHARGING, CAPTURING, ASKED, WAITING, REVIEWED])
def test_captured_money_pays_the_order_until_the_late_allowance_is_over(situation: Situation) -> None:
    for at in (situation, closed(situation), past_grace(situation)):
        assert reduce(Captured("ch_1"), at) == Verdict(Succeed("ch_1"))
        assert reduce(Captured("ch_1"), older(at)) == Verdict(Succeed("ch_1"))


@pytest.mark.parametrize("situation", [CHARGING, CAPTURING, ASKED, WAITING])
def test_captured_money_that_is_too_late_goes_back(situation: Situation) -> None:
    refund = Owed(REFUND, R.TOO_LATE, "ch_1")
    assert reduce(Captured("ch_1"), late(situation)) == Verdict(Expire("ch_1"), (refund,))
    assert reduce(Captured("ch_1"), older(late(situation))) == Verdict(Expire("ch_1"), (refund,))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"is_stock_held": False}, R.STOCK_GONE), ({"order_status": OrderStatus.CANCELLED}, R.ORDER_CLOSED)],
)
def test_captured_money_that_nobody_can_use_goes_back(changes: dict[str, object], reason: R) -> None:
    refund = Owed(REFUND, reason, "ch_1")
    situation = replace(ASKED, **changes)  # type: ignore[arg-type] # a test's table
    assert reduce(Captured("ch_1"), situation) == Verdict(Fail(F.GIVEN_BACK, "ch_1"), (refund,))
    assert reduce(Captured("ch_1"), closed(situation)) == Verdict(Expire("ch_1"), (refund,))


def test_the_payment_seen_again_is_nothing_new() -> None:
    for seen in (Captured("ch_1"), Captured("ch_1", refunded_minor=5), Authorized("ch_1"), Pending("ch_1", None)):
        assert reduce(seen, PAID) == Verdict(Leave())


def test_a_second_charge_of_a_paid_order_goes_back() -> None:
    assert reduce(Captured("ch_2"), PAID) == Verdict(Leave(), (Owed(REFUND, R.SECOND_SUCCESS, "ch_2"),))
    assert reduce(Authorized("ch_2"), PAID) == Verdict(Leave(), (Owed(VOID, R.SECOND_CHARGE, "ch_2"),))


def test_money_under_an_attempt_that_has_ended_goes_back() -> None:
    failed = replace(ENDED, state=S.FAILED, order_status=OrderStatus.UNDER_PAYING)
    assert reduce(Captured("ch_1"), failed) == Verdict(Leave(), (Owed(REFUND, R.TOO_LATE, "ch_1"),))
    assert reduce(Captured("ch_1"), ENDED) == Verdict(Leave(), (Owed(REFUND, R.ORDER_CLOSED, "ch_1"),))
    for held in (Authorized("ch_1"), Pending("ch_1", None)):
        assert reduce(held, failed) == Verdict(Leave(), (Owed(VOID, R.TOO_LATE, "ch_1"),))


def test_money_that_nobody_asked_for_goes_back() -> None:
    unasked = older(replace(CHARGING, state=S.OPEN))
    assert reduce(Captured("ch_1"), unasked) == Verdict(Leave(), (Owed(REFUND, R.SECOND_CHARGE, "ch_1"),))
    assert reduce(Authorized("ch_1"), unasked) == Verdict(Leave(), (Owed(VOID, R.TOO_LATE, "ch_1"),))


def test_money_that_comes_although_nothing_was_sent_still_pays() -> None:
    assert reduce(Captured("ch_1"), older(replace(CHARGING, state=S.QUEUED))) == Verdict(Succeed("ch_1"))


def test_late_money_under_review_waits_for_the_person() -> None:
    assert reduce(Captured("ch_1"), late(REVIEWED)) == Verdict(Leave())


# Money that is held.


@pytest.mark.parametrize("situation", [CHARGING, ASKED, WAITING])
def test_what_is_held_is_taken_until_the_grace_is_over_and_then_let_go(situation: Situation) -> None:
    assert reduce(Authorized("ch_1"), situation) == Verdict(BeginCapture("ch_1"))
    assert reduce(Authorized("ch_1"), closed(situation)) == Verdict(BeginCapture("ch_1"))
    too_late = Verdict(Expire("ch_1"), (Owed(VOID, R.TOO_LATE, "ch_1"),))
    assert reduce(Authorized("ch_1"), past_grace(situation)) == too_late
    assert reduce(Authorized("ch_1"), older(situation)) == Verdict(Leave())


def test_what_is_held_for_a_closed_order_is_let_go() -> None:
    situation = replace(ASKED, order_status=OrderStatus.CANCELLED)
    void = Owed(VOID, R.ORDER_CLOSED, "ch_1")
    assert reduce(Authorized("ch_1"), situation) == Verdict(Fail(F.GIVEN_BACK, "ch_1"), (void,))


def test_a_payment_that_waits_is_let_go_when_its_window_closes() -> None:
    assert reduce(Pending("ch_1", None), CHARGING) == Verdict(Confirm("ch_1", ""))
    assert reduce(Pending("ch_1", "https://x"), ASKED) == Verdict(Confirm("ch_1", "https://x"))
    assert reduce(Pending("ch_1", None), WAITING) == Verdict(AskAgain())
    for situation in (CHARGING, ASKED, WAITING):
        verdict = Verdict(Expire("ch_1"), (Owed(VOID, R.TOO_LATE, "ch_1"),))
        assert reduce(Pending("ch_1", None), closed(situation)) == verdict


# Refusals.


def test_what_the_customer_has_approved_is_asked_for_once_more_while_it_may_be() -> None:
    approved = Pending("ch_1", None, is_approved=True)
    may_repeat = replace(WAITING, may_replay=True)
    assert reduce(approved, may_repeat) == Verdict(BeginReplay())
    # Not after the window, not by an older claim, not under a key that the gateway may have forgotten.
    assert reduce(approved, closed(may_repeat)) == reduce(Pending("ch_1", None), closed(may_repeat))
    assert reduce(approved, older(may_repeat)) == Verdict(Leave())
    assert reduce(approved, WAITING) == Verdict(AskAgain())
    assert reduce(approved, replace(may_repeat, is_cancelling=True)) == reduce(
        Pending("ch_1", None), replace(WAITING, is_cancelling=True)
    )
    # The request that has just been answered is not repeated at once.
    assert reduce(approved, replace(CHARGING, may_replay=True)) == Verdict(Confirm("ch_1", ""))


def test_a_doubt_keeps_the_charge_that_it_learnt_of() -> None:
    assert reduce(InDoubt(F.GATEWAY_TIMEOUT, "", reference="ch_1"), CHARGING) == Verdict(
        Doubt(F.GATEWAY_TIMEOUT, "ch_1")
    )


def test_a_decline_fails_the_attempt_with_its_code() -> None:
    declined = Declined(F.INSUFFICIENT_FUNDS, "x", "ch_1")
    for situation in (CHARGING, ASKED, WAITING, closed(ASKED)):
        assert reduce(declined, situation) == Verdict(Fail(F.INSUFFICIENT_FUNDS, "ch_1"))
        assert reduce(declined, older(situation)) == Verdict(Leave())


def test_a_declined_capture_lets_go_of_what_is_held() -> None:
    void = Owed(VOID, R.CAPTURE_DECLINED, "ch_1")
    for situation in (CAPTURING, replace(CAPTURING, state=S.IN_DOUBT, doubt_code="gateway_timeout")):
        assert reduce(Declined(F.DECLINED, "x", "ch_1"), situation) == Verdict(Fail(F.DECLINED, "ch_1"), (void,))


@pytest.mark.parametrize("operation", [O.AUTHORIZE, O.CHARGE, O.CAPTURE])
@pytest.mark.parametrize("code", [F.INVALID_REQUEST, F.CONFIGURATION])
def test_a_request_refused_at_the_door_says_nothing_of_an_earlier_one(operation: Operation, code: FailureCode) -> None:
    first = replace(CHARGING, operation=operation)
    again = replace(first, state=S.IN_DOUBT, doubt_code="gateway_timeout", known_reference="ch_1")
    assert isinstance(reduce(Declined(code, "x", None), first).step, Fail)
    assert reduce(Declined(code, "x", None), again) == Verdict(AskAgain())


def test_a_capture_of_what_is_in_no_state_for_it_is_a_doubt() -> None:
    done = Declined(F.ALREADY_DONE, "x", "ch_1")
    assert reduce(done, CAPTURING) == Verdict(Doubt(F.ALREADY_DONE))
    assert reduce(done, replace(CAPTURING, state=S.IN_DOUBT)) == Verdict(AskAgain())
    assert reduce(Undone(Undoing.BARRED, None), CAPTURING) == Verdict(Doubt(F.KEY_MISMATCH))
    assert reduce(Authorized("ch_1"), CAPTURING) == Verdict(Doubt(F.ALREADY_DONE))


# Doubts.


@pytest.mark.parametrize("situation", [CHARGING, CAPTURING])
def test_no_answer_is_a_doubt(situation: Situation) -> None:
    assert reduce(InDoubt(F.GATEWAY_TIMEOUT, ""), situation) == Verdict(Doubt(F.GATEWAY_TIMEOUT))
    assert reduce(InDoubt(F.GATEWAY_TIMEOUT, ""), older(situation)) == Verdict(Leave())


@pytest.mark.parametrize("situation", [ASKED, WAITING])
def test_a_question_without_an_answer_is_asked_again(situation: Situation) -> None:
    assert reduce(InDoubt(F.GATEWAY_ERROR, ""), situation) == Verdict(AskAgain())
    assert reduce(NeverSent(F.GATEWAY_UNREACHABLE, ""), situation) == Verdict(AskAgain())


@pytest.mark.parametrize(("known", "why"), [("", "by its key"), ("ch_1", "by its reference")])
def test_a_doubtful_call_after_the_end_must_leave_nothing_behind(known: str, why: str) -> None:
    void = Owed(VOID, R.DOUBT_AFTER_THE_END, known)
    for operation in (O.AUTHORIZE, O.CHARGE, O.CAPTURE):
        situation = replace(ENDED, operation=operation, known_reference=known)
        assert reduce(InDoubt(F.GATEWAY_TIMEOUT, ""), situation) == Verdict(Leave(), (void,)), why
    for operation in (O.LOOK_UP, O.CANCEL_KEY):
        assert reduce(InDoubt(F.GATEWAY_TIMEOUT, ""), replace(ENDED, operation=operation)) == Verdict(Leave())


def test_only_the_first_call_of_a_claim_goes_back_to_the_queue() -> None:
    unsent = NeverSent(F.STALE_CHECK, "")
    assert reduce(unsent, CHARGING) == Verdict(Requeue(F.STALE_CHECK))
    assert reduce(unsent, CAPTURING) == Verdict(Doubt(F.STALE_CHECK))
    assert reduce(unsent, replace(ASKED, operation=O.AUTHORIZE)) == Verdict(AskAgain())
    assert reduce(unsent, older(CHARGING)) == Verdict(Leave())


# Nothing found, nothing left.


def test_nothing_found_is_repeated_inside_the_window_and_cancelled_after_it() -> None:
    assert reduce(NotFound(), ASKED) == Verdict(BeginReplay())
    assert reduce(NotFound(), closed(ASKED)) == Verdict(BeginCancel())
    assert reduce(NotFound(), replace(ASKED, may_replay=False)) == Verdict(BeginCancel())
    assert reduce(NotFound(), WAITING) == Verdict(AskAgain())
    assert reduce(NotFound(), closed(WAITING)) == Verdict(BeginCancel())
    assert reduce(NotFound(), older(ASKED)) == Verdict(Leave())
    assert reduce(NotFound(), CHARGING) == Verdict(Leave())


def test_nothing_found_where_keys_cannot_be_cancelled_needs_proof() -> None:
    asked = replace(ASKED, may_replay=False, may_cancel_key=False)
    assert reduce(NotFound(), asked) == Verdict(AskAgain())
    assert reduce(NotFound(), closed(asked)) == Verdict(AskAgain())
    proven = replace(asked, is_absence_proven=True)
    assert reduce(NotFound(), proven) == Verdict(Fail(F.GATEWAY_TIMEOUT))
    assert reduce(NotFound(), closed(proven)) == Verdict(Expire())


def test_a_charge_that_was_seen_is_not_proven_away() -> None:
    seen = replace(ASKED, may_replay=False, may_cancel_key=False, is_absence_proven=True, known_reference="ch_1")
    assert reduce(NotFound(), seen) == Verdict(AskAgain())
    assert reduce(NotFound(), closed(seen)) == Verdict(AskAgain())
    waited = replace(seen, state=AttemptState.CONFIRMING)  # Nothing that pays was sent: it lapsed.
    assert reduce(NotFound(), closed(waited)) == Verdict(Expire())


@pytest.mark.parametrize("how", [Undoing.BARRED, Undoing.VOIDED, Undoing.EXPIRED])
def test_what_was_undone_ends_the_attempt(how: Undoing) -> None:
    undone = Undone(how, None if how is Undoing.BARRED else "ch_1")
    reference = undone.reference or ""
    assert reduce(undone, ASKED) == Verdict(Fail(F.GATEWAY_TIMEOUT, reference))
    assert reduce(undone, closed(ASKED)) == Verdict(Expire(reference))
    assert reduce(undone, older(ASKED)) == Verdict(Leave())
    assert reduce(undone, WAITING) == Verdict(Fail(F.CONFIRMATION_MISSING, "ch_1"))


def test_what_the_gateway_gave_back_by_itself_is_written_down() -> None:
    returned = Owed(REFUND, R.TOO_LATE, "ch_1")
    refunded = Undone(Undoing.REFUNDED, "ch_1")
    assert reduce(refunded, ASKED) == Verdict(Fail(F.GIVEN_BACK, "ch_1"), (), returned)
    assert reduce(refunded, closed(ASKED)) == Verdict(Expire("ch_1"), (), returned)
    assert reduce(refunded, PAID) == Verdict(Leave(), (), returned)
    assert reduce(Undone(Undoing.REFUNDED, "ch_2"), PAID) == Verdict(Leave())
    assert reduce(Undone(Undoing.REFUNDED, None), ASKED).already_returned is None


# Several charges under one attempt.


def test_of_several_charges_one_stands_and_the_others_go_back() -> None:
    charges = (Authorized("ch_1"), Captured("ch_2"), Captured("ch_3"), Undone(Undoing.VOIDED, "ch_4"))
    others = (Owed(VOID, R.SECOND_CHARGE, "ch_1"), Owed(REFUND, R.SECOND_CHARGE, "ch_3"))
    assert reduce(Several(charges), ASKED) == Verdict(Succeed("ch_2"), others)
    held = Several((Pending("ch_1", None), Authorized("ch_2")))
    assert reduce(held, ASKED) == Verdict(BeginCapture("ch_2"), (Owed(VOID, R.SECOND_CHARGE, "ch_1"),))


def test_of_several_like_charges_the_one_that_is_known_stands() -> None:
    charges = Several((Authorized("ch_2"), Authorized("ch_1")))
    void = Owed(VOID, R.SECOND_CHARGE, "ch_2")
    assert reduce(charges, replace(ASKED, known_reference="ch_1")) == Verdict(BeginCapture("ch_1"), (void,))


def test_the_payment_stands_even_where_an_old_look_up_shows_it_as_held() -> None:
    """The look-up was answered before the capture, and recorded after it."""
    charges = Several((Authorized("ch_1"), Captured("ch_2")))
    assert reduce(charges, PAID) == Verdict(Leave(), (Owed(REFUND, R.SECOND_SUCCESS, "ch_2"),))


def test_an_older_look_up_does_not_choose_between_charges() -> None:
    charges = Several((Authorized("ch_1"), Authorized("ch_2")))
    assert reduce(charges, older(ASKED)) == Verdict(Leave())


@pytest.mark.parametrize("situation", [ASKED, WAITING])
def test_what_a_cancel_of_ours_may_undo_is_never_called_paid(situation: Situation) -> None:
    """The cancel may be executed after the money was seen, and would refund a paid order."""
    cancelling = replace(situation, is_cancelling=True)
    paid = reduce(Captured("ch_1"), cancelling)
    assert paid.step == Fail(F.GIVEN_BACK, "ch_1")
    assert paid.owed == (Owed(CompensationKind.REFUND, CompensationReason.TOO_LATE, "ch_1"),)
    for seen in (Authorized("ch_1"), Pending("ch_1", None)):
        held = reduce(seen, cancelling)
        assert held.step == Fail(F.GIVEN_BACK, "ch_1")
        assert held.owed == (Owed(CompensationKind.VOID, CompensationReason.TOO_LATE, "ch_1"),)


@pytest.mark.parametrize("grace", [Ruling.WAIT, Ruling.HOLD])
def test_money_is_held_while_the_clocks_cannot_tell_whether_it_came_in_time(grace: Ruling) -> None:
    undecided = replace(CHARGING, window=Ruling.HOLD, grace=grace)
    assert reduce(Authorized("ch_1"), undecided) == Verdict(Doubt(F.CLOCKS_DISAGREE))
    asked = replace(ASKED, window=Ruling.HOLD, grace=grace)
    assert reduce(Authorized("ch_1"), asked) == Verdict(AskAgain())


def test_nothing_is_called_expired_that_may_not_be() -> None:
    undecided = replace(ASKED, window=Ruling.HOLD, grace=Ruling.HOLD, may_replay=True)
    assert isinstance(reduce(Undone(Undoing.VOIDED, "ch_1"), undecided).step, Fail)
    assert reduce(NotFound(), undecided) == Verdict(BeginCancel())  # And not a replay.
