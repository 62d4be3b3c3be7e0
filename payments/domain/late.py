"""Money that came: may it still pay the order? The policy as data, asked top down; the first rule that fits decides."""

from collections.abc import Callable
from dataclasses import dataclass

from payments.domain.compensations import CompensationReason
from payments.domain.states import AttemptState, OrderStatus


@dataclass(frozen=True, slots=True)
class Success:
    """A captured charge, and how things stand under the order's lock when it is seen."""

    state: AttemptState  # Of its attempt.
    order_status: OrderStatus
    is_stock_held: bool
    is_in_time: bool  # Before the end of window, grace and late allowance.


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the policy. Without `gives_back` the money is accepted."""

    fits: Callable[[Success], bool]
    gives_back: CompensationReason | None


_ENDED = frozenset({AttemptState.FAILED, AttemptState.EXPIRED, AttemptState.CANCELLED})

# A second success on a paid order is always given back, and a refunded order is a paid one: it is never revived.
POLICY: tuple[Rule, ...] = (
    Rule(lambda s: s.state is AttemptState.SUCCEEDED, CompensationReason.SECOND_SUCCESS),
    Rule(lambda s: s.order_status is OrderStatus.PAID, CompensationReason.SECOND_SUCCESS),
    Rule(lambda s: s.order_status is OrderStatus.CANCELLED, CompensationReason.ORDER_CLOSED),
    Rule(lambda s: s.state in _ENDED, CompensationReason.TOO_LATE),
    Rule(lambda s: not s.is_in_time, CompensationReason.TOO_LATE),
    Rule(lambda s: not s.is_stock_held, CompensationReason.STOCK_GONE),
    Rule(lambda _: True, None),
)


def judge(success: Success) -> CompensationReason | None:
    """Say why the money goes back; None when it pays the order."""
    return next(rule.gives_back for rule in POLICY if rule.fits(success))
