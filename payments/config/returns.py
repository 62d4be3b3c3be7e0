"""Where customers go after a payment, by the kind of their order."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings

from payments.domain.returns import origin_alone


@dataclass(frozen=True, slots=True)
class OrderKind:
    """One kind of order. Without a template the customer sees our own page."""

    name: str
    success_url: str = ""
    failure_url: str = ""


@dataclass(frozen=True, slots=True)
class Returns:
    """Where customers come back to, and where they are sent on."""

    public_url: str  # Where customers reach us; empty when they do not.
    kinds: Mapping[str, OrderKind]
    origins: frozenset[str]  # The only targets there are, in the spelling of `origin_of`.
    may_be_local: bool  # A target may be this machine, without TLS.


def returns() -> Returns:
    """Read where customers come back to, and where they are sent on."""
    configured: Mapping[str, Mapping[str, str]] = settings.PAYMENT_ORDER_KINDS
    origins = (origin_alone(text) for text in settings.PAYMENT_RETURN_ORIGINS)
    return Returns(
        public_url=settings.PAYMENT_PUBLIC_URL.rstrip("/"),
        kinds={
            name: OrderKind(name, options.get("success_url", ""), options.get("failure_url", ""))
            for name, options in configured.items()
        },
        origins=frozenset(origin for origin in origins if origin is not None),
        may_be_local=settings.PAYMENT_RETURN_TO_LOCALHOST,
    )
