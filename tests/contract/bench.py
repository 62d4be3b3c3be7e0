"""What the tests have to know of an adapter to try it against its face of the sandbox gateway."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from payments.domain.failures import FailureCode
from payments.gateways.protocol import Gateway

CONNECT_SECONDS = 20.0
C = FailureCode

# What the sandbox's tokens say, where a gateway has a code for each.
DECLINES: Mapping[str, FailureCode] = {
    "tok_declined": C.DECLINED,
    "tok_insufficient_funds": C.INSUFFICIENT_FUNDS,
    "tok_expired_card": C.EXPIRED_CARD,
    "tok_limit_exceeded": C.LIMIT_EXCEEDED,
    "tok_incorrect_cvc": C.INVALID_CARD_DATA,
    "tok_stolen_card": C.BLOCKED,
    "tok_authentication_required": C.AUTHENTICATION_REQUIRED,
    "tok_issuer_unavailable": C.ISSUER_UNAVAILABLE,
    "tok_unknown_code": C.DECLINED,
}


@dataclass(frozen=True, slots=True)
class Bench:
    """One adapter, ready to be tried."""

    name: str  # Of the gateway, and of its dialect.
    adapter: type[Gateway]
    settings: Callable[[str, str], Mapping[str, str]]  # For the sandbox at a URL, whose events go to another.
    declines: Mapping[str, FailureCode]  # What each token that declines is read as; empty where no tokens are taken.
    currency: str = "USD"
    signs_bodies: bool = True

    def make(self, url: str, *, events_url: str = "") -> Gateway:
        """Make the adapter for the sandbox at `url`."""
        return self.adapter.from_settings(self.settings(url, events_url), connect_seconds=CONNECT_SECONDS)
