"""A circuit breaker: what has just failed is not tried again for a moment, so that nobody waits for it in turn."""

import time


class Breaker:
    """Remembers a failure for a while, by the monotonic clock. The threads of a process may share one."""

    def __init__(self) -> None:
        self._open_until_monotonic = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether the last failure is too fresh to try again."""
        return time.monotonic() < self._open_until_monotonic

    def trip(self, *, pause_seconds: float) -> None:
        """Note a failure: nothing is tried for `pause_seconds`."""
        self._open_until_monotonic = time.monotonic() + pause_seconds

    def reset(self) -> None:
        """Forget the failure."""
        self._open_until_monotonic = float("-inf")
