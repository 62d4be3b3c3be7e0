"""The in-flight gate: while a submission is on its way, Redis answers the second click, in a millisecond.

It spares PostgreSQL the second click and protects nothing: a key of Redis lives by a wall clock, and Redis may be
gone. Then the gate stands open, and the order's lock and the attempt's state decide, as they do behind it anyway. So
it never waits for Redis for long, and after a failure it does not ask for a while.
"""

import math
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from payments import config
from payments.breaker import Breaker
from payments.domain.errors import PaymentInFlight

T = TypeVar("T")

# Only the token's owner: the key may have run out meanwhile and be another submission's.
_DELETE_OWN = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"
_SHORTEN_OWN = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end"

log = structlog.get_logger(__name__)

_breaker = Breaker()
_clients: dict[tuple[str, int], redis.Redis] = {}


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
            _ask(lambda client: client.eval(_SHORTEN_OWN, 1, self._key, self._token, left_milliseconds), otherwise=None)

    def give_back(self) -> None:
        """Open the gate at once: nothing was submitted."""
        _ask(lambda client: client.eval(_DELETE_OWN, 1, self._key, self._token), otherwise=None)


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


def close() -> None:
    """Close every connection and forget the last failure; the next submission starts anew."""
    while _clients:
        _clients.popitem()[1].close()
    _breaker.reset()


def _enter(key: str, *, length_seconds: int) -> str:
    token = secrets.token_hex(16)
    is_taken = _ask(
        lambda client: client.set(key, token, nx=True, px=length_seconds * 1000) is None,
        otherwise=False,
    )
    if is_taken:
        left_milliseconds = _ask(lambda client: int(client.pttl(key)), otherwise=0)
        # What became of it since then is not known here.
        message = "This payment was submitted a moment ago. Please do not pay again, but look where it stands."
        raise PaymentInFlight(message, retry_after_seconds=max(1, math.ceil(left_milliseconds / 1000)))
    return token


def _ask(question: Callable[[redis.Redis], T], *, otherwise: T) -> T:
    """Ask Redis; `otherwise` when it does not answer in time, or failed a moment ago."""
    if _breaker.is_open:
        return otherwise
    limits = config.limits()
    try:
        return question(_client(timeout_milliseconds=limits.gate_timeout_milliseconds))
    except redis.RedisError as error:
        if not _breaker.is_open:  # One line for the requests that were under way together.
            log.warning("gate_stands_open", error=str(error), pause_seconds=limits.gate_pause_seconds)
        _breaker.trip(pause_seconds=limits.gate_pause_seconds)
        return otherwise


def _client(*, timeout_milliseconds: int) -> redis.Redis:
    where = (config.redis_url(), timeout_milliseconds)
    client = _clients.get(where)
    if client is None:
        # It connects when it is first asked, shares its connections between threads, and a fork opens its own.
        timeout_seconds = timeout_milliseconds / 1000
        made = redis.Redis.from_url(
            where[0],
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # Its handshake is one round trip shorter.
        )
        client = _clients.setdefault(where, made)
    return client
