"""The only home of `transaction.atomic`: names that say what is meant.

`transaction` begins and durably ends one; `savepoint` is a part of it that may fail; `require_transaction` and
`forbid_transaction` state what a function relies on; `after_commit` is for what may be lost, since the row already
owes it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import Error, InterfaceError, OperationalError, connection
from django.db import transaction as django_transaction

from payments import config, deadlines


class TransactionTooLongError(OperationalError):
    """A transaction was ended for taking longer than it may. What is owed stays owed.

    Nothing of it was done, unless it was just being committed: then nobody was told, and the rows know.
    """


@contextmanager
def transaction() -> Iterator[None]:
    """Open a transaction that commits when the block ends.

    It is bounded by PAYMENT_TRANSACTION_SECONDS on this process's monotonic clock, whatever the database's clock does.

    :raises RuntimeError: inside another transaction, where "commits" would be a lie.
    :raises TransactionTooLongError: when it was ended for taking too long.
    """
    connection.ensure_connection()
    seconds = config.transaction_seconds()
    with deadlines.limited(_of_psycopg(), seconds=seconds) as deadline:
        try:
            with django_transaction.atomic(durable=True):  # noqa: TID251 - this module is its home
                yield
        except Error as error:
            if deadline.is_over:
                message = f"the transaction took longer than {seconds} s"
                raise TransactionTooLongError(message) from error
            raise


# PostgreSQL's codes: serialization failure, deadlock, and a lock that was not granted in time.
_LOCK_CONFLICTS = frozenset({"40001", "40P01", "55P03"})
_CANCELED = "57014"
_UNKNOWN_OR_FORBIDDEN = "42"  # A table or column that is not there, a right that is missing: no row's fault.


def is_lock_conflict(error: Exception) -> bool:
    """Tell whether a transaction failed only because another one held something: it may go through the next time."""
    return _code(error) in _LOCK_CONFLICTS


def concerns_rows(error: Exception) -> bool:
    """Tell whether what failed may be some of the rows, so that fewer or other ones may go through.

    A connection that is gone, or a disk that is full, fails for all alike.
    """
    if isinstance(error, TransactionTooLongError):
        return True
    if isinstance(error, OperationalError | InterfaceError):
        return is_lock_conflict(error) or _code(error) == _CANCELED
    return not (_code(error) or "").startswith(_UNKNOWN_OR_FORBIDDEN)


def _code(error: Exception) -> str | None:
    cause = error.__cause__
    return cause.sqlstate if isinstance(cause, psycopg.Error) else None


def _of_psycopg() -> psycopg.Connection[Any]:
    driver = connection.connection
    if not isinstance(driver, psycopg.Connection):
        message = f"Django holds {driver!r}, which is no connection of psycopg"
        raise TypeError(message)
    return driver


@contextmanager
def savepoint() -> Iterator[None]:
    """Open a part of a transaction that may fail by itself: what it did is undone, the rest goes on.

    :raises RuntimeError: outside a transaction.
    """
    require_transaction()
    with django_transaction.atomic():  # noqa: TID251 - this module is its home
        yield


def roll_back() -> None:
    """Undo everything that this transaction has done, and end it without an error. Nothing can be asked after it.

    :raises RuntimeError: outside a transaction.
    """
    require_transaction()
    django_transaction.set_rollback(True)


def require_transaction() -> None:
    """Refuse to go on outside a transaction: a lock taken there would be gone at once.

    :raises RuntimeError: outside.
    """
    if not connection.in_atomic_block:
        message = "this must run inside a transaction"
        raise RuntimeError(message)


def forbid_transaction() -> None:
    """Refuse to go on inside a transaction: what follows waits for somebody else's answer.

    :raises RuntimeError: inside.
    """
    if connection.in_atomic_block:
        message = "a network call must not be made inside a transaction"
        raise RuntimeError(message)


def release_connection() -> None:
    """Give the database connection back, so that a thousand waiting calls need few of them.

    :raises RuntimeError: inside a transaction.
    """
    forbid_transaction()
    connection.close()


def after_commit(act: Callable[[], object]) -> None:
    """Run `act` once the transaction has committed. It is lost if the process dies in between."""
    django_transaction.on_commit(act)  # noqa: TID251 - this module is its home
