"""Reads whole histories back and verifies them: numbers, hashes, transitions, and the row that each must end at (B4).

It goes by ascending id, in pages that are bounded by owners and by entries, and reads each page in one statement: what
is written meanwhile is in both a history and its row, or in neither.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.db import connection

from payments.domain import states
from payments.domain.chain import (
    BrokenLink,
    Fault,
    Link,
    Standing,
    first_broken_link,
    head_of,
    microseconds_since_epoch,
)
from payments.domain.compensations import compensation_edges
from payments.domain.ids import Prefix

_LOWEST, _HIGHEST = UUID(int=0), UUID(int=2**128 - 1)

# A page ends at this many owners or entries, whichever comes first, with its last owner's history whole.
_PAGE_OWNERS = 1000
_PAGE_ENTRIES = 5000

_NOTHING_LEFT = "nothing, since it is archived"

_END_OF_PAGE_SQL = """
SELECT least(
    %(highest)s::uuid,
    (SELECT id FROM {archived} WHERE id BETWEEN %(low)s AND %(highest)s ORDER BY id LIMIT 1 OFFSET %(owners)s - 1),
    (SELECT id FROM {owners} WHERE id BETWEEN %(low)s AND %(highest)s ORDER BY id LIMIT 1 OFFSET %(owners)s - 1),
    (SELECT {owner_id} FROM {entries} WHERE {owner_id} BETWEEN %(low)s AND %(highest)s
        ORDER BY {owner_id} LIMIT 1 OFFSET %(entries)s - 1)
)
"""

# A full join: owners without history and histories without an owner are both faults. Of what is archived only the head
# is here, in the same statement: it is in the tables or in the archive, and never in neither.
_PAGE_SQL = """
SELECT coalesce(o.id, e.{owner_id}), false AS is_archived, o.state, o.version, e.number, e.from_state, e.to_state,
    CASE WHEN isfinite(e.at) THEN (extract(epoch FROM e.at) * 1000000)::bigint END,
    e.actor, e.reason, e.evidence::text, e.previous_hash, e.entry_hash, e.id
FROM (SELECT id, state, version FROM {owners} WHERE id BETWEEN %(low)s AND %(high)s) o
FULL JOIN (SELECT * FROM {entries} WHERE {owner_id} BETWEEN %(low)s AND %(high)s) e ON e.{owner_id} = o.id
UNION ALL
SELECT id, true, state, version, NULL, NULL, NULL, (extract(epoch FROM head_at) * 1000000)::bigint,
    NULL, NULL, NULL, NULL, head_hash, NULL
FROM {archived} WHERE id BETWEEN %(low)s AND %(high)s
ORDER BY 1, 5, 14
"""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chained table (payments/models/chain.py), and what its histories must look like."""

    name: str  # Of the owners, in reports.
    prefix: Prefix  # Of an owner's public id.
    owners: str  # The owners' table.
    entries: str  # The entries' table.
    archived: str  # The table of what is left of owners whose histories are in archive files.
    owner_id: str  # The column that leads from an entry to its owner.
    steps: frozenset[tuple[str, str]]  # Allowed pairs of (from, to), the opening from the empty state among them.


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one owner's history."""

    owner_id: UUID
    entries: int
    head: str | None  # The hash of the last entry that counts for a digest of heads; None when none does.
    broken: BrokenLink | None
    is_archived: bool = False  # Then its history is in a file, and only its head is known here.


ATTEMPTS = Chain(
    name="payments",
    prefix=Prefix.PAYMENT,
    owners="payments_paymentattempt",
    entries="payments_historyentry",
    archived="payments_archivedattempt",
    owner_id="attempt_id",
    # A line in the history, and no other state: a charge that the clocks do not allow yet is held, and the stock of an
    # outcome that nobody knows is given back.
    steps=frozenset(
        {
            ("", states.AttemptState.OPEN.value),
            ("queued", "queued"),
            *((state.value, state.value) for state in states.UNRESOLVED),
            *states.edges(),
        }
    ),
)

COMPENSATIONS = Chain(
    name="compensations",
    prefix=Prefix.COMPENSATION,
    owners="payments_compensation",
    entries="payments_compensationentry",
    archived="payments_archivedcompensation",
    owner_id="compensation_id",
    # One that the gateway made by itself begins at its end.
    steps=frozenset({("", "owed"), ("", "done"), *compensation_edges()}),
)

CHAINS = (ATTEMPTS, COMPENSATIONS)


def count_owners(*, chain: Chain) -> int:
    """Count the owners, the archived ones too: how many verdicts there will be, unless some come meanwhile."""
    ((owners,),) = _read(chain, "SELECT (SELECT count(*) FROM {owners}) + (SELECT count(*) FROM {archived})")
    return int(owners)


def verify_histories(
    *, chain: Chain, owner_id: UUID | None = None, heads_until: datetime | None = None
) -> Iterator[Verdict]:
    """Verify every history of a chain, or one owner's, by ascending id; nothing when there is no such owner.

    Memory is bounded by a page. With `heads_until` a verdict's head is the last entry not after that instant, so that
    a digest of heads can be made again later; everything is verified in any case.
    """
    until = None if heads_until is None else microseconds_since_epoch(heads_until)
    low, highest = (_LOWEST, _HIGHEST) if owner_id is None else (owner_id, owner_id)
    while True:
        ((high,),) = _read(
            chain, _END_OF_PAGE_SQL, low=low, highest=highest, owners=_PAGE_OWNERS, entries=_PAGE_ENTRIES
        )
        for found, rows in groupby(_read(chain, _PAGE_SQL, low=low, high=high), key=itemgetter(0)):
            yield _verify(found, list(rows), steps=chain.steps, until_microseconds=until)
        if high == highest:
            return
        low = UUID(int=high.int + 1)


def _verify(
    owner_id: UUID,
    rows: list[tuple[Any, ...]],
    *,
    steps: frozenset[tuple[str, str]],
    until_microseconds: int | None,
) -> Verdict:
    here = [row for row in rows if not row[1]]
    if not here:
        return _verdict_of_archived(owner_id, rows[0], until_microseconds=until_microseconds)
    _, _, state, version, *_ = here[0]
    links = [Link(owner_id, *row[4:13]) for row in here if row[4] is not None]
    standing = None if state is None else Standing(state=state, version=version)
    broken = first_broken_link(links, standing=standing, steps=steps)
    if broken is None and len(rows) != max(1, len(links)):
        broken = BrokenLink(len(links), Fault.OWNER, _NOTHING_LEFT, str(owner_id))
    return Verdict(
        owner_id=owner_id,
        entries=len(links),
        head=head_of(links, until_microseconds=until_microseconds),
        broken=broken,
    )


def _verdict_of_archived(owner_id: UUID, row: tuple[Any, ...], *, until_microseconds: int | None) -> Verdict:
    head_at, head = row[7], row[12]
    is_counted = until_microseconds is None or head_at <= until_microseconds
    return Verdict(owner_id=owner_id, entries=0, head=head if is_counted else None, broken=None, is_archived=True)


def _read(chain: Chain, sql: str, **parameters: UUID | int) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(
            sql.format(owners=chain.owners, entries=chain.entries, archived=chain.archived, owner_id=chain.owner_id),
            parameters or None,
        )
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
