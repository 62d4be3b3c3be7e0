"""Keeps the access token that a gateway wants with every request: fetched when needed, renewed early, for all threads.

How long a token lives the gateway says, and it is counted on the monotonic clock from before it was asked for; when it
was issued by anybody's time of day does not matter. A token is good in every process, so one that a fork copied is used
on; a lock that a fork copied is not.

While the token that is held is still good nobody waits for the next: one thread asks for it, for a few seconds at most,
and the others go on with what there is. A renewal that failed is tried again a while later, not with every request.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from payments.gateways.deadline import Deadline

_Failure = TypeVar("_Failure")

_RENEWAL_SECONDS = 3.0  # What a request may wait for a token that it can do without.
_PAUSE_SECONDS = 30.0  # After a renewal that failed.


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and how long it is good from when it was asked for."""

    text: str = field(repr=False)
    life_seconds: float


@dataclass(frozen=True, slots=True)
class _Held:
    text: str = field(repr=False)
    renew_at_monotonic: float  # Half of its life: a renewal that fails has as long again to succeed.
    ends_at_monotonic: float


class TokenCache(Generic[_Failure]):
    """The token of one set of credentials. `fetch` gets one, or tells why there is none, within the deadline."""

    def __init__(self, fetch: Callable[[Deadline], Token | _Failure]) -> None:
        self._fetch = fetch
        self._held: _Held | None = None
        self._lock, self._process = threading.Lock(), os.getpid()

    def get(self, deadline: Deadline) -> str | _Failure | None:
        """Give a token that is still good. Where there is none, one thread fetches it while the others wait.

        None when the deadline passed while another thread was fetching.
        """
        held = self._held
        if held is not None and time.monotonic() < held.renew_at_monotonic:
            return held.text
        patience_seconds = 0.0 if self._good() is not None else max(0.0, deadline.left_seconds)
        lock = self._own_lock()
        if not lock.acquire(timeout=patience_seconds):
            return self._good()
        try:
            return self._renewed(deadline)
        finally:
            lock.release()

    def drop(self, text: str) -> None:
        """Forget a token that the gateway does not take any more, unless it was renewed meanwhile."""
        held = self._held
        if held is not None and held.text == text:
            self._held = None

    def _renewed(self, deadline: Deadline) -> str | _Failure:
        held = self._held
        asked_at = time.monotonic()
        if held is not None and asked_at < held.renew_at_monotonic:
            return held.text  # Another thread renewed it while this one waited.
        if self._good() is not None:
            fetched = self._fetch(Deadline(min(_RENEWAL_SECONDS, deadline.left_seconds)))
        else:
            fetched = self._fetch(deadline)
        if not isinstance(fetched, Token):
            self._pause()
            return self._good() or fetched
        renew_at, ends_at = asked_at + fetched.life_seconds / 2, asked_at + fetched.life_seconds
        self._held = _Held(fetched.text, renew_at_monotonic=renew_at, ends_at_monotonic=ends_at)
        return fetched.text

    def _pause(self) -> None:
        held = self._held
        if held is not None:
            again_at = min(time.monotonic() + _PAUSE_SECONDS, held.ends_at_monotonic)
            self._held = replace(held, renew_at_monotonic=again_at)

    def _good(self) -> str | None:
        held = self._held
        return held.text if held is not None and time.monotonic() < held.ends_at_monotonic else None

    def _own_lock(self) -> threading.Lock:
        if self._process != os.getpid():
            # A fork copies a lock as it is, and who holds it is not here.
            self._lock, self._process = threading.Lock(), os.getpid()
        return self._lock
