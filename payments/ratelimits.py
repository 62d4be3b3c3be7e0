"""Rate limits: how often one user may ask for one thing, and about one payment or order.

They live in Redis alone and protect nothing but capacity: whatever they let through, locks and states decide. So while
Redis is away everything passes. The windows slide by the clock of Redis, and a window is two counters, however much is
asked.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from weakref import WeakKeyDictionary

import redis
from limits import RateLimitItem, parse
from limits.storage import RedisStorage
from redis.exceptions import NoScriptError

from payments import config, quickstore
from payments.domain.errors import RateLimited


class Act(StrEnum):
    """What is counted together."""

    PLACE = "place"
    SUBMIT = "submit"
    RETRY = "retry"
    CANCEL = "cancel"
    CHECK = "check"  # Asks where an order stands, and has it looked after.
    STATUS = "status"  # Asks where a payment or order stands; front ends do so every second.
    OPERATE = "operate"  # Whatever staff do.


@dataclass(frozen=True, slots=True)
class _Window:
    limit: RateLimitItem
    name: str


class _Windows(RedisStorage):
    """The library's sliding windows, several of them in one round trip, over the connections that others use, too."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__("redis://", connection_pool=client.connection_pool, key_prefix="paywindow:rate")

    def enter(self, windows: Sequence[_Window]) -> list[bool]:
        """Count one entry into each window; False for each that is full."""
        try:
            return self._enter(windows)
        except NoScriptError:  # Redis was restarted, or never asked before.
            self.storage.script_load(self.SCRIPT_ACQUIRE_SLIDING_WINDOW)
            return self._enter(windows)

    def _enter(self, windows: Sequence[_Window]) -> list[bool]:
        together = self.storage.pipeline(transaction=False)
        for window in windows:
            keys = (
                self.prefixed_key(self._previous_window_key(window.name)),
                self.prefixed_key(self._current_window_key(window.name)),
            )
            seconds = window.limit.get_expiry()
            together.evalsha(self.lua_acquire_sliding_window.sha, 2, *keys, window.limit.amount, seconds, 1)
        return [bool(is_entered) for is_entered in together.execute()]

    def wait_seconds(self, window: _Window) -> float:
        """Tell how long a full window stays full."""
        seconds = window.limit.get_expiry()
        previous, previous_left, current, counter_left = self.get_sliding_window(window.name, seconds)
        return until_free_seconds(
            limit=window.limit.amount,
            window_seconds=seconds,
            previous=previous,
            previous_left_seconds=previous_left,
            current=current,
            current_left_seconds=counter_left - seconds,  # A counter is kept for its window and the next.
        )


_storages: WeakKeyDictionary[redis.Redis, _Windows] = WeakKeyDictionary()


def count(*, act: Act, user_id: int, subject: str | None) -> None:
    """Count one request of a user, about one payment or order if `subject` names it.

    :raises RateLimited: when there were too many.
    """
    windows = _windows(act=act, user_id=user_id, subject=subject)
    if not windows:
        return

    def enter(client: redis.Redis) -> float | None:
        storage = _storages.get(client)
        if storage is None:
            storage = _storages.setdefault(client, _Windows(client))
        full = [window for window, is_entered in zip(windows, storage.enter(windows), strict=True) if not is_entered]
        return max(map(storage.wait_seconds, full), default=None)

    wait_seconds = quickstore.ask(enter, otherwise=None)
    if wait_seconds is not None:
        message = "Too many requests. Nothing was changed; please try again a little later."
        raise RateLimited(message, retry_after_seconds=max(1, math.ceil(wait_seconds)))


def until_free_seconds(
    *,
    limit: int,
    window_seconds: float,
    previous: int,
    previous_left_seconds: float,
    current: int,
    current_left_seconds: float,
) -> float:
    """Tell when the next entry fits: the window before this one counts less and less, by the time that is left of it.

    Above 0 and at most two windows.
    """
    if current < limit:
        wait_seconds = previous_left_seconds - (limit - current) * window_seconds / max(previous, 1)
    else:  # This window has to end, and then to fade until one entry fits.
        wait_seconds = current_left_seconds + window_seconds * (1 - limit / current)
    return min(max(wait_seconds, 0.001), 2 * window_seconds)


def _windows(*, act: Act, user_id: int, subject: str | None) -> list[_Window]:
    limits = config.rate_limits(act)
    windows = []
    if limits.by_user:
        windows.append(_Window(parsed(limits.by_user), f"{act}:{user_id}"))
    if limits.by_subject and subject is not None:
        # By user, too, so that a stranger keeps no owner out. What clients send becomes no key of Redis.
        named = hashlib.blake2b(subject.encode(errors="replace"), digest_size=16).hexdigest()
        windows.append(_Window(parsed(limits.by_subject), f"{act}:{user_id}:{named}"))
    return windows


@cache  # There are as many as settings name.
def parsed(text: str) -> RateLimitItem:
    """Read a limit as the settings write it, "60/minute".

    :raises ValueError: when it is none.
    """
    limit = parse(text)
    if limit.amount < 1 or limit.get_expiry() < 1:
        message = f"couldn't use rate limit string '{text}'"
        raise ValueError(message)
    return limit
