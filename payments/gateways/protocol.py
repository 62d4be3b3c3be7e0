"""What the lifecycle asks of a gateway."""

from dataclasses import asdict, dataclass
from typing import Protocol

from payments.domain.hashing import content_hash
from payments.domain.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class ChargeRequest:
    """Everything that one charge or authorisation says to the gateway: the same attempt always makes the same."""

    idempotency_key: str
    reference: str  # Our public payment id; the gateway finds the charge again by it.
    amount_minor: int
    currency: str
    payment_token: str

    @property
    def request_hash(self) -> str:
        """SHA-256 of the canonical request, written down before the call."""
        return content_hash(asdict(self))


@dataclass(frozen=True, slots=True)
class ActRequest:
    """What a capture, a void or a refund says. Its key is its own, never the charge's."""

    idempotency_key: str
    charge_reference: str  # The gateway's id of the charge.
    amount_minor: int
    currency: str

    @property
    def request_hash(self) -> str:
        """SHA-256 of the canonical request, written down before the call."""
        return content_hash(asdict(self))


@dataclass(frozen=True, slots=True)
class Question:
    """Which charge is asked about: all under our reference, made with `idempotency_key`, for this amount."""

    idempotency_key: str
    reference: str
    amount_minor: int
    currency: str

    @property
    def request_hash(self) -> str:
        """SHA-256 of the canonical question, written down before the call."""
        return content_hash(asdict(self))


GatewayRequest = ChargeRequest | ActRequest | Question


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a gateway can do, and for how long its promises hold; each adapter says where it has this from."""

    authorizes: bool  # It can hold the money first, so that we look at the clock again before it moves.
    cancels_keys: bool  # It can undo or bar whatever a key did or will do.
    key_life_seconds: int  # So long a repeated key gets the saved answer; 0: it is never repeated.
    horizon_seconds: int  # So long after its sending a request may still be executed there.
    shortest_window_seconds: int | None = None  # What it takes as the life of a payment; None: it does not care.
    longest_window_seconds: int | None = None


class Gateway(Protocol):
    """One gateway. A method returns a value for every ending of its call and raises only for bugs.

    Each takes at most `deadline_seconds` from now on the monotonic clock; none left means never sent. What a gateway
    cannot do (see `capabilities`) is never asked of it.
    """

    capabilities: Capabilities

    def authorize(self, request: ChargeRequest, *, deadline_seconds: float) -> Outcome:
        """Hold the money: `Authorized`, or what else became of it."""
        ...

    def charge(self, request: ChargeRequest, *, deadline_seconds: float) -> Outcome:
        """Hold and take the money in one call: `Captured`, or what else became of it."""
        ...

    def capture(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Take what is held: `Captured`; `Declined` with ALREADY_DONE when the charge is in no state for it."""
        ...

    def void(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Let go of it: `Undone`; `Declined` with ALREADY_DONE when the charge is in no state for it."""
        ...

    def refund(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Give `amount_minor` back: `Undone` when nothing is left, else `Captured` with what was given back."""
        ...

    def look_up(self, question: Question, *, deadline_seconds: float) -> Outcome:
        """Ask what became of a charge: what it is seen as, `Several`, `NotFound`, or a call that failed."""
        ...

    def cancel_key(self, question: Question, *, deadline_seconds: float) -> Outcome:
        """Undo whatever the key did and bar it: `Undone`, or the charge as it stands if it could not be undone."""
        ...

    def close(self) -> None:
        """Let go of every connection."""
        ...
