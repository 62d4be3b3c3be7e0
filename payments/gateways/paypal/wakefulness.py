"""Whether the machine slept between the beginning of a call and the request in it that may move money.

Whoever makes a call looks at the clock just before it, and gives it so many seconds. The request that pays is the last
of several, and to make an order alone takes PayPal some seconds; so the few seconds that may pass between the look and
the call (PAYMENT_STALE_CHECK_SECONDS) cannot be the measure here, or hardly anything would ever be paid. The window
itself PayPal does not take, so it is not told to this adapter. What bounds a call is its deadline, and the grace of the
window is at least as long. But a deadline is counted on the monotonic clock, which stands still while the machine
sleeps. So the sleep is measured, as what the boot clock has gained on it: more than the same few seconds, and nothing
is paid any more. What pays then leaves at most the deadline and those seconds after the look at the clock, which is
what the lifecycle reckons with (`calls.longest_in_flight`). A capture, which looks at its order first, is held to the
same.
"""

import time

from payments import clocks, config


class Wakefulness:
    """How much this machine has slept since."""

    def __init__(self) -> None:
        self._before = self._ahead_seconds()

    @property
    def slept_seconds(self) -> float:
        """How long, in seconds."""
        return self._ahead_seconds() - self._before

    @property
    def has_slept(self) -> bool:
        """Whether too long for what was known of the time to be still true."""
        return self.slept_seconds > config.limits().stale_check_seconds

    @property
    def worded(self) -> str:
        """Why nothing is sent."""
        return f"the machine slept {self.slept_seconds:.3f} s between the beginning of the call and the payment"

    def _ahead_seconds(self) -> float:
        return clocks.boottime_seconds() - time.monotonic()
