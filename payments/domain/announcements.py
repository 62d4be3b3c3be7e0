"""What the host is told: the kinds of announcements and what each says.

A payload carries ids, amounts and codes, and never a card, a token or a key. Its shape has a version; what was
announced under one is never written anew.
"""

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from payments.domain.states import AttemptState

PAYLOAD_VERSION = 1


class AnnouncementKind(enum.StrEnum):
    """What happened."""

    ORDER_PAID = "order_paid"  # The money is ours, and the stock is sold: ship it.
    PAYMENT_EXPIRED = "payment_expired"  # The window closed: the order is cancelled, and its stock is given back.
    PAYMENT_FAILED = "payment_failed"  # With a code; the order may still be paid by another attempt.
    REFUNDED = "refunded"  # Money went back, or what was held was let go: it is settled at the gateway.
    NEEDS_REVIEW = "needs_review"  # Asking is exhausted; a person has to decide.
    PAYMENT_CANCELLED = "payment_cancelled"  # Withdrawn before anything was charged.


_S = AttemptState

# What an announcement may be about, None being an order without an attempt of its own. It keeps a caller from telling
# what is not, or not yet, written in the row.
ANNOUNCED_STATES: Mapping[AnnouncementKind, frozenset[AttemptState | None]] = MappingProxyType(
    {
        AnnouncementKind.ORDER_PAID: frozenset({_S.SUCCEEDED}),
        AnnouncementKind.PAYMENT_EXPIRED: frozenset({_S.EXPIRED, None}),
        AnnouncementKind.PAYMENT_FAILED: frozenset({_S.FAILED}),
        AnnouncementKind.REFUNDED: frozenset(AttemptState),  # Staff refund what succeeded; other money came too late.
        AnnouncementKind.NEEDS_REVIEW: frozenset(AttemptState),  # The attempt itself, or money that should go back.
        AnnouncementKind.PAYMENT_CANCELLED: frozenset({_S.CANCELLED, None}),
    }
)

_WAYS_BACK = frozenset({"void", "refund"})


@dataclass(frozen=True, slots=True)
class GivenBack:
    """Money that goes back to the customer.

    :raises ValueError: for another way than the two.
    """

    kind: str  # "void": what was held is let go. "refund": what was taken is given back.
    amount_minor: int
    reason: str  # A code, such as too_late.

    def __post_init__(self) -> None:
        if self.kind not in _WAYS_BACK:
            message = f"money goes back by one of {sorted(_WAYS_BACK)}, not by {self.kind!r}"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Notice:
    """One announcement, as a host's function gets it; its payload is what webhooks carry."""

    id: str  # `ann_...`, the same at every delivery: process each once.
    number: int  # 1 for the first of its order, without gaps.
    kind: AnnouncementKind
    created_at: datetime  # Database time of the transaction that made it true.
    order_id: str  # The shop's own number.
    payment_id: str | None  # None when only the order is meant.
    state: AttemptState | None  # Of the payment, when this was written.
    amount_minor: int  # Of the payment or the order, in minor units of the currency.
    currency: str
    failure_code: str | None  # Of a failed payment.
    reason: str | None  # A code that says more, where there is one.
    given_back: GivenBack | None  # Settled in `refunded`; in another kind it is owed, and `refunded` follows.
    message: str  # A sentence for the customer.
    version: int = PAYLOAD_VERSION

    def payload(self) -> dict[str, object]:
        """Write it as plain JSON values."""
        created_at = self.created_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return {**asdict(self), "created_at": created_at}


def notice_from(payload: Mapping[str, Any]) -> Notice:
    """Read a payload back; fields that a newer version added are left out."""
    given_back, state = payload["given_back"], payload["state"]
    return Notice(
        id=payload["id"],
        number=payload["number"],
        kind=AnnouncementKind(payload["kind"]),
        created_at=datetime.fromisoformat(payload["created_at"]),
        order_id=payload["order_id"],
        payment_id=payload["payment_id"],
        state=None if state is None else AttemptState(state),
        amount_minor=payload["amount_minor"],
        currency=payload["currency"],
        failure_code=payload["failure_code"],
        reason=payload["reason"],
        given_back=None if given_back is None else GivenBack(**given_back),
        message=payload["message"],
        version=payload["version"],
    )
