"""What the lifecycle asks of a gateway."""

from dataclasses import dataclass
from typing import Protocol

from payments.domain.hashing import content_hash
from payments.domain.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class ChargeRequest:
    """Everything that one charge says to the gateway. The same attempt always makes the same request."""

    idempotency_key: str
    reference: str  # Our public payment id; the gateway finds the charge again by it.
    amount_minor: int
    currency: str
    payment_token: str

    @property
    def request_hash(self) -> str:
        """SHA-256 of the canonical request, written down before the call."""
        return content_hash(
            {
                "idempotency_key": self.idempotency_key,
                "reference": self.reference,
                "amount_minor": self.amount_minor,
                "currency": self.currency,
                "payment_token": self.payment_token,
            }
        )


class Gateway(Protocol):
    """One gateway. A method returns a value for every ending of its call and raises only for bugs."""

    def charge(self, request: ChargeRequest, *, deadline_seconds: float) -> Outcome:
        """Charge, in at most `deadline_seconds` from now on the monotonic clock; none left means never sent."""
        ...

    def close(self) -> None:
        """Let go of every connection."""
        ...
