"""The nouns of the gateway: what a charge is, what may be asked of it, and how an ask can end."""

import dataclasses
import enum

from payments.gateways.sandbox.behaviours import Operation


class Status(enum.StrEnum):
    """Where a charge stands."""

    PENDING = "pending"  # The customer, or time, decides.
    APPROVED = "approved"  # The customer agreed to an order; nothing is held until the shop asks for it.
    AUTHORIZED = "authorized"  # The amount is held; nothing was taken.
    CAPTURED = "captured"  # Money was taken; part of it may have been refunded.
    REFUNDED = "refunded"  # All that was taken was given back.
    DECLINED = "declined"
    VOIDED = "voided"
    EXPIRED = "expired"


class Settlement(enum.StrEnum):
    """How a pending charge can be decided, and what the world may do to one later."""

    PAY = "pay"
    DECLINE = "decline"
    CANCEL = "cancel"
    EXPIRE = "expire"  # As if its time were over.
    FAIL_REFUND = "fail_refund"  # The bank sends back what was refunded.


class Cause(enum.StrEnum):
    """Who moved the money: an operation's row says so."""

    REQUEST = "request"
    CANCEL_BY_KEY = "cancel_by_key"
    HOSTED_PAGE = "hosted_page"
    TIMER = "timer"
    CONTROL = "control"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One charge as the ledger keeps it. Amounts are integer minor units, times ISO 8601 UTC."""

    id: str
    dialect: str  # The face that it was made through.
    reference: str
    idempotency_key: str
    status: Status
    amount_minor: int
    amount_captured_minor: int
    amount_refunded_minor: int
    currency: str
    capture: bool
    decline_code: str | None
    redirect_url: str | None
    return_url: str | None
    payment_token: str
    metadata: dict[str, str]
    created_at: str
    updated_at: str
    expires_at: str | None
    settles_at: str | None
    settles_as: Settlement | None
    version: int

    @property
    def final(self) -> bool:
        """Whether nothing is left to void or refund."""
        return self.status not in {Status.PENDING, Status.APPROVED, Status.AUTHORIZED, Status.CAPTURED}

    @property
    def is_order(self) -> bool:
        """Whether it was made without a payment token, and nobody has tried to pay it yet."""
        return not self.payment_token


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one step did to a charge: its new form, the money it moved (if any) and the event it is worth."""

    charge: Charge
    event_type: str
    operation: Operation | None = None
    amount_minor: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Ask for a new charge. `decline_code`, `pending` and the rest say what the issuer will do.

    No `payment_token`: an order, which is paid by an `Act`, after the customer approved it or with a token.
    """

    reference: str
    amount_minor: int
    currency: str
    payment_token: str
    capture: bool
    return_url: str | None
    expires_in_seconds: int | None
    metadata: dict[str, str]
    page_origin: str
    dialect: str
    decline_code: str | None = None
    pending: bool = False
    hosted: bool = False
    settles_in_seconds: float | None = None
    settles_as: Settlement | None = None
    charge_id: str | None = None  # As the dialect spells its ids; None for the gateway's own.


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Ask something of a charge that exists: capture, void or refund. No amount means all that is left.

    Or authorise or charge an order: with `payment_token`, or without one if the customer approved it.
    """

    operation: Operation
    charge_id: str
    amount_minor: int | None = None
    decline_code: str | None = None
    payment_token: str | None = None
    pending: bool = False
    settles_in_seconds: float | None = None
    settles_as: Settlement | None = None
    expires_in_seconds: int | None = None  # Of the hold that an order becomes.


@dataclasses.dataclass(frozen=True, slots=True)
class Done:
    """The operation was executed (a new charge may still be pending)."""

    charge: Charge


@dataclasses.dataclass(frozen=True, slots=True)
class Declined:
    """The issuer said no. No money moved."""

    charge: Charge
    decline_code: str


@dataclasses.dataclass(frozen=True, slots=True)
class Refused:
    """The gateway itself said no: an illegal state, an unknown charge, a key that may not be used."""

    code: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Cancelled:
    """The answer to a cancel by key."""

    result: str
    charge: Charge | None


Outcome = Done | Declined | Refused


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What a face says over HTTP: a status and a JSON text. Saved under the idempotency key as it is."""

    status: int
    body: str
