"""Giving money back: what a compensation can be, and the states of its own life."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


class CompensationKind(enum.StrEnum):
    """What is done at the gateway."""

    VOID = "void"  # Let go of what is held or pending, or of whatever a key did.
    REFUND = "refund"  # Give back what was taken.


class CompensationReason(enum.StrEnum):
    """Why money goes back."""

    TOO_LATE = "too_late"  # It came after the window, its grace and the late allowance.
    SECOND_SUCCESS = "second_success"  # The order was paid already.
    ORDER_CLOSED = "order_closed"  # The order had been cancelled.
    STOCK_GONE = "stock_gone"  # What was ordered had been given to others.
    SECOND_CHARGE = "second_charge"  # The gateway charged twice under one attempt.
    CAPTURE_DECLINED = "capture_declined"  # The money was held and could not be taken.
    DOUBT_AFTER_THE_END = "doubt_after_the_end"  # A late call without an answer: nothing of it may remain.
    CAPTURED_MEANWHILE = "captured_meanwhile"  # A void came too late, so it has to be a refund.
    STAFF = "staff"  # A person asked for it.


class CompensationState(enum.StrEnum):
    """Where a compensation stands."""

    OWED = "owed"  # Committed here; the gateway has not been asked, or provably did nothing.
    CALLING = "calling"  # Committed before the call: from now on it may be done there.
    IN_DOUBT = "in_doubt"  # The call ended without an answer. Asking tells, or the same key again.
    NEEDS_REVIEW = "needs_review"  # Trying is exhausted; a person decides.
    DONE = "done"  # No money of this charge is ours any more, or as much as asked for was given back.


_S = CompensationState

COMPENSATION_TRANSITIONS: Mapping[CompensationState, frozenset[CompensationState]] = MappingProxyType(
    {
        _S.OWED: frozenset({_S.CALLING}),
        _S.CALLING: frozenset({_S.DONE, _S.OWED, _S.IN_DOUBT, _S.NEEDS_REVIEW}),
        _S.IN_DOUBT: frozenset({_S.CALLING, _S.DONE, _S.NEEDS_REVIEW}),
        _S.NEEDS_REVIEW: frozenset({_S.OWED, _S.DONE}),
        # Only when the gateway shows later that it was not done, or was undone (reopen).
        _S.DONE: frozenset({_S.OWED, _S.NEEDS_REVIEW}),
    }
)


def compensation_edges() -> list[tuple[str, str]]:
    """List every edge of the table as (before, after), sorted: what the trigger is made from."""
    return sorted(
        (before.value, after.value) for before, following in COMPENSATION_TRANSITIONS.items() for after in following
    )


@dataclass(frozen=True, slots=True)
class Owed:
    """A compensation that a decision calls for."""

    kind: CompensationKind
    reason: CompensationReason
    reference: str  # The gateway's id of the charge; empty when only the key is known.
