"""How a sending may end."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sent:
    """Whoever carries it has taken it."""


@dataclass(frozen=True, slots=True)
class NotSent:
    """It provably did not leave, for the reason `why`: a code, never an address."""

    why: str
    may_retry: bool


@dataclass(frozen=True, slots=True)
class Unclear:
    """It may have left, or may still. It must not be sent again."""

    why: str


Ending = Sent | NotSent | Unclear
