"""Reminders: how one may be sent, and how far it is."""

import enum


class Channel(enum.StrEnum):
    """The ways to reach a customer."""

    EMAIL = "email"
    SMS = "sms"


class ReminderState(enum.StrEnum):
    """How far one reminder is. From `SENDING` on nobody knows better than the sender whether it went out."""

    OWED = "owed"  # It is to be sent; so far it provably was not.
    SENDING = "sending"  # Committed before the first byte leaves: from now on it may have been sent.
    SENT = "sent"  # Whoever carries it has taken it.
    SKIPPED = "skipped"  # Nobody wanted it, nobody could have got it, or it was too late; never sent.
    FAILED = "failed"  # Refused for good, or refused until the time was over; never sent.
    UNKNOWN = "unknown"  # The sending ended without an answer. It is never sent again.


_S = ReminderState

EDGES: tuple[tuple[ReminderState, ReminderState], ...] = (
    (_S.OWED, _S.SENDING),
    (_S.OWED, _S.SKIPPED),
    (_S.OWED, _S.FAILED),
    (_S.SENDING, _S.SENT),
    (_S.SENDING, _S.OWED),  # Only if it was provably never sent.
    (_S.SENDING, _S.SKIPPED),
    (_S.SENDING, _S.FAILED),
    (_S.SENDING, _S.UNKNOWN),
)

WAITING = frozenset({_S.OWED, _S.SENDING})
ENDED_WITHOUT = frozenset({_S.SKIPPED, _S.FAILED, _S.UNKNOWN})
