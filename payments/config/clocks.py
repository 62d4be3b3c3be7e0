"""What the clock guard works with."""

from dataclasses import dataclass

from django.conf import settings

from payments.domain.clock import Topology


@dataclass(frozen=True, slots=True)
class ClockGuard:
    """What the clock guard works with."""

    look_seconds: float
    hold_seconds: int
    hold_alert_seconds: int


def clock_guard() -> ClockGuard:
    """Read what the clock guard works with."""
    return ClockGuard(
        look_seconds=settings.PAYMENT_CLOCK_LOOK_SECONDS,
        hold_seconds=settings.PAYMENT_CLOCK_HOLD_SECONDS,
        hold_alert_seconds=settings.PAYMENT_CLOCK_HOLD_ALERT_SECONDS,
    )


def topology() -> Topology:
    """Read which clocks are independent; asked at every judgement."""
    return Topology(
        is_host_apart=settings.PAYMENT_CLOCK_HOST_IS_APART,
        is_redis_apart=settings.PAYMENT_CLOCK_REDIS_IS_APART,
    )
