"""What customers can pay with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings


@dataclass(frozen=True, slots=True)
class PaymentMethod:
    """One way to pay: which gateway takes it, and how long its window is."""

    name: str
    gateway: str
    window_minutes: int
    window_setting: str  # The setting that a person has to change.
    grace_seconds: int  # After the window: what was authorised inside it may still be captured. Nothing begins here.
    grace_setting: str
    late_allowance_seconds: int  # After the grace: money that is only now seen may still pay the order.
    late_allowance_setting: str
    reminder_lead_minutes: int  # So long before the deadline a reminder goes out; 0: none does.
    reminder_lead_setting: str
    authorizes_first: bool  # Hold the money, look at the clock again, then take it: where the gateway can.
    is_hosted: bool  # The customer pays on the gateway's own page, and there is no payment token.
    currencies: frozenset[str]  # That it can be paid in.
    currencies_setting: str

    @property
    def window(self) -> timedelta:
        """The window as a duration."""
        return timedelta(minutes=self.window_minutes)

    @property
    def grace(self) -> timedelta:
        """The grace as a duration."""
        return timedelta(seconds=self.grace_seconds)

    @property
    def late_allowance(self) -> timedelta:
        """The late allowance as a duration."""
        return timedelta(seconds=self.late_allowance_seconds)

    @property
    def reminder_lead(self) -> timedelta:
        """How long before the end of the window a reminder is due, as a duration."""
        return timedelta(minutes=self.reminder_lead_minutes)


def payment_methods() -> dict[str, PaymentMethod]:
    """Read the methods that are offered, by name."""
    configured: Mapping[str, Mapping[str, Any]] = settings.PAYMENT_METHODS
    return {name: _method(name, options) for name, options in configured.items()}


def payment_method(name: str) -> PaymentMethod:
    """Read one method; for one that is no longer offered, what still holds for its living attempts."""
    configured: Mapping[str, Mapping[str, Any]] = settings.PAYMENT_METHODS
    return _method(name, configured.get(name, {}))


def _method(name: str, options: Mapping[str, Any]) -> PaymentMethod:
    window, window_setting = _own(name, options, "window_minutes", "ORDER_PAYMENT_TIMEOUT_MINUTES")
    grace, grace_setting = _own(name, options, "grace_seconds", "PAYMENT_GRACE_SECONDS")
    allowance, allowance_setting = _own(name, options, "late_allowance_seconds", "PAYMENT_LATE_ALLOWANCE_SECONDS")
    own_currencies = options.get("currencies")
    lead, lead_setting = _own(name, options, "reminder_lead_minutes", "PAYMENT_REMINDER_LEAD_MINUTES")
    return PaymentMethod(
        name=name,
        gateway=options.get("gateway", ""),
        window_minutes=window,
        window_setting=window_setting,
        grace_seconds=grace,
        grace_setting=grace_setting,
        late_allowance_seconds=allowance,
        late_allowance_setting=allowance_setting,
        reminder_lead_minutes=lead,
        reminder_lead_setting=lead_setting,
        authorizes_first=options.get("authorizes_first", True),
        is_hosted=options.get("hosted", False),
        currencies=currencies() if own_currencies is None else frozenset(own_currencies),
        currencies_setting=_setting(name, "currencies") if own_currencies is not None else "PAYMENT_CURRENCIES",
    )


def _own(name: str, options: Mapping[str, Any], key: str, default: str) -> tuple[int, str]:
    """Give a method's own value or the default, with the setting that it comes from."""
    own = options.get(key)
    return (getattr(settings, default), default) if own is None else (own, _setting(name, key))


def _setting(name: str, key: str) -> str:
    return f"PAYMENT_METHODS[{name!r}][{key!r}]"


def currencies() -> frozenset[str]:
    """Read the currencies that orders may be in."""
    return frozenset(settings.PAYMENT_CURRENCIES)
