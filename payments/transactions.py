"""The only home of `transaction.atomic`: three names that say what is meant.

`transaction` begins and durably ends one; `require_transaction` and `forbid_transaction` state what a function relies
on; `after_commit` is for what may be lost, since the row already owes it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection
from django.db import transaction as django_transaction


@contextmanager
def transaction() -> Iterator[None]:
    """Open a transaction that commits when the block ends.

    :raises RuntimeError: inside another transaction, where "commits" would be a lie.
    """
    with django_transaction.atomic(durable=True):  # noqa: TID251 - this module is its home
        yield


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
