"""How soon a client is told to ask again."""

import pytest

from payments.domain.polling import retry_after_seconds
from payments.domain.states import TERMINAL, AttemptState


@pytest.mark.parametrize("state", [state for state in AttemptState if state not in TERMINAL])
def test_what_goes_on_is_worth_another_question(state: AttemptState) -> None:
    assert (retry_after_seconds(state, is_ended=False, left_seconds=900) or 0) >= 1


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_what_has_ended_is_not(state: AttemptState) -> None:
    assert retry_after_seconds(state, is_ended=True, left_seconds=900) is None


@pytest.mark.parametrize(("left_seconds", "expected"), [(900.0, 5), (5.0, 5), (3.2, 4), (0.4, 1), (-2.0, 1)])
def test_an_open_payment_is_asked_about_no_later_than_its_deadline(left_seconds: float, expected: int) -> None:
    assert retry_after_seconds(AttemptState.OPEN, is_ended=False, left_seconds=left_seconds) == expected


def test_what_reads_as_expired_is_asked_about_until_it_is_ended() -> None:
    assert retry_after_seconds(AttemptState.EXPIRED, is_ended=False, left_seconds=-1) == 1


def test_an_end_that_has_not_ended_is_a_fault_of_the_caller() -> None:
    with pytest.raises(ValueError, match="failed"):
        retry_after_seconds(AttemptState.FAILED, is_ended=False, left_seconds=1)
