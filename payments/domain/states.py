"""The states and every way between them.

`TRANSITIONS` is the one source: the database trigger that refuses any other transition is generated from it, and so
is the diagram in docs/architecture.md.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType


class AttemptState(enum.StrEnum):
    """Where one payment attempt stands. A timeout is a doubt, never a failure."""

    OPEN = "open"  # The window runs; nothing was submitted.
    QUEUED = "queued"  # Committed here; the gateway has never heard of it.
    CHARGING = "charging"  # Committed before the call: from now on it may exist there.
    CONFIRMING = "confirming"  # The gateway took it and will tell.
    IN_DOUBT = "in_doubt"  # The call ended without an answer. Only evidence leads out.
    NEEDS_REVIEW = "needs_review"  # Asking is exhausted; a person decides, with a reason.
    SUCCEEDED = "succeeded"  # Money captured in time, or accepted late by policy.
    FAILED = "failed"  # With a code from the failure table; provably no money.
    EXPIRED = "expired"  # The window closed first.
    CANCELLED = "cancelled"  # Withdrawn before it was claimed.


_S = AttemptState

TRANSITIONS: Mapping[AttemptState, frozenset[AttemptState]] = MappingProxyType(
    {
        _S.OPEN: frozenset({_S.QUEUED, _S.EXPIRED, _S.CANCELLED}),
        _S.QUEUED: frozenset({_S.CHARGING, _S.EXPIRED, _S.CANCELLED}),
        # Back to queued only with proof that nothing was sent; expired only after a void.
        _S.CHARGING: frozenset({_S.SUCCEEDED, _S.FAILED, _S.CONFIRMING, _S.IN_DOUBT, _S.EXPIRED, _S.QUEUED}),
        _S.CONFIRMING: frozenset({_S.SUCCEEDED, _S.FAILED, _S.EXPIRED, _S.IN_DOUBT}),
        # Never back to queued: a timeout is not permission to charge again.
        _S.IN_DOUBT: frozenset({_S.SUCCEEDED, _S.FAILED, _S.EXPIRED, _S.CONFIRMING, _S.NEEDS_REVIEW}),
        _S.NEEDS_REVIEW: frozenset({_S.SUCCEEDED, _S.FAILED}),
        _S.SUCCEEDED: frozenset(),
        _S.FAILED: frozenset(),
        _S.EXPIRED: frozenset(),
        _S.CANCELLED: frozenset(),
    }
)

TERMINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)

# A customer tries three times, then starts again from the cart.
MAX_ATTEMPTS_PER_ORDER = 3

# At most one of these an order. A success keeps the slot for good.
SLOT_HOLDING = frozenset(AttemptState) - {_S.FAILED, _S.EXPIRED, _S.CANCELLED}

# What the sweep may end by itself: the gateway has never heard of these.
SWEEPABLE = frozenset({_S.OPEN, _S.QUEUED})

# Money may have moved or may still move: only evidence ends these.
UNRESOLVED = SLOT_HOLDING - SWEEPABLE - {_S.SUCCEEDED}

# Of these the gateway is asked; what is under review waits for a person.
ASKED_ABOUT = UNRESOLVED - {_S.NEEDS_REVIEW}


class OrderStatus(enum.StrEnum):
    """The host's view of an order while Paywindow holds it."""

    UNDER_PAYING = "under_paying"  # Waits for its payment and holds its stock.
    PAID = "paid"
    CANCELLED = "cancelled"


class PaymentStatus(enum.StrEnum):
    """The money's side of an order."""

    PENDING = "pending"  # An attempt lives.
    FAILED = "failed"  # The last attempt failed and none lives; the stock is held until the deadline.
    PAID = "paid"
    REFUNDED = "refunded"  # Paid, and all of it given back. Never revived.
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class ReservationState(enum.StrEnum):
    """A reservation is exactly one of these; the last two are final."""

    ACTIVE = "active"
    CONSUMED = "consumed"
    RELEASED = "released"


def edges() -> list[tuple[str, str]]:
    """List every edge of the table as (before, after), sorted: what the trigger and the diagram are made from."""
    return sorted((before.value, after.value) for before, following in TRANSITIONS.items() for after in following)
