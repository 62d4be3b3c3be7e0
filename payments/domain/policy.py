"""A payment method's policy: what an operator wishes for its windows, and how far a wish is followed.

The settings are refused at the start when they do not fit (payments/limits.py). A wish is made while everything runs,
so it is never refused for its size: it is held to what can be, and every value that is not as wished is told with why.
"""

import math
from dataclasses import dataclass

from payments.domain.window import LONGEST_HOLD_AFTER_WINDOW, MAX_GRACE, MAX_WINDOW, MIN_WINDOW

MINUTE = 60


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for the attempts of a method."""

    window_minutes: int
    grace_seconds: int
    late_allowance_seconds: int
    reminder_lead_minutes: int  # 0: no reminder.


@dataclass(frozen=True, slots=True)
class Wishes:
    """What an operator wishes; None: as the settings say."""

    window_minutes: int | None = None
    grace_seconds: int | None = None
    late_allowance_seconds: int | None = None
    reminder_lead_minutes: int | None = None


@dataclass(frozen=True, slots=True)
class GatewayWindow:
    """What a gateway takes as the life of a payment; None: it does not care."""

    shortest_seconds: int | None = None
    longest_seconds: int | None = None

    def takes(self, *, window_minutes: int) -> bool:
        """Tell whether a payment may live as long as the window."""
        seconds = window_minutes * MINUTE
        is_long_enough = self.shortest_seconds is None or seconds >= self.shortest_seconds
        return is_long_enough and (self.longest_seconds is None or seconds <= self.longest_seconds)

    def __str__(self) -> str:
        shortest = 0 if self.shortest_seconds is None else self.shortest_seconds
        return f"from {shortest} s" if self.longest_seconds is None else f"{shortest} to {self.longest_seconds} s"


@dataclass(frozen=True, slots=True)
class Clamp:
    """A value that is not as it was wished."""

    name: str
    wished: int
    holds: int
    reason: str

    def __str__(self) -> str:
        return f"{self.name} is {self.holds}, not {self.wished}: {self.reason}"

    def as_evidence(self) -> dict[str, object]:
        """Give it for a history entry or a report."""
        return {"name": self.name, "wished": self.wished, "holds": self.holds, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class _Bound:
    value: int
    reason: str


_DAY_SECONDS = int(LONGEST_HOLD_AFTER_WINDOW.total_seconds())
_ZERO = _Bound(0, "nothing ends before it begins")


def merge(*, settings: Terms, wishes: Wishes, gateway: GatewayWindow) -> tuple[Terms, tuple[Clamp, ...]]:
    """Put the wishes over the settings, and hold the result to the limits; returns it with what was not followed."""
    clamps: list[Clamp] = []

    def hold(name: str, wished: int, *, at_least: list[_Bound], at_most: list[_Bound]) -> int:
        lowest = max(at_least, key=lambda bound: bound.value)
        highest = min(at_most, key=lambda bound: bound.value, default=None)
        bound = lowest if wished < lowest.value else None
        if highest is not None and (wished if bound is None else bound.value) > highest.value:
            bound = highest
        if bound is None or bound.value == wished:
            return wished
        clamps.append(Clamp(name=name, wished=wished, holds=bound.value, reason=bound.reason))
        return bound.value

    window_minutes = hold(
        "window_minutes",
        _first(wishes.window_minutes, settings.window_minutes),
        at_least=_shortest_windows(gateway),
        at_most=_longest_windows(gateway),
    )
    grace_seconds = hold(
        "grace_seconds",
        _first(wishes.grace_seconds, settings.grace_seconds),
        at_least=[_ZERO],
        at_most=[_Bound(int(MAX_GRACE.total_seconds()), "a window that goes on is no window")],
    )
    late_allowance_seconds = hold(
        "late_allowance_seconds",
        _first(wishes.late_allowance_seconds, settings.late_allowance_seconds),
        at_least=[_ZERO],
        at_most=[_Bound(_DAY_SECONDS - grace_seconds, "the stock is held for a day after the window at most")],
    )
    reminder_lead_minutes = hold(
        "reminder_lead_minutes",
        _first(wishes.reminder_lead_minutes, settings.reminder_lead_minutes),
        at_least=[_ZERO],
        at_most=[_Bound(window_minutes - 1, f"the window is {window_minutes} minutes, and a reminder comes inside it")],
    )
    terms = Terms(
        window_minutes=window_minutes,
        grace_seconds=grace_seconds,
        late_allowance_seconds=late_allowance_seconds,
        reminder_lead_minutes=reminder_lead_minutes,
    )
    return terms, tuple(clamps)


def _first(wish: int | None, setting: int) -> int:
    return setting if wish is None else wish


def _shortest_windows(gateway: GatewayWindow) -> list[_Bound]:
    bounds = [_Bound(_minutes(MIN_WINDOW.total_seconds()), "a customer needs this long to find a card")]
    if gateway.shortest_seconds is not None:
        reason = f"the gateway takes no payment that lives less than {gateway.shortest_seconds} s"
        bounds.append(_Bound(math.ceil(gateway.shortest_seconds / MINUTE), reason))
    return bounds


def _longest_windows(gateway: GatewayWindow) -> list[_Bound]:
    bounds = [_Bound(_minutes(MAX_WINDOW.total_seconds()), "stock is not held longer than a day")]
    if gateway.longest_seconds is not None:
        reason = f"the gateway takes no payment that lives longer than {gateway.longest_seconds} s"
        bounds.append(_Bound(_minutes(gateway.longest_seconds), reason))
    return bounds


def _minutes(seconds: float) -> int:
    return int(seconds // MINUTE)
