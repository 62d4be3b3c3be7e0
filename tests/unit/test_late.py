"""The policy for money that came: every line of it, and every case that it can meet."""

from itertools import product

import pytest

from payments.domain.compensations import CompensationReason
from payments.domain.late import POLICY, Success, judge
from payments.domain.states import AttemptState, OrderStatus

S, O, R = AttemptState, OrderStatus, CompensationReason  # noqa: E741 - one letter each, beside the table below

# One line of the policy each, in its order: the case that this line and no earlier one decides.
LINES: tuple[tuple[Success, CompensationReason | None], ...] = (
    (Success(S.SUCCEEDED, O.UNDER_PAYING, is_stock_held=True, is_in_time=True), R.SECOND_SUCCESS),
    (Success(S.IN_DOUBT, O.PAID, is_stock_held=True, is_in_time=True), R.SECOND_SUCCESS),
    (Success(S.IN_DOUBT, O.CANCELLED, is_stock_held=True, is_in_time=True), R.ORDER_CLOSED),
    (Success(S.FAILED, O.UNDER_PAYING, is_stock_held=True, is_in_time=True), R.TOO_LATE),
    (Success(S.IN_DOUBT, O.UNDER_PAYING, is_stock_held=True, is_in_time=False), R.TOO_LATE),
    (Success(S.IN_DOUBT, O.UNDER_PAYING, is_stock_held=False, is_in_time=True), R.STOCK_GONE),
    (Success(S.IN_DOUBT, O.UNDER_PAYING, is_stock_held=True, is_in_time=True), None),
)

# Every state that an attempt can have when its money is seen; a new one has to be put on a side.
MAY_PAY = frozenset({S.OPEN, S.QUEUED, S.CHARGING, S.CONFIRMING, S.IN_DOUBT, S.NEEDS_REVIEW})
HAS_ENDED = frozenset({S.SUCCEEDED, S.FAILED, S.EXPIRED, S.CANCELLED})


@pytest.mark.parametrize(("number", "success", "reason"), [(n, *line) for n, line in enumerate(LINES)])
def test_each_line_decides_its_case(number: int, success: Success, reason: CompensationReason | None) -> None:
    assert [rule.fits(success) for rule in POLICY].index(True) == number
    assert judge(success) is reason


def test_every_line_has_its_case() -> None:
    assert len(LINES) == len(POLICY)


def test_money_pays_only_an_unpaid_order_with_its_stock_in_time() -> None:
    assert set(AttemptState) == MAY_PAY | HAS_ENDED
    for state, status, stock, in_time in product(S, O, (True, False), (True, False)):
        is_accepted = judge(Success(state, status, is_stock_held=stock, is_in_time=in_time)) is None
        assert is_accepted == (state in MAY_PAY and status is O.UNDER_PAYING and stock and in_time), (state, status)


def test_a_paid_order_gives_every_second_success_back_as_one() -> None:
    """A refunded order is a paid one: it is never revived."""
    for state, stock, in_time in product(S, (True, False), (True, False)):
        assert judge(Success(state, O.PAID, is_stock_held=stock, is_in_time=in_time)) is R.SECOND_SUCCESS
