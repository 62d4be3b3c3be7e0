"""What becomes of money that goes back, for every outcome in every situation, and by examples."""

from dataclasses import replace
from itertools import product
from typing import assert_never, get_args

import pytest

from payments.domain.compensations import (
    COMPENSATION_TRANSITIONS,
    CompensationKind,
    CompensationReason,
    CompensationState,
    Owed,
)
from payments.domain.failures import FailureCode
from payments.domain.giveback import AskLater, CallAgain, Finish, Situation, Step, TryLater, Verdict, reduce
from payments.domain.outcomes import (
    Authorized,
    Captured,
    ChargeSeen,
    Declined,
    InDoubt,
    NeverSent,
    NotFound,
    Outcome,
    Pending,
    Several,
    Undoing,
    Undone,
)

S, K, R = CompensationState, CompensationKind, CompensationReason
F, FLAGS = FailureCode, (True, False)

CALLED = Situation(
    kind=K.REFUND,
    state=S.CALLING,
    reference="ch_1",
    amount_minor=100,
    may_repeat=True,
    is_first=True,
    is_absence_proven=False,
    may_still_land=False,
)
ASKED = replace(CALLED, state=S.IN_DOUBT)
VOID_CALLED, VOID_ASKED = replace(CALLED, kind=K.VOID), replace(ASKED, kind=K.VOID)
BY_KEY_CALLED, BY_KEY_ASKED = replace(VOID_CALLED, reference=""), replace(VOID_ASKED, reference="")


def seen_as(reference: str) -> tuple[ChargeSeen, ...]:
    return (
        Captured(reference),
        Captured(reference, refunded_minor=99),
        Captured(reference, refunded_minor=100),
        Authorized(reference),
        Pending(reference, None),
        Declined(F.DECLINED, "x", reference),
        *(Undone(how, reference) for how in Undoing),
    )


SEEN = (*seen_as("ch_1"), *seen_as("ch_2"), Undone(Undoing.BARRED, None), Declined(F.ALREADY_DONE, "x", None))
OUTCOMES: tuple[Outcome, ...] = (
    *SEEN,
    NotFound(),
    NeverSent(F.STALE_CHECK, ""),
    InDoubt(F.GATEWAY_TIMEOUT, ""),
    *(Several((one, another)) for one, another in product(seen_as("ch_1"), seen_as("ch_2"))),
    Several((Captured("ch_2"), Authorized("ch_3"))),
)

# A compensation is recorded in these; every other state has no call.
RECORDED_IN = (S.CALLING, S.IN_DOUBT)


def situations() -> list[Situation]:
    return [
        Situation(kind, state, reference, 100, may_repeat, first, absence, landing)
        for kind, state, reference, may_repeat, first, absence, landing in product(
            K, RECORDED_IN, ("", "ch_1"), FLAGS, FLAGS, FLAGS, FLAGS
        )
        if reference or kind is K.VOID
    ]


def target(step: Step) -> CompensationState:
    """Say where a step leads; a new step has to be put in its place here."""
    match step:
        case Finish():
            return S.DONE
        case CallAgain():
            return S.CALLING
        case TryLater():
            return S.OWED
        case AskLater():
            return S.IN_DOUBT
        case _:
            assert_never(step)


def is_gone(seen: Outcome, s: Situation) -> bool:
    """Tell whether `seen` proves by itself that no more of our charge is left to give back."""
    match seen:
        case Undone(reference=reference):
            return reference == s.reference or not s.reference
        case Captured(reference=reference, refunded_minor=refunded):
            return s.kind is K.REFUND and reference == s.reference and refunded >= s.amount_minor
        case Declined(reference=reference):
            return s.kind is K.VOID and s.state is S.IN_DOUBT and reference == (s.reference or reference)
        case NotFound():
            return s.is_absence_proven and not s.reference
        case _:
            return False


def test_every_kind_of_outcome_and_step_is_tried() -> None:
    assert {type(outcome) for outcome in OUTCOMES} == set(get_args(Outcome))
    steps = {type(reduce(outcome, s).step) for outcome, s in product(OUTCOMES, situations())}
    assert steps == set(get_args(Step))


def test_no_verdict_leads_where_the_table_does_not() -> None:
    for outcome, s in product(OUTCOMES, situations()):
        to = target(reduce(outcome, s).step)
        stays = to is s.state
        assert stays or to in COMPENSATION_TRANSITIONS[s.state], (outcome, s)
        assert not (stays and to is S.CALLING), (outcome, s)  # Nobody would have asked in between.


def test_it_is_over_only_when_nothing_is_left_or_the_rest_is_owed_anew() -> None:
    for outcome, s in product(OUTCOMES, situations()):
        verdict = reduce(outcome, s)
        charges = outcome.charges if isinstance(outcome, Several) else (outcome,)
        ours = [seen for seen in charges if not s.reference or getattr(seen, "reference", None) == s.reference]
        if isinstance(verdict.step, Finish):
            owed = {owed.reference for owed in verdict.owed}
            left = [seen for seen in ours if not is_gone(seen, s)]
            assert all(getattr(seen, "reference", None) in owed or isinstance(seen, Declined) for seen in left), (
                outcome,
                s,
                verdict,
            )
            assert ours, (outcome, s)
        else:
            assert verdict.owed == (), (outcome, s)


def test_it_is_called_again_only_after_it_was_asked_about_and_while_that_is_safe() -> None:
    for outcome, s in product(OUTCOMES, situations()):
        if isinstance(reduce(outcome, s).step, CallAgain):
            assert s.state is S.IN_DOUBT, (outcome, s)
            assert s.may_repeat, (outcome, s)
            assert isinstance(outcome, Captured | Authorized | Pending | Several), (outcome, s)


@pytest.mark.parametrize("how", [Undoing.VOIDED, Undoing.EXPIRED, Undoing.BARRED])
def test_what_was_let_go_is_asked_about_for_as_long_as_a_charge_may_land(how: Undoing) -> None:
    for s in (VOID_CALLED, VOID_ASKED, BY_KEY_CALLED, BY_KEY_ASKED):
        undone = Undone(how, s.reference or None)
        assert reduce(undone, s) == Verdict(Finish(how))
        assert reduce(undone, replace(s, may_still_land=True)) == Verdict(AskLater(F.GATEWAY_TIMEOUT))
    refunded = Undone(Undoing.REFUNDED, "ch_1")
    assert reduce(refunded, replace(VOID_ASKED, may_still_land=True)) == Verdict(Finish(Undoing.REFUNDED))


def test_what_is_owed_instead_names_its_charge() -> None:
    for outcome, s in product(OUTCOMES, situations()):
        for owed in reduce(outcome, s).owed:
            assert owed.reference, (outcome, s)
            assert (owed.kind, owed.reference) != (s.kind, s.reference), (outcome, s)  # It would never be made.


# By examples.


def test_a_refund_is_done_when_as_much_as_was_asked_for_went_back() -> None:
    assert reduce(Undone(Undoing.REFUNDED, "ch_1"), CALLED) == Verdict(Finish("refunded"))
    assert reduce(Captured("ch_1", refunded_minor=100), CALLED) == Verdict(Finish("refunded"))
    assert reduce(Captured("ch_1", refunded_minor=100), ASKED) == Verdict(Finish("refunded"))


def test_a_refund_that_was_not_made_is_made_under_the_same_key_while_that_is_safe() -> None:
    for refunded in (0, 99):
        left = Captured("ch_1", refunded_minor=refunded)
        assert reduce(left, ASKED) == Verdict(CallAgain())
        assert reduce(left, CALLED) == Verdict(AskLater(F.GATEWAY_ERROR))
        assert reduce(left, replace(ASKED, may_repeat=False)) == Verdict(AskLater(F.GATEWAY_ERROR))


def test_a_void_is_done_when_nothing_is_held() -> None:
    for how in (Undoing.VOIDED, Undoing.EXPIRED, Undoing.REFUNDED):
        for situation in (VOID_CALLED, VOID_ASKED):
            assert reduce(Undone(how, "ch_1"), situation) == Verdict(Finish(how))
    assert reduce(Declined(F.DECLINED, "x", "ch_1"), VOID_ASKED) == Verdict(Finish("declined"))
    for held in (Authorized("ch_1"), Pending("ch_1", None)):
        assert reduce(held, VOID_ASKED) == Verdict(CallAgain())


def test_a_void_that_finds_the_charge_captured_owes_a_refund() -> None:
    refund = Owed(K.REFUND, R.CAPTURED_MEANWHILE, "ch_1")
    for situation in (VOID_CALLED, VOID_ASKED):
        assert reduce(Captured("ch_1"), situation) == Verdict(Finish("captured_meanwhile"), (refund,))


def test_a_refusal_is_looked_into() -> None:
    for situation in (CALLED, VOID_CALLED, BY_KEY_CALLED):
        for code in (F.ALREADY_DONE, F.CONFIGURATION, F.DECLINED):
            assert reduce(Declined(code, "x", "ch_1"), situation) == Verdict(AskLater(code))


def test_what_was_not_sent_is_owed_as_before() -> None:
    assert reduce(NeverSent(F.RATE_LIMITED, ""), CALLED) == Verdict(TryLater(F.RATE_LIMITED))
    assert reduce(NeverSent(F.RATE_LIMITED, ""), ASKED) == Verdict(AskLater(F.RATE_LIMITED))
    for situation in (CALLED, ASKED):
        assert reduce(InDoubt(F.GATEWAY_TIMEOUT, ""), situation) == Verdict(AskLater(F.GATEWAY_TIMEOUT))


@pytest.mark.parametrize(
    "seen",
    [
        Captured("ch_2"),
        Captured("ch_2", refunded_minor=100),
        Authorized("ch_2"),
        Undone(Undoing.VOIDED, "ch_2"),
        Undone(Undoing.REFUNDED, "ch_2"),
        Undone(Undoing.BARRED, None),
        Declined(F.DECLINED, "x", "ch_2"),
    ],
)
@pytest.mark.parametrize("situation", [ASKED, VOID_ASKED])
def test_another_charge_says_nothing_of_this_one(seen: ChargeSeen, situation: Situation) -> None:
    assert reduce(seen, situation) == Verdict(AskLater(F.KEY_MISMATCH))


def test_a_charge_that_was_seen_is_not_proven_away() -> None:
    for situation in (ASKED, VOID_ASKED):
        assert isinstance(reduce(NotFound(), replace(situation, is_absence_proven=True)).step, AskLater)
    assert reduce(Declined(F.DECLINED, "x", "ch_1"), ASKED) == Verdict(AskLater(F.KEY_MISMATCH))


def test_a_key_is_done_with_when_it_did_nothing_or_its_charge_has_a_compensation_of_its_own() -> None:
    assert reduce(Undone(Undoing.BARRED, None), BY_KEY_CALLED) == Verdict(Finish("barred"))
    assert reduce(NotFound(), BY_KEY_ASKED) == Verdict(AskLater(F.GATEWAY_ERROR))
    assert reduce(NotFound(), replace(BY_KEY_ASKED, is_absence_proven=True)) == Verdict(Finish("nothing_found"))
    refund = Owed(K.REFUND, R.CAPTURED_MEANWHILE, "ch_1")
    void = Owed(K.VOID, R.DOUBT_AFTER_THE_END, "ch_1")
    assert reduce(Captured("ch_1"), BY_KEY_ASKED) == Verdict(Finish("found_by_its_key"), (refund,))
    assert reduce(Authorized("ch_1"), BY_KEY_ASKED) == Verdict(Finish("found_by_its_key"), (void,))
    several = Several((Captured("ch_1"), Undone(Undoing.VOIDED, "ch_2")))
    assert reduce(several, BY_KEY_ASKED) == Verdict(Finish("several_found"), (refund,))


def test_of_several_charges_only_its_own_counts() -> None:
    several = Several((Captured("ch_2"), Undone(Undoing.REFUNDED, "ch_1")))
    assert reduce(several, ASKED) == Verdict(Finish("refunded"))
    assert reduce(Several((Captured("ch_2"), Captured("ch_3"))), ASKED) == Verdict(AskLater(F.GATEWAY_ERROR))


def test_a_repeat_that_was_not_sent_says_nothing_of_the_first_try() -> None:
    repeat = replace(CALLED, is_first=False)
    assert reduce(NeverSent(F.RATE_LIMITED, ""), CALLED).step == TryLater(F.RATE_LIMITED)
    assert reduce(NeverSent(F.RATE_LIMITED, ""), repeat).step == AskLater(F.RATE_LIMITED)
