"""Redis, asked quickly or not at all: for what spares work and decides nothing.

Whatever is kept here may be gone the next moment. So nobody waits for Redis for long, and after a failure nobody asks
it for a while: who asks says what holds instead.
"""

from collections.abc import Callable
from typing import TypeVar

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from payments import config
from payments.breaker import Breaker

T = TypeVar("T")

log = structlog.get_logger(__name__)

_breaker = Breaker()
_clients: dict[tuple[str, int], redis.Redis] = {}


def ask(question: Callable[[redis.Redis], T], *, otherwise: T) -> T:
    """Ask Redis; `otherwise` when it does not answer in time, or failed a moment ago."""
    if _breaker.is_open:
        return otherwise
    limits = config.limits()
    try:
        return question(_client(timeout_milliseconds=limits.gate_timeout_milliseconds))
    except redis.RedisError as error:
        if not _breaker.is_open:  # One line for the requests that were under way together.
            log.warning("redis_left_alone", error=str(error), pause_seconds=limits.gate_pause_seconds)
        _breaker.trip(pause_seconds=limits.gate_pause_seconds)
        return otherwise


def close() -> None:
    """Close every connection and forget the last failure; the next question starts anew."""
    while _clients:
        _clients.popitem()[1].close()
    _breaker.reset()


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
