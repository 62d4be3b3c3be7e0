"""The chain of a history: each entry carries the hash of the one before it, so that a change anywhere shows.

PostgreSQL computes the hashes in a trigger (payments/models/chain.py), since the sweep writes history by sets. What is
here is written apart from it, in another language, and a test holds the two equal: the verifier must not share the
writer's mistakes.
"""

import enum
import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Link:
    """One entry of a history, as the database has it."""

    owner_id: UUID
    number: int
    from_state: str
    to_state: str
    at_microseconds: int | None  # Since the epoch; None for an infinite time, which the trigger never lets in.
    actor: str
    reason: str
    evidence: str  # The text that PostgreSQL gives for the jsonb: it keeps numbers that Python would round.
    previous_hash: str  # Empty for the first.
    entry_hash: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What the owner's own row says of its history."""

    state: str
    version: int


class Fault(enum.StrEnum):
    """What is wrong with a link; the first that applies is named."""

    NUMBER = "number"  # An entry is missing, or numbered anew.
    PREVIOUS_HASH = "previous_hash"  # It does not follow the entry before it.
    ENTRY_HASH = "entry_hash"  # Its content is not what was written.
    FROM_STATE = "from_state"  # It does not start where the entry before it ended.
    TRANSITION = "transition"  # The table of states has no such step.
    OWNER = "owner"  # The row that the history belongs to is gone.
    VERSION = "version"  # The row counts fewer transitions than the history has.
    STATE = "state"  # The row is not in the state that the history ends in.


@dataclass(frozen=True, slots=True)
class BrokenLink:
    """The first place where a history is not what it must be."""

    number: int  # Of the entry; of the missing one, if one is missing.
    fault: Fault
    expected: str
    found: str


def microseconds_since_epoch(at: datetime) -> int:
    """Count the whole microseconds from 1970 in UTC to `at`, exactly; negative before it."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def canonical_form(link: Link) -> bytes:
    """Write down everything that the hash covers, so that two different entries never read the same.

    Each part as its length in characters, a colon, the part, a comma (a netstring); UTF-8 in the end.
    """
    parts = (
        str(link.owner_id),
        str(link.number),
        link.from_state,
        link.to_state,
        "" if link.at_microseconds is None else str(link.at_microseconds),
        link.actor,
        link.reason,
        link.evidence,
        link.previous_hash,
    )
    return _netstrings(*parts)


def link_hash(link: Link) -> str:
    """Hash the canonical form: 64 hexadecimal digits of SHA-256."""
    return hashlib.sha256(canonical_form(link)).hexdigest()


def first_broken_link(
    links: Iterable[Link], *, standing: Standing | None, steps: Collection[tuple[str, str]]
) -> BrokenLink | None:
    """Find the first place where one owner's history is broken; None when it is whole.

    `links` come by ascending number. `standing` is None when the owner's row is gone. `steps` are the allowed pairs of
    (from, to), the opening from the empty state among them.
    """
    previous: Link | None = None
    for number, link in zip(count(1), links):
        broken = _check_link(link, number=number, previous=previous, steps=steps)
        if broken is not None:
            return broken
        previous = link
    return _check_end(previous, standing=standing)


class HeadDigest:
    """One SHA-256 over the heads of all chains: whoever keeps it elsewhere notices a chain that was rewritten whole."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, *, owner_id: UUID, head: str) -> None:
        """Take in the last entry's hash of one owner. The order counts: ascending ids."""
        self._hash.update(_netstrings(str(owner_id), head))

    def hexdigest(self) -> str:
        """Give the digest of what was added so far."""
        return self._hash.hexdigest()


def head_of(links: Sequence[Link], *, until_microseconds: int | None = None) -> str | None:
    """Give the hash of the last of `links`, or of the last one not after an instant; None when there is none."""
    for link in reversed(links):
        if until_microseconds is None:
            return link.entry_hash
        if link.at_microseconds is not None and link.at_microseconds <= until_microseconds:
            return link.entry_hash
    return None


def _netstrings(*parts: str) -> bytes:
    return "".join(f"{len(part)}:{part}," for part in parts).encode()


def _check_link(
    link: Link, *, number: int, previous: Link | None, steps: Collection[tuple[str, str]]
) -> BrokenLink | None:
    before_hash, before_state = ("", "") if previous is None else (previous.entry_hash, previous.to_state)
    if link.number != number:
        return BrokenLink(number, Fault.NUMBER, str(number), str(link.number))
    if link.previous_hash != before_hash:
        return BrokenLink(number, Fault.PREVIOUS_HASH, before_hash or _NOTHING, link.previous_hash or _NOTHING)
    own_hash = link_hash(link)
    if link.entry_hash != own_hash:
        return BrokenLink(number, Fault.ENTRY_HASH, own_hash, link.entry_hash or _NOTHING)
    if link.from_state != before_state:
        return BrokenLink(number, Fault.FROM_STATE, before_state or _NOTHING, link.from_state or _NOTHING)
    if (link.from_state, link.to_state) not in steps:
        possible = sorted(after for before, after in steps if before == link.from_state)
        return BrokenLink(number, Fault.TRANSITION, " or ".join(possible) or _NOTHING, link.to_state or _NOTHING)
    return None


def _check_end(last: Link | None, *, standing: Standing | None) -> BrokenLink | None:
    if last is None:
        return BrokenLink(1, Fault.NUMBER, "1", _NOTHING)
    if standing is None:
        return BrokenLink(last.number, Fault.OWNER, str(last.owner_id), _NOTHING)
    if last.number < standing.version:
        return BrokenLink(last.number + 1, Fault.NUMBER, str(last.number + 1), _NOTHING)
    if last.number > standing.version:
        return BrokenLink(last.number, Fault.VERSION, str(last.number), str(standing.version))
    if last.to_state != standing.state:
        return BrokenLink(last.number, Fault.STATE, last.to_state, standing.state)
    return None
