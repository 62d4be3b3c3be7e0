"""The in-flight gate: while a submission is on its way, Redis answers the second click, in a millisecond.

It spares PostgreSQL the second click and protects nothing: a key of Redis lives by a wall clock, and Redis may be
gone. Then the gate stands open, and the order's lock and the attempt's state decide, as they do behind it anyway.
"""

import math
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

from payments import config, quickstore
from payments.domain.errors import PaymentInFlight

# Only the token's owner: the key may have run out meanwhile and be another submission's.
_DELETE_OWN = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"
_SHORTEN_OWN = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end"


class Passage:
    """The right to submit one payment, for whoever came first."""

    def __init__(self, *, key: str, token: str, length_seconds: int) -> None:
        self._key, self._token, self._length_seconds = key, token, length_seconds
        self._entered_at_monotonic = time.monotonic()

    def end_with_window(self, *, left: timedelta) -> None:
        """Open the gate when the window closes, so that it never hides that the payment has expired.

        `left` is what was left of the window at any moment since the gate was entered.
        """
        since_entry_seconds = time.monotonic() - self._entered_at_monotonic
        left_seconds = left.total_seconds() - since_entry_seconds
        if left_seconds < self._length_seconds - since_entry_seconds:
            left_milliseconds = max(0, int(left_seconds * 1000))
            quickstore.ask(
                lambda client: client.eval(_SHORTEN_OWN, 1, self._key, self._token, left_milliseconds), otherwise=None
            )

    def give_back(self) -> None:
        """Open the gate at once: nothing was submitted."""
        quickstore.ask(lambda client: client.eval(_DELETE_OWN, 1, self._key, self._token), otherwise=None)


@contextmanager
def passing(*, attempt_id: UUID, customer_id: int) -> Iterator[Passage]:
    """Shut the gate behind one submission of this attempt by this customer; an exception opens it again.

    It is shut for as long as a charge can take, and by customer, so that a stranger neither learns that a payment is
    in flight nor keeps its owner out.

    :raises PaymentInFlight: when another submission passed before.
    """
    length_seconds = config.limits().gate_seconds
    key = f"paywindow:in-flight:{attempt_id}:{customer_id}"
    passage = Passage(key=key, token=_enter(key, length_seconds=length_seconds), length_seconds=length_seconds)
    try:
        yield passage
    except BaseException:
        passage.give_back()
        raise


def _enter(key: str, *, length_seconds: int) -> str:
    token = secrets.token_hex(16)
    is_taken = quickstore.ask(
        lambda client: client.set(key, token, nx=True, px=length_seconds * 1000) is None,
        otherwise=False,
    )
    if is_taken:
        left_milliseconds = quickstore.ask(lambda client: int(client.pttl(key)), otherwise=0)
        # What became of it since then is not known here.
        message = "This payment was submitted a moment ago. Please do not pay again, but look where it stands."
        raise PaymentInFlight(message, retry_after_seconds=max(1, math.ceil(left_milliseconds / 1000)))
    return token
