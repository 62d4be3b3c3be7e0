"""The time that a method of a gateway has, over all the requests that it makes."""

import time


class Deadline:
    """When a method has to be over, on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._ends_at_monotonic = time.monotonic() + seconds

    @property
    def left_seconds(self) -> float:
        """What is left of it; nothing, or less, when it is over."""
        return self._ends_at_monotonic - time.monotonic()
