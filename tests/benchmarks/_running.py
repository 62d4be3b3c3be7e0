"""What every benchmark needs: a database of its own, and a way to say what it found."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from tests.faults import forget_connections


def say(name: str, value: float, unit: str) -> None:
    """Print one result as a line of JSON."""
    print(json.dumps({"name": name, "value": float(f"{value:.4g}"), "unit": unit}), flush=True)


@contextmanager
def own_database(name: str) -> Iterator[None]:
    """Work on an empty database with this name, which is gone afterwards."""
    connection.settings_dict["TEST"]["NAME"] = name
    before = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        yield
    finally:
        forget_connections()
        connection.creation.destroy_test_db(before, verbosity=0)
