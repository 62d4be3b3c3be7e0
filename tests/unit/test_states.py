from pathlib import Path

import pytest

from payments.domain.failures import DOUBT_MESSAGES, MESSAGES, REMEDIES, FailureCode
from payments.domain.messages import attempt_message, order_message
from payments.domain.states import (
    SLOT_HOLDING,
    SWEEPABLE,
    TERMINAL,
    TRANSITIONS,
    UNRESOLVED,
    AttemptState,
    OrderStatus,
    PaymentStatus,
    edges,
)

S = AttemptState


def test_every_state_has_its_line_in_the_table() -> None:
    assert set(TRANSITIONS) == set(AttemptState)


def test_terminal_states_are_the_four_that_nothing_leaves() -> None:
    assert {S.SUCCEEDED, S.FAILED, S.EXPIRED, S.CANCELLED} == TERMINAL


def test_a_timeout_is_never_permission_to_charge_again() -> None:
    reachable, frontier = set(), {S.IN_DOUBT}
    while frontier:
        state = frontier.pop()
        reachable.add(state)
        frontier |= TRANSITIONS[state] - reachable
    assert reachable.isdisjoint({S.OPEN, S.QUEUED, S.CHARGING})


def test_only_what_the_gateway_never_heard_of_is_swept() -> None:
    assert {S.OPEN, S.QUEUED} == SWEEPABLE
    assert {S.CHARGING, S.CONFIRMING, S.IN_DOUBT, S.NEEDS_REVIEW} == UNRESOLVED


def test_a_success_keeps_the_slot_and_the_other_endings_free_it() -> None:
    assert frozenset({S.FAILED, S.EXPIRED, S.CANCELLED}) == frozenset(AttemptState) - SLOT_HOLDING


def test_every_state_is_reached_from_open() -> None:
    following = {after for _, after in edges()}
    assert following == {state.value for state in AttemptState} - {"open"}


def test_every_failure_has_a_remedy_and_says_what_happened_to_the_money() -> None:
    assert set(REMEDIES) == set(MESSAGES) == set(DOUBT_MESSAGES) == set(FailureCode)
    for code, message in MESSAGES.items():
        assert ("not been charged" in message) != (code is FailureCode.GIVEN_BACK), code
    for code, message in DOUBT_MESSAGES.items():
        assert "finding out whether you were charged" in message, code
        assert "do not pay again" in message, code


def test_every_state_has_a_sentence_for_the_customer() -> None:
    sentences = {
        state: attempt_message(state=state, failure_code="declined" if state is S.FAILED else "")
        for state in AttemptState
    }
    assert all(sentences.values())
    for state in TERMINAL - {S.SUCCEEDED}:
        assert "not been charged" in sentences[state], state
    for state in UNRESOLVED:
        assert "do not pay again" in sentences[state], state


def test_every_order_has_a_sentence() -> None:
    for status in OrderStatus:
        for payment_status in PaymentStatus:
            for is_active in (True, False):
                assert order_message(
                    status=status, payment_status=payment_status, is_window_active=is_active, unresolved=None
                )


@pytest.mark.parametrize("state", sorted(UNRESOLVED))
def test_an_order_that_the_gateway_may_know_of_is_not_called_cancelled(state: AttemptState) -> None:
    message = order_message(
        status=OrderStatus.UNDER_PAYING,
        payment_status=PaymentStatus.PENDING,
        is_window_active=False,
        unresolved=state,
    )
    assert "cancelled" not in message
    assert "do not pay again" in message


def test_the_diagram_in_the_documentation_is_the_table(checkout_folder: Path) -> None:
    text = (checkout_folder / "docs" / "architecture.md").read_text()
    diagram = text.partition("stateDiagram-v2\n")[2].partition("```")[0]
    drawn = {tuple(line.strip().split(" --> ")) for line in diagram.splitlines() if line.strip()}
    assert drawn == {*edges(), ("[*]", "open"), *((state.value, "[*]") for state in TERMINAL)}
