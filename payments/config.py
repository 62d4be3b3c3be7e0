"""The settings of project/settings/payments.py, read with their types. Nothing else in `payments` reads settings."""

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

    @property
    def window(self) -> timedelta:
        """The window as a duration."""
        return timedelta(minutes=self.window_minutes)


@dataclass(frozen=True, slots=True)
class Limits:
    """Every duration and size that the lifecycle works with."""

    gateway_total_seconds: int
    gateway_connect_seconds: int
    lease_seconds: int
    redispatch_seconds: int
    webhook_wait_seconds: int
    resolve_after_seconds: int
    sweep_batch_rows: int
    sweep_batches_per_run: int


def payment_methods() -> dict[str, PaymentMethod]:
    """Read the methods that are offered, by name."""
    configured: Mapping[str, Mapping[str, Any]] = settings.PAYMENT_METHODS
    methods = {}
    for name, options in configured.items():
        own = options.get("window_minutes")
        methods[name] = PaymentMethod(
            name=name,
            gateway=options["gateway"],
            window_minutes=settings.ORDER_PAYMENT_TIMEOUT_MINUTES if own is None else own,
            window_setting=(
                "ORDER_PAYMENT_TIMEOUT_MINUTES" if own is None else f"PAYMENT_METHODS[{name!r}]['window_minutes']"
            ),
        )
    return methods


def currencies() -> frozenset[str]:
    """Read the currencies that orders may be in."""
    return frozenset(settings.PAYMENT_CURRENCIES)


def limits() -> Limits:
    """Read the limits."""
    return Limits(
        gateway_total_seconds=settings.PAYMENT_GATEWAY_TOTAL_SECONDS,
        gateway_connect_seconds=settings.PAYMENT_GATEWAY_CONNECT_SECONDS,
        lease_seconds=settings.PAYMENT_LEASE_SECONDS,
        redispatch_seconds=settings.PAYMENT_REDISPATCH_SECONDS,
        webhook_wait_seconds=settings.PAYMENT_WEBHOOK_WAIT_SECONDS,
        resolve_after_seconds=settings.PAYMENT_RESOLVE_AFTER_SECONDS,
        sweep_batch_rows=settings.PAYMENT_SWEEP_BATCH_ROWS,
        sweep_batches_per_run=settings.PAYMENT_SWEEP_BATCHES_PER_RUN,
    )


def gateway_settings(name: str) -> Mapping[str, str]:
    """Read what one gateway needs: its URL and keys.

    :raises KeyError: for a gateway that is not configured.
    """
    configured: Mapping[str, Mapping[str, str]] = settings.PAYMENT_GATEWAYS
    return configured[name]
