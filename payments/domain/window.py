"""The payment window: how long it may be, and whether it is over."""

from datetime import datetime, timedelta

MIN_WINDOW = timedelta(minutes=5)  # A customer needs this long to find a card.
MAX_WINDOW = timedelta(hours=24)  # Stock is not held longer than a day.
LONGEST_HOLD_AFTER_WINDOW = timedelta(hours=24)  # Of stock whose payment nobody knows the end of: then it goes back.
MAX_GRACE = timedelta(minutes=5)  # A window that goes on is no window.


def is_over(*, expires_at: datetime, now: datetime) -> bool:
    """Tell whether the window has closed. The deadline itself is already outside."""
    return now >= expires_at


def remaining_seconds(*, expires_at: datetime, now: datetime) -> int:
    """Count the whole seconds that are left, 0 when the window is over."""
    return max(0, int((expires_at - now).total_seconds()))
