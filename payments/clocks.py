"""Reads the clock that decides: the database's, in a statement of its own, after the lock was granted.

`SELECT ... FOR UPDATE WHERE expires_at > now()` was seen to return an expired row as valid after a lock wait of 3 s:
PostgreSQL takes its times before it waits. No other time of day is read in `payments`; durations are
measured on the monotonic clock.
"""

from datetime import datetime

from django.db import connection


def database_now() -> datetime:
    """Read the database's clock: timezone-aware, UTC. Under a lock, call it after the lock was granted."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    if not isinstance(now, datetime):
        message = f"clock_timestamp() gave {now!r}"
        raise TypeError(message)
    return now
