"""The access token that a gateway gives for our credentials: kept by each process, in memory, until it is about to end.

There is no lock. A token is replaced whole, in one assignment, so every thread sees the old one or the new one, and a
process that was forked off in between has no lock of a thread that it does not have. Two threads may fetch at once
when a token ends: both get one that works, and the later one stays.
"""

import time
from dataclasses import dataclass, field

# A token is given up so long before its end: the request that carries it may be a while on its way.
_MARGIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    ends_at_monotonic: float


class TokenCache:
    """The one token of a process."""

    def __init__(self) -> None:
        self._token: _Token | None = None

    def current(self) -> str | None:
        """Give the token; None when there is none that still lives."""
        token = self._token
        if token is None or token.ends_at_monotonic <= time.monotonic():
            return None
        return token.text

    def keep(self, text: str, *, life_seconds: float, asked_at_monotonic: float) -> None:
        """Keep a token that lives `life_seconds` from when it was asked for: the gateway made it later than that."""
        self._token = _Token(text, asked_at_monotonic + life_seconds - _MARGIN_SECONDS)

    def drop(self, text: str) -> None:
        """Forget a token that the gateway refused; not a newer one that another thread has fetched since."""
        token = self._token
        if token is not None and token.text == text:
            self._token = None
