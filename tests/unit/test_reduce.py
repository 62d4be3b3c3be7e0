"""What the reducer may never do, over every outcome in every situation. The rules themselves: test_reduce_rules.py."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import assert_never, get_args

import pytest

from payments.domain.clock import Ruling
from payments.domain.compensations import CompensationKind
from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Authorized,
    Captured,
    ChargeSeen,
    Declined,
    InDoubt,
    NeverSent,
    NotFound,
    Operation,
    Outcome,
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
    Step,
    Succeed,
    Verdict,
    reduce,
)
from payments.domain.states import TERMINAL, TRANSITIONS, AttemptState, OrderStatus

S, FLAGS = AttemptState, (True, False)
KNOWN, OTHER = "ch_known", "ch_other"
ASKED_ABOUT = frozenset({S.CHARGING, S.CONFIRMING, S.IN_DOUBT})

# Window, grace and late allowance close in this order, so there are four times of day.
# (window, grace, whether money may still be accepted), as they follow one another.
TIMES = (
    (Ruling.CHARGE, Ruling.CHARGE, True),
    (Ruling.HOLD, Ruling.CHARGE, True),
    (Ruling.HOLD, Ruling.HOLD, True),
    (Ruling.EXPIRE, Ruling.CHARGE, True),
    (Ruling.EXPIRE, Ruling.WAIT, True),
    (Ruling.EXPIRE, Ruling.EXPIRE, True),
    (Ruling.EXPIRE, Ruling.EXPIRE, False),
)


def seen_as(reference: str) -> tuple[ChargeSeen, ...]:
    return (
        Captured(reference),
        Authorized(reference),
        Pending(reference, None),
        Pending(reference, None, is_approved=True),
        Declined(FailureCode.DECLINED, "x", reference),
        Undone(Undoing.REFUNDED, reference),
    )


OUTCOMES: tuple[Outcome, ...] = (
    *seen_as(KNOWN),
    *seen_as(OTHER),
    Captured(OTHER, refunded_minor=5),
    Pending(OTHER, "https://gateway.example/pay"),
    Pending(OTHER, None, is_approved=True),
    *(Undone(how, reference) for how in Undoing for reference in (OTHER, None)),
    *(Declined(code, "x", None) for code in FailureCode),
    NotFound(),
    *(NeverSent(code, "") for code in (FailureCode.STALE_CHECK, FailureCode.RATE_LIMITED)),
    *(InDoubt(code, "") for code in (FailureCode.GATEWAY_TIMEOUT, FailureCode.KEY_MISMATCH)),
    *(Several((one, another)) for one, another in product(seen_as(OTHER), seen_as(KNOWN))),
    Several((Captured("ch_1"), Captured("ch_2"), Authorized("ch_3"), Pending("ch_4", None))),
)


def situations(state: AttemptState, *, evidence: bool) -> Iterator[Situation]:
    """Every situation; what only a look-up that finds nothing asks about is varied with `evidence` alone."""
    replays, cancels, absences = (FLAGS, FLAGS, FLAGS) if evidence else ((False,), (True,), (False,))
    for status, stock, times, operation, current, known, replay, cancel, cancelling, absence in product(
        OrderStatus, FLAGS, TIMES, Operation, FLAGS, ("", KNOWN), replays, cancels, FLAGS, absences
    ):
        if current and state in TERMINAL:
            continue  # What has ended has no claim.
        yield Situation(
            state=state,
            order_status=status,
            is_stock_held=stock,
            window=times[0],
            grace=times[1],
            is_in_time=times[2],
            operation=operation,
            is_current=current,
            known_reference=known,
            doubt_code="worker_lost" if state in {S.IN_DOUBT, S.NEEDS_REVIEW} else "",
            may_replay=replay and current,
            may_cancel_key=cancel,
            is_cancelling=cancelling,
            is_absence_proven=absence,
        )


def verdicts(state: AttemptState) -> Iterator[tuple[Outcome, Situation, Verdict]]:
    for evidence, outcomes in ((False, OUTCOMES), (True, (NotFound(),))):
        for situation in situations(state, evidence=evidence):
            for outcome in outcomes:
                yield outcome, situation, reduce(outcome, situation)


def target(step: Step) -> AttemptState | None:
    """Say where a step leads; a new step has to be put in its place here."""
    match step:
        case Succeed():
            return S.SUCCEEDED
        case Fail():
            return S.FAILED
        case Expire():
            return S.EXPIRED
        case Confirm():
            return S.CONFIRMING
        case Requeue():
            return S.QUEUED
        case Doubt():
            return S.IN_DOUBT
        case BeginCapture() | BeginReplay() | BeginCancel() | AskAgain() | Leave():
            return None
        case _:
            assert_never(step)


def charges_of(outcome: Outcome) -> tuple[Outcome, ...]:
    return outcome.charges if isinstance(outcome, Several) else (outcome,)


def given_back(verdict: Verdict, kind: CompensationKind) -> set[str]:
    return {owed.reference for owed in verdict.owed if owed.kind is kind}


# The rules. Each says in one assertion what no verdict may break.


def every_step_is_a_way_that_the_table_has(_: Outcome, s: Situation, verdict: Verdict) -> None:
    """A verdict that the database refuses would lose the answer."""
    to = target(verdict.step)
    if to is S.SUCCEEDED and s.state is S.QUEUED:
        assert S.SUCCEEDED in TRANSITIONS[S.CHARGING]  # By way of its claim.
    elif to is not None:
        assert to in TRANSITIONS[s.state]
    elif isinstance(verdict.step, AskAgain):
        assert s.state in {S.CONFIRMING, S.IN_DOUBT}  # A charging one has a lease, which is not moved.
    elif not isinstance(verdict.step, Leave):
        assert s.state in ASKED_ABOUT


def nothing_begins_outside_its_window(_: Outcome, s: Situation, verdict: Verdict) -> None:
    if isinstance(verdict.step, BeginReplay):
        assert s.window is Ruling.CHARGE
        assert s.may_replay
        assert not s.known_reference
    if isinstance(verdict.step, BeginCapture):
        assert s.grace is Ruling.CHARGE
        assert s.is_stock_held
        assert s.order_status is OrderStatus.UNDER_PAYING


def only_what_was_never_sent_goes_back_to_the_queue(outcome: Outcome, s: Situation, verdict: Verdict) -> None:
    if isinstance(verdict.step, Requeue):
        assert isinstance(outcome, NeverSent)
        assert s.state is S.CHARGING
        assert s.operation in {Operation.AUTHORIZE, Operation.CHARGE}


def money_is_accepted_in_time_for_an_unpaid_order_with_its_stock(
    outcome: Outcome, s: Situation, verdict: Verdict
) -> None:
    if isinstance(verdict.step, Succeed):
        assert s.order_status is OrderStatus.UNDER_PAYING
        assert s.is_stock_held
        assert s.is_in_time
        taken = [seen for seen in charges_of(outcome) if isinstance(seen, Captured)]
        assert verdict.step.reference in {seen.reference for seen in taken}


def no_captured_money_is_forgotten(outcome: Outcome, s: Situation, verdict: Verdict) -> None:
    """It pays the order, or is what paid it, or goes back, or waits for a person."""
    for seen in charges_of(outcome):
        if not isinstance(seen, Captured):
            continue
        is_accepted = isinstance(verdict.step, Succeed) and verdict.step.reference == seen.reference
        is_the_payment = s.state is S.SUCCEEDED and seen.reference == s.known_reference
        goes_back = seen.reference in given_back(verdict, CompensationKind.REFUND)
        if s.state is S.NEEDS_REVIEW:
            assert not (is_accepted and goes_back)
        else:
            assert [is_accepted, is_the_payment, goes_back].count(True) == 1


def nothing_stays_held_under_an_attempt_that_has_ended(outcome: Outcome, s: Situation, verdict: Verdict) -> None:
    ends = s.state in TERMINAL or isinstance(verdict.step, Fail | Expire | Succeed)
    is_seen_by_the_latest_claim = s.state not in TERMINAL and not s.is_current
    for seen in charges_of(outcome):
        if ends and isinstance(seen, Authorized | Pending) and not is_seen_by_the_latest_claim:
            is_the_payment = s.state is S.SUCCEEDED and seen.reference == s.known_reference
            assert is_the_payment != (seen.reference in given_back(verdict, CompensationKind.VOID))


def the_payment_itself_is_never_given_back(_: Outcome, s: Situation, verdict: Verdict) -> None:
    if s.state is S.SUCCEEDED:
        assert "" not in {owed.reference for owed in verdict.owed}
        assert s.known_reference not in {owed.reference for owed in verdict.owed}


def finding_nothing_ends_nothing_without_proof(outcome: Outcome, s: Situation, verdict: Verdict) -> None:
    if isinstance(outcome, NotFound) and isinstance(verdict.step, Fail | Expire):
        assert s.is_absence_proven


def no_answer_is_no_ending(outcome: Outcome, _: Situation, verdict: Verdict) -> None:
    if isinstance(outcome, InDoubt | NeverSent):
        assert not isinstance(verdict.step, Fail | Expire | Succeed)


def an_older_claim_begins_nothing(outcome: Outcome, s: Situation, verdict: Verdict) -> None:
    """Only money that moved acts, whoever brings it."""
    if not s.is_current and not isinstance(verdict.step, Leave):
        assert isinstance(verdict.step, Succeed | Fail | Expire)
        assert any(isinstance(seen, Captured) for seen in charges_of(outcome))


def the_latest_claim_leaves_no_attempt_without_a_next_step(outcome: Outcome, s: Situation, verdict: Verdict) -> None:
    if s.is_current and s.state in ASKED_ABOUT and isinstance(verdict.step, Leave):
        assert s.state is S.CHARGING  # Its own call is still running:
        assert isinstance(outcome, NotFound)


def an_attempt_expires_after_its_window(_: Outcome, s: Situation, verdict: Verdict) -> None:
    if isinstance(verdict.step, Expire):
        assert s.window is Ruling.EXPIRE


def a_failure_that_gives_money_back_says_so(outcome: Outcome, _: Situation, verdict: Verdict) -> None:
    if isinstance(verdict.step, Fail) and not isinstance(outcome, Declined):
        is_taken = any(isinstance(seen, Captured) or seen == Undone(Undoing.REFUNDED, KNOWN) for seen in [outcome])
        assert not is_taken or verdict.step.code is FailureCode.GIVEN_BACK


def what_goes_back_names_its_charge(_: Outcome, __: Situation, verdict: Verdict) -> None:
    assert verdict.already_returned is None or verdict.already_returned.reference
    for owed in verdict.owed:
        assert owed.reference or owed.kind is CompensationKind.VOID  # A void may go by the key.
    assert len({(owed.kind, owed.reference) for owed in verdict.owed}) == len(verdict.owed)


RULES: tuple[Callable[[Outcome, Situation, Verdict], None], ...] = (
    every_step_is_a_way_that_the_table_has,
    nothing_begins_outside_its_window,
    only_what_was_never_sent_goes_back_to_the_queue,
    money_is_accepted_in_time_for_an_unpaid_order_with_its_stock,
    no_captured_money_is_forgotten,
    nothing_stays_held_under_an_attempt_that_has_ended,
    the_payment_itself_is_never_given_back,
    finding_nothing_ends_nothing_without_proof,
    no_answer_is_no_ending,
    an_older_claim_begins_nothing,
    the_latest_claim_leaves_no_attempt_without_a_next_step,
    an_attempt_expires_after_its_window,
    a_failure_that_gives_money_back_says_so,
    what_goes_back_names_its_charge,
)


@pytest.mark.parametrize("state", AttemptState)
def test_no_verdict_breaks_a_rule(state: AttemptState) -> None:
    for outcome, situation, verdict in verdicts(state):
        for rule in RULES:
            try:
                rule(outcome, situation, verdict)
            except AssertionError as error:
                message = f"{rule.__name__}: {outcome} in {situation} gave {verdict}"
                raise AssertionError(message) from error


def test_every_kind_of_outcome_is_tried_and_every_kind_of_step_taken() -> None:
    assert {type(outcome) for outcome in OUTCOMES} == set(get_args(Outcome))
    assert {type(seen) for seen in seen_as(KNOWN)} == set(get_args(ChargeSeen))
    taken = {type(verdict.step) for state in (S.CHARGING, S.IN_DOUBT) for _, _, verdict in verdicts(state)}
    assert taken == set(get_args(Step))
