"""What the lifecycle asks of a gateway."""

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Protocol, Self

from payments.domain.hashing import content_hash
from payments.domain.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class ChargeRequest:
    """Everything that one charge or authorisation says to the gateway: the same attempt always makes the same."""

    idempotency_key: str
    reference: str  # Our public payment id; the gateway finds the charge again by it.
    amount_minor: int
    currency: str
    payment_token: str  # The gateway's token of a card or account; empty: the customer pays on its page.
    return_url: str = ""  # Where a hosted page leads back to; empty for nowhere.
    # For a gateway that takes the window (`Capabilities.takes_window`), else 0: as it was stamped on the attempt.
    window_seconds: int = 0
    expires_at_unix: int = 0

    @property
    def is_hosted(self) -> bool:
        """Whether the customer pays on the gateway's own page."""
        return not self.payment_token

    @property
    def request_hash(self) -> str:
        """SHA-256 of the canonical request, written down before the call."""
        content = asdict(self)
        for name in ("return_url", "window_seconds", "expires_at_unix"):
            if not content[name]:
                del content[name]  # Not sent, and so no part of it: older attempts keep their hash.
        return content_hash(content)


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
    """Which charge is asked about: all under our reference, made with `idempotency_key`, for this amount.

    The rest is for gateways that cannot search by our reference, or not at once: what is known of the charge.
    """

    idempotency_key: str
    reference: str
    amount_minor: int
    currency: str
    charge_reference: str = ""  # The gateway's id of the charge; empty as long as nobody knows it.
    opened_at_unix: int = 0  # Nothing was sent before; by the database's clock.
    charge: ChargeRequest | None = None  # What the charge said; None where its request is not known any more.

    @property
    def request_hash(self) -> str:
        """SHA-256 of the canonical question, written down before the call."""
        return content_hash(asdict(self))


# A payment that nobody ever made, for `Gateway.check`.
NOBODYS = Question(idempotency_key=f"pay_{'0' * 32}", reference=f"pay_{'0' * 32}", amount_minor=100, currency="USD")

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
    takes_window: bool = False  # It ends an unpaid payment by itself when the window that it is told is over.
    takes_tokens: bool = True  # It charges a token of a card or account.
    hosts_pages: bool = True  # It has a page of its own for customers.
    voids_are_final: bool = True  # What was let go cannot be charged by a request that was on its way.
    currencies: frozenset[str] | None = None  # That it takes; None: all that we know.


class Tells(enum.StrEnum):
    """What an event is about: a hint which of our records to compare it with, and no evidence."""

    MONEY = "money"  # Of a charge on its way to being paid, or there.
    NO_MONEY = "no_money"  # Of a charge that ended without any.
    RETURNED = "returned"  # Of money that went back.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Event:
    """What a gateway sent word of, signed by it: enough to know it again, and which payment to ask about."""

    event_id: str
    kind: str  # In the gateway's own words.
    tells: Tells
    payment_id: str  # Our public id; empty when the event names none, and is found by the gateway's.
    charge_reference: str  # The gateway's id of the charge; empty when the event names none.
    is_timely: bool  # Signed within the tolerance. One that is not is stored and asked about all the same.
    account: str = ""  # Of ours at the gateway, where it has several.


@dataclass(frozen=True, slots=True)
class NotGenuine:
    """What came is not signed by the gateway, or is no event."""

    why: str  # For the log and the sender. It repeats nothing of what came.


def listed(setting: str) -> list[str]:
    """Read several values out of one setting, the newest first, separated by commas."""
    return [value.strip() for value in setting.split(",") if value.strip()]


class Gateway(Protocol):
    """One gateway. A method returns a value for every ending of its call and raises only for bugs.

    Each takes at most `deadline_seconds` from now on the monotonic clock; none left means never sent. What a gateway
    cannot do (see `capabilities`) is never asked of it, and raises NotImplementedError.
    """

    capabilities: Capabilities

    @classmethod
    def from_settings(cls, settings: Mapping[str, str], *, connect_seconds: float) -> Self:
        """Make it of its entry in PAYMENT_GATEWAYS, in which nothing that it needs is missing."""
        ...

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

    def check(self, *, deadline_seconds: float) -> Outcome:
        """Ask something that moves nothing: `NotFound` when the gateway answers and knows us, else what failed."""
        ...

    def read_event(self, *, headers: Mapping[str, str], body: bytes, unix_seconds: int) -> Event | NotGenuine:
        """Verify and read a webhook: `body` byte for byte as it came, at `unix_seconds` of the database's clock."""
        ...

    def close(self) -> None:
        """Let go of every connection."""
        ...
