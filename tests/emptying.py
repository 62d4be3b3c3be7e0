"""Empties the tables after a test that committed.

Django truncates every table and makes permissions and content types anew: a third of a second for each of thousands of
tests. A handful of rows is deleted in two milliseconds. Triggers and foreign keys are asleep meanwhile, which needs a
superuser, and nobody else can write.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import psycopg
from django.db import OperationalError, connection
from django.test import TransactionTestCase

from tests.system import test_database_url

# What migrations leave there belongs to the code and not to a test.
KEPT = frozenset({"django_migrations", "django_content_type", "auth_permission"})

# A table that a test has filled is truncated all the same, so that no dead rows slow down the tests after it.
FEW_BYTES = 1_000_000

# A process of the test may hold a lock still, or be held by ours: one of the two has to try again.
TRIES = 4

_truncate: Callable[[TransactionTestCase], None] = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined] # Django's own hook, which the stubs leave out


def install() -> None:
    """Have every test of this process that commits end like this."""
    TransactionTestCase._fixture_teardown = _empty  # type: ignore[attr-defined] # the same


def _empty(case: TransactionTestCase, *, tries: int = TRIES) -> None:
    try:
        if not _is_superuser() or _is_any_large():
            _truncate(case)
        else:
            _delete()
    except OperationalError as error:
        holders = _busy_sessions()
        connection.close()  # A session that is broken, or inside a transaction, would fail every test after this one.
        if tries == 1:
            error.add_note(f"Other sessions that were in a transaction: {holders}")
            raise
        _empty(case, tries=tries - 1)


def _delete() -> None:
    tables = ", ".join(f'"{table}"' for table in _tables())
    with connection.cursor() as cursor:
        cursor.execute(
            f"BEGIN; LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE; SET LOCAL session_replication_role = replica; "
            + "; ".join(f'DELETE FROM "{table}"' for table in _tables())
            + "; COMMIT"
        )


def _busy_sessions() -> list[tuple[Any, ...]]:
    """Tell the application and the latest statement of every other session that is in a transaction."""
    with psycopg.connect(test_database_url()) as session:
        return session.execute(
            "SELECT application_name, query FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
        ).fetchall()


def _is_any_large() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT max(pg_relation_size(name::regclass)) FROM unnest(%s::text[]) AS name", [list(_tables())]
        )
        (largest,) = cursor.fetchone()
    return bool(largest > FEW_BYTES)


@cache
def _is_superuser() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SHOW is_superuser")
        return bool(cursor.fetchone() == ("on",))


@cache
def _tables() -> tuple[str, ...]:
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    return tuple(sorted(set(names) - KEPT))
