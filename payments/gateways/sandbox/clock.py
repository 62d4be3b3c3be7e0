"""The gateway's own clock: the one module here that reads the time of day.

A gateway's clock is not ours. Nothing in the rest of the project may rely on what this one says.
"""

import datetime as dt
import time


def read_clock() -> dt.datetime:
    """Return the gateway's time of day, aware, in UTC, to the microsecond."""
    return dt.datetime.fromtimestamp(time.time_ns() / 1_000_000_000, dt.UTC)


def stamp(at: dt.datetime) -> str:
    """Return `at` as ISO 8601 UTC of fixed width, so that text order in the ledger is time order."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
