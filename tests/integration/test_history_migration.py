"""Histories from before the chain are chained by the migration, as if the trigger had written them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, ProgrammingError, connection

from payments import audit, clocks, lifecycle
from payments.models import HistoryEntry, PaymentAttempt, StockItem
from tests import factories
from tests.tampering import every_right

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.breaks_invariants]


@contextmanager
def before_the_chain() -> Iterator[None]:
    """The database as it was before; afterwards it is migrated forward again, also when the test fails."""
    call_command("migrate", "payments", "0002_version_refers_to_history", verbosity=0)
    try:
        yield
    finally:
        call_command("migrate", verbosity=0)


# What the sweep sent at that time: entries without hashes.
EXPIRE_QUEUED_SQL = """
WITH expired AS (
    UPDATE payments_paymentattempt
    SET state = 'expired', version = version + 1, closed_at = %s, due_at = NULL WHERE state = 'queued'
    RETURNING id, version, closed_at, expires_at
)
INSERT INTO payments_historyentry (attempt_id, number, from_state, to_state, at, actor, reason, evidence)
SELECT id, version, 'queued', 'expired', closed_at, 'sweep', 'window_closed',
    jsonb_build_object('now', closed_at, 'expires_at', expires_at)
FROM expired
"""


def hashes() -> dict[tuple[object, int], tuple[str, str]]:
    return {
        (entry.attempt_id, entry.number): (entry.previous_hash, entry.entry_hash)
        for entry in HistoryEntry.objects.all()
    }


def faults() -> list[object]:
    return [verdict.broken for verdict in audit.verify_histories(chain=audit.ATTEMPTS) if verdict.broken]


def columns_of_history() -> set[str]:
    with connection.cursor() as cursor:
        description = connection.introspection.get_table_description(cursor, "payments_historyentry")
    return {column.name for column in description}


def test_what_is_there_is_chained_in_order_and_protected_again(customer: User, item: StockItem) -> None:
    factories.place_order(customer=customer, item=item)
    submitted = [factories.submit(factories.place_order(customer=customer, item=item)) for _ in range(3)]
    by_the_trigger = hashes()
    with before_the_chain():
        assert columns_of_history().isdisjoint({"entry_hash", "previous_hash"})
        with connection.cursor() as cursor:
            cursor.execute(EXPIRE_QUEUED_SQL, [clocks.database_now()])
    by_the_migration = hashes()
    assert len(by_the_migration) == 1 + 3 * 3
    assert {key: by_the_migration[key] for key in by_the_trigger} == by_the_trigger
    assert faults() == []
    with pytest.raises(ProgrammingError, match="Cannot update or delete"):
        HistoryEntry.objects.filter(attempt=submitted[0]).update(reason="other")
    later = factories.place_order(customer=customer, item=item)
    factories.age_attempt(later.id, seconds_left=-1)
    assert lifecycle.sweep_expired().expired_orders == 1
    assert faults() == []


def test_a_history_with_a_gap_is_not_chained_over(customer: User, item: StockItem) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    with before_the_chain():
        renumber(attempt, by=1)
        try:
            with pytest.raises(IntegrityError, match="history_hashed"):
                call_command("migrate", verbosity=0)
        finally:
            renumber(attempt, by=-1)
    assert faults() == []


def renumber(attempt: PaymentAttempt, *, by: int) -> None:
    """Move the last entry, and with it the row's version."""
    with every_right() as cursor:
        cursor.execute(
            "UPDATE payments_historyentry SET number = number + %s WHERE attempt_id = %s AND number > 1",
            [by, attempt.id],
        )
        cursor.execute("UPDATE payments_paymentattempt SET version = version + %s WHERE id = %s", [by, attempt.id])
