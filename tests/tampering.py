"""What nobody should do to a database, done to see whether it shows."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper


@contextmanager
def every_right() -> Iterator[CursorWrapper]:
    """A transaction of the database's superuser: no trigger fires and no foreign key is checked."""
    with transaction.atomic(), connection.cursor() as cursor:  # noqa: TID251 - behind the lifecycle's back
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield cursor
