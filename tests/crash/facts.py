"""What is so: the rows of the database and the gateway's books, read plainly, without a line of the code under test."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]

# Public ids are spelled here a second time, so that a mistake over there is none here.
_QUERIES: Mapping[str, str] = {
    "orders": "SELECT o.*, 'ord_' || replace(o.id::text, '-', '') AS public_id FROM payments_order o ORDER BY id",
    "attempts": """
        SELECT a.*, 'pay_' || replace(a.id::text, '-', '') AS public_id FROM payments_paymentattempt a ORDER BY id
    """,
    "history": "SELECT * FROM payments_historyentry ORDER BY attempt_id, number",
    "calls": "SELECT * FROM payments_gatewaycall ORDER BY started_at, id",
    "compensations": """
        SELECT c.*, 'cmp_' || replace(c.id::text, '-', '') AS public_id FROM payments_compensation c ORDER BY id
    """,
    "compensation_history": "SELECT * FROM payments_compensationentry ORDER BY compensation_id, number",
    "reservations": "SELECT * FROM payments_reservation ORDER BY line_id",
    "lines": "SELECT * FROM payments_orderline ORDER BY id",
    "items": "SELECT * FROM payments_stockitem ORDER BY id",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a verdict is found on."""

    now: datetime  # The database's.
    orders: list[Row]
    attempts: list[Row]
    history: list[Row]
    calls: list[Row]
    compensations: list[Row]
    compensation_history: list[Row]
    reservations: list[Row]
    lines: list[Row]
    items: list[Row]
    # The gateway's own: what exists, what moved, and what arrived there.
    charges: list[Row]
    operations: list[Row]
    requests: list[Row]


def read_facts(*, database_url: str, ledger: Mapping[str, list[Row]]) -> Facts:
    """Read the database in one snapshot, beside what the gateway's control endpoint said."""
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        rows = {name: connection.execute(query).fetchall() for name, query in _QUERIES.items()}
        (clock,) = connection.execute("SELECT clock_timestamp() AS now")
    books = {name: ledger[name] for name in ("charges", "operations", "requests")}
    return Facts(now=clock["now"], **rows, **books)
