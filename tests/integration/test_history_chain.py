"""What the database writes into a history's hashes, held against the same computed elsewhere; and what it refuses."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pgtrigger
import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, ProgrammingError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payments import lifecycle
from payments.domain.chain import Link, link_hash, microseconds_since_epoch
from payments.models import HistoryEntry, PaymentAttempt, StockItem
from tests import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.breaks_invariants]

ZONES = ["UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Apia"]
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def attempt(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.place_order(customer=customer, item=item)


@contextmanager
def rolled_back(*, zone: str = "UTC") -> Iterator[None]:
    with transaction.atomic(), connection.cursor() as cursor:  # noqa: TID251 - rolled back below
        cursor.execute("SELECT set_config('TimeZone', %s, true)", [zone])
        yield
        transaction.set_rollback(True)


def insert(attempt: PaymentAttempt, number: int, before: str, after: str, **columns: Any) -> None:
    """Insert an entry in plain SQL; `evidence` is JSON text."""
    values: dict[str, Any] = {
        "attempt_id": attempt.id,
        "number": number,
        "from_state": before,
        "to_state": after,
        "at": NOW,
        "actor": "test",
        "reason": "test",
        "evidence": "{}",
    } | columns
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO payments_historyentry ({', '.join(values)}) VALUES ({', '.join(['%s'] * len(values))})",
            list(values.values()),
        )


def hashes(attempt_id: UUID) -> list[tuple[str, str]]:
    """(previous hash, own hash) of each entry, as stored."""
    rows = HistoryEntry.objects.filter(attempt_id=attempt_id).order_by("number")
    return list(rows.values_list("previous_hash", "entry_hash"))


def hashes_by_content(attempt_id: UUID) -> list[tuple[str, str]]:
    """The same, made from what the entries say and nothing else."""
    made: list[tuple[str, str]] = []
    with connection.cursor() as cursor:
        cursor.execute("SET TimeZone = 'UTC'")  # Django takes what it reads for UTC, whatever the session has.
        cursor.execute(
            "SELECT number, from_state, to_state, at, actor, reason, evidence::text FROM payments_historyentry"
            " WHERE attempt_id = %s ORDER BY number",
            [attempt_id],
        )
        for number, before, after, at, actor, reason, evidence in cursor.fetchall():
            previous = made[-1][1] if made else ""
            at_microseconds = microseconds_since_epoch(at)
            link = Link(attempt_id, number, before, after, at_microseconds, actor, reason, evidence, previous, "")
            made.append((previous, link_hash(link)))
    return made


def test_every_act_writes_chained_entries_and_says_nothing_of_hashes(customer: User, item: StockItem) -> None:
    submitted, untouched = (factories.place_order(customer=customer, item=item) for _ in range(2))
    factories.submit(submitted)
    factories.age_attempt(submitted.id, untouched.id, seconds_left=-1)
    assert lifecycle.sweep_expired().expired_orders == 2  # Two histories grow in one statement.
    for attempt, length in ((submitted, 3), (untouched, 2)):
        found = hashes(attempt.id)
        assert found == hashes_by_content(attempt.id)
        assert len({own for _, own in found}) == length


def test_a_writer_reads_back_the_hashes_that_the_database_made(attempt: PaymentAttempt) -> None:
    with rolled_back():
        entry = HistoryEntry.objects.create(
            attempt=attempt, number=2, from_state="open", to_state="queued", at=NOW, actor="test", reason="test"
        )
        assert (entry.previous_hash, entry.entry_hash) == hashes_by_content(attempt.id)[1]


def test_several_entries_of_one_attempt_in_one_statement(attempt: PaymentAttempt) -> None:
    with rolled_back():
        HistoryEntry.objects.bulk_create(
            HistoryEntry(
                attempt=attempt, number=number, from_state=before, to_state=after, at=NOW, actor="a", reason="r"
            )
            for number, before, after in [(2, "open", "queued"), (3, "queued", "charging")]
        )
        assert hashes(attempt.id) == hashes_by_content(attempt.id)


NASTY = [
    "",
    " ",
    " x ",
    "a:b,",
    "1:a,",
    "é",
    "e\u0301",
    "😀",
    "\u202e\u200b",
    "\n\r\t",
    "\\",
    "\\n",
    "'",
    '"',
    "%s",
    "{}",
    "$1",
]


@pytest.mark.parametrize("zone", ZONES)
def test_both_hashes_agree_on_nasty_text(attempt: PaymentAttempt, zone: str) -> None:
    for text in NASTY:
        with rolled_back(zone=zone):
            evidence = json.dumps({text: [text, {text: {"deep": [None, True, text]}}]})
            insert(attempt, 2, "open", text + "x", actor=text, reason=text, evidence=evidence)
            insert(attempt, 3, text + "x", "queued", actor=text, evidence=json.dumps(text))
            assert hashes(attempt.id) == hashes_by_content(attempt.id), text


def test_both_hashes_agree_on_evidence_that_has_several_spellings(attempt: PaymentAttempt) -> None:
    long_number = "12345678901234567890.12345678901234567890"
    for evidence in ["{}", "[]", "null", '""', '{"b":1,"a":2,"a":3}', "1.10", "1e3", "-0.0", long_number]:
        with rolled_back():
            insert(attempt, 2, "open", "queued", evidence=evidence)
            assert hashes(attempt.id) == hashes_by_content(attempt.id), evidence


@pytest.mark.parametrize("zone", ZONES)
def test_both_hashes_agree_on_times_in_every_zone(attempt: PaymentAttempt, zone: str) -> None:
    for at in [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1969, 7, 20, 20, 17, 40, 1, tzinfo=UTC),
        datetime(1, 1, 1, microsecond=1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 30, 0, 100_000, tzinfo=UTC),
        datetime(2011, 12, 30, 10, tzinfo=UTC),  # Apia left this day out.
    ]:
        with rolled_back(zone=zone):
            insert(attempt, 2, "open", "queued", at=at)
            assert hashes(attempt.id) == hashes_by_content(attempt.id), at


# What PostgreSQL can store: no NUL, no lone surrogate.
texts = st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=16)
evidences = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    state=texts.filter(bool),
    after=texts,
    actor=texts,
    reason=texts,
    evidence=evidences,
    at=st.datetimes(timezones=st.just(UTC)),
    zone=st.sampled_from(ZONES),
)
def test_both_hashes_agree_on_anything(
    attempt: PaymentAttempt,
    state: str,
    after: str,
    actor: str,
    reason: str,
    evidence: object,
    at: datetime,
    zone: str,
) -> None:
    with rolled_back(zone=zone):
        insert(attempt, 2, "open", state, at=at, actor=actor, reason=reason, evidence=json.dumps(evidence))
        insert(attempt, 3, state, after, at=NOW, actor=reason, reason=actor)
        assert hashes(attempt.id) == hashes_by_content(attempt.id)


# Refusals


def test_an_entry_without_its_predecessor(attempt: PaymentAttempt) -> None:
    for number in (3, 1000):
        with pytest.raises(ProgrammingError, match=f"entry {number} of {attempt.id} has no predecessor"):
            insert(attempt, number, "open", "queued")


def test_an_entry_whose_predecessor_belongs_to_somebody_else(
    attempt: PaymentAttempt, customer: User, item: StockItem
) -> None:
    other = factories.submit(factories.place_order(customer=customer, item=item))
    assert other.version == 2
    with pytest.raises(ProgrammingError, match="has no predecessor"):
        insert(attempt, 3, "queued", "charging")


@pytest.mark.parametrize("before", ["queued", "Open", " open"])
def test_an_entry_that_starts_where_its_predecessor_did_not_end(attempt: PaymentAttempt, before: str) -> None:
    with pytest.raises(ProgrammingError, match=f'starts at "{before}", but its predecessor ended in "open"'):
        insert(attempt, 2, before, "charging")


@pytest.mark.parametrize("column", ["previous_hash", "entry_hash"])
def test_an_entry_that_names_a_hash_that_is_not_its_own(attempt: PaymentAttempt, column: str) -> None:
    with pytest.raises(ProgrammingError, match=f"entry 2 of {attempt.id} names hashes that are not its own"):
        insert(attempt, 2, "open", "queued", **{column: "a" * 64})


def test_an_entry_that_names_its_own_hashes_may_be_restored_from_a_copy(attempt: PaymentAttempt) -> None:
    with rolled_back():
        insert(attempt, 2, "open", "queued")
        copy = dict(zip(("previous_hash", "entry_hash"), hashes(attempt.id)[1], strict=True))
    assert len(hashes(attempt.id)) == 1
    with rolled_back():
        insert(attempt, 2, "open", "queued", **copy)
        assert hashes(attempt.id) == hashes_by_content(attempt.id)


@pytest.mark.parametrize("at", ["infinity", "-infinity"])
def test_an_entry_of_no_time(attempt: PaymentAttempt, at: str) -> None:
    with pytest.raises(DatabaseError, match="infinity"):
        insert(attempt, 2, "open", "queued", at=at)


@pytest.mark.parametrize(
    ("number", "before", "columns"),
    [
        (1, "", {}),
        (1, "", {"entry_hash": "a", "previous_hash": "a"}),
        (2, "open", {"entry_hash": "a"}),
        (2, "open", {"previous_hash": "a"}),
    ],
)
def test_an_entry_without_hashes_when_a_session_ignores_the_trigger(
    attempt: PaymentAttempt, number: int, before: str, columns: dict[str, str]
) -> None:
    with (
        pgtrigger.ignore("payments.HistoryEntry:history_chained"),
        pytest.raises(IntegrityError, match="history_hashed"),
    ):
        insert(attempt, number, before, "queued", **columns)
