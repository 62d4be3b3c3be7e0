"""What a gateway answers: a value for every ending of a call. Only bugs are exceptions."""

import enum
from dataclasses import dataclass

from payments.domain.failures import FailureCode


class Operation(enum.StrEnum):
    """What a gateway can be asked to do."""

    AUTHORIZE = "authorize"  # Hold the money.
    CHARGE = "charge"  # Hold and take it in one call.
    CAPTURE = "capture"  # Take what is held.
    VOID = "void"  # Let go of what is held or still pending.
    REFUND = "refund"  # Give back what was taken.
    LOOK_UP = "look_up"  # Ask what became of a charge; moves nothing.
    CANCEL_KEY = "cancel_key"  # Undo whatever a key did, and bar it from doing anything later.


# What may take a customer's money: begun only inside the window, each once under its key.
BEGINS_CHARGE = frozenset({Operation.AUTHORIZE, Operation.CHARGE})


class Undoing(enum.StrEnum):
    """Why there is no money of ours at the gateway, now and later."""

    BARRED = "barred"  # The key will never do anything.
    VOIDED = "voided"
    EXPIRED = "expired"  # The gateway let an authorisation or a pending payment lapse.
    REFUNDED = "refunded"  # The money was taken, and all of it was given back.


@dataclass(frozen=True, slots=True)
class Captured:
    """The money moved."""

    reference: str  # The gateway's id of the charge.
    refunded_minor: int = 0  # Given back since, in minor units; less than all of it.


@dataclass(frozen=True, slots=True)
class Authorized:
    """The money is held for us and has not moved."""

    reference: str


@dataclass(frozen=True, slots=True)
class Pending:
    """The gateway took it and will tell later; the customer may have to visit `redirect_url`.

    `is_approved`: the customer has agreed there, and the gateway waits for the same request once more before it holds
    anything.
    """

    reference: str
    redirect_url: str | None
    is_approved: bool = False


@dataclass(frozen=True, slots=True)
class Declined:
    """The gateway refused what was asked, and did not do it."""

    code: FailureCode
    gateway_code: str  # As the gateway spelled it.
    reference: str | None


@dataclass(frozen=True, slots=True)
class Undone:
    """There is no money of ours under this charge or key, and there will be none."""

    how: Undoing
    reference: str | None  # None when the key was barred before it made a charge.


@dataclass(frozen=True, slots=True)
class NotFound:
    """Asked, the gateway knows of no such charge. That proves nothing while a request may still be on its way."""


@dataclass(frozen=True, slots=True)
class NeverSent:
    """Provably nothing reached the gateway, or it said that it did nothing: the same request may be sent again."""

    code: FailureCode
    detail: str


@dataclass(frozen=True, slots=True)
class InDoubt:
    """The call ended without an answer that proves anything; `reference`, if it got so far as to learn of a charge."""

    code: FailureCode
    detail: str
    reference: str = ""


# What one charge can be seen as.
ChargeSeen = Captured | Authorized | Pending | Declined | Undone


@dataclass(frozen=True, slots=True)
class Several:
    """Asked, the gateway knows of more than one charge under our reference: at most one of them may stand."""

    charges: tuple[ChargeSeen, ...]


Outcome = ChargeSeen | Several | NotFound | NeverSent | InDoubt
