"""What one world's database and gateway say, read and aged with plain SQL on a connection of the test's own."""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from payments import clocks
from tests.contract.sandbox_server import SandboxProcess
from tests.factories import aged

ENDED = ("succeeded", "expired", "failed", "cancelled", "needs_review")
WATCHED_BEFORE = timedelta(days=1)

Row = dict[str, Any]


class Books:
    """`seen` maps an attempt to when the test first saw it ended, on the monotonic clock."""

    def __init__(self, database_url: str, *, sandbox: SandboxProcess) -> None:
        self.sandbox = sandbox
        self.seen: dict[str, float] = {}
        self._connection = psycopg.connect(database_url, autocommit=True, row_factory=dict_row)

    def close(self) -> None:
        self._connection.close()

    def rows(self, query: str, *parameters: object) -> list[Row]:
        return self._connection.execute(query, parameters).fetchall()

    def states(self, ids: Sequence[str]) -> dict[str, str]:
        """The states of attempts by id; notes which of them have ended by now."""
        rows = self.rows("SELECT id::text, state FROM payments_paymentattempt WHERE id = ANY(%s::uuid[])", list(ids))
        now = time.monotonic()
        for row in rows:
            if row["state"] in ENDED:
                self.seen.setdefault(row["id"], now)
        return {row["id"]: row["state"] for row in rows}

    def age(self, ids: Sequence[str], *, seconds_left: float) -> float:
        """Move whole windows back until `seconds_left` are left; returns the deadline on the monotonic clock.

        No clock may be shifted: then the database's is the true one.
        """
        began = time.monotonic()
        with self._connection.transaction():
            self.rows("SELECT set_config('session_replication_role', 'replica', true)")  # No trigger refuses it.
            (clock,) = self.rows("SELECT clock_timestamp() AS now")
            query = "SELECT id::text, order_id, opened_at, expires_at, opened_stamp, enqueued_stamp"
            for row in self.rows(f"{query} FROM payments_paymentattempt WHERE id = ANY(%s::uuid[])", list(ids)):
                by = row["expires_at"] - clock["now"] - timedelta(seconds=seconds_left)
                stamps = [json.dumps(_aged(row[name], by=by)) for name in ("opened_stamp", "enqueued_stamp")]
                changed = (
                    "opened_at = opened_at - %s, expires_at = expires_at - %s, opened_stamp = %s, enqueued_stamp = %s"
                )
                values = (by, by, *stamps, row["id"])
                self._connection.execute(f"UPDATE payments_paymentattempt SET {changed} WHERE id = %s", values)
                self._connection.execute(
                    "UPDATE payments_order SET payment_expires_at = payment_expires_at - %s WHERE id = %s",
                    (by, row["order_id"]),
                )
        return began + seconds_left

    def seed_witness(self) -> datetime:
        """Let a process of this boot have watched for a day: then what is aged was opened under a watch."""
        (clock,) = self.rows("SELECT clock_timestamp() AS now")
        since: datetime = clock["now"] - WATCHED_BEFORE
        self._connection.execute(
            """
            INSERT INTO payments_clockwitness (id, host, domain, process, since, until, boottime_at_until_seconds,
                crept_seconds, steps)
            VALUES (gen_random_uuid(), %s, %s, 'earlier', %s, %s, %s, 0, '{}')
            """,
            (clocks.host(), clocks.domain(), since, clock["now"], clocks.boottime_seconds()),
        )
        return since

    def watchers_since(self, since: datetime, *, processes: Sequence[str]) -> int:
        """How many of these processes have watched from `since` on, by what they attest."""
        query = "SELECT 1 FROM payments_clockwitness WHERE since = %s AND process = ANY(%s)"
        return len(self.rows(query, since, list(processes)))

    def forget_future(self) -> None:
        """Delete what was attested of a time that has not come: the next cell begins without it."""
        self._connection.execute("DELETE FROM payments_clockwitness WHERE until > clock_timestamp()")

    def events(self) -> list[Row]:
        return self.rows("SELECT * FROM payments_clockevent")

    def forget_events(self) -> None:
        self._connection.execute("TRUNCATE payments_clockevent")

    def was_held(self, id_: str) -> bool:
        query = "SELECT 1 FROM payments_historyentry WHERE attempt_id = %s AND reason = 'held'"
        return bool(self.rows(query, id_))

    def charges_begun(self, id_: str) -> list[float]:
        """When requests that begin a charge arrived at the gateway, on the monotonic clock."""
        ledger = self.sandbox.ledger(reference=f"pay_{id_.replace('-', '')}")
        asked = [row for row in ledger["requests"] if row["operation"] in {"authorize", "charge"}]
        return [monotonic_at(row["arrived_at"]) for row in asked]


def _aged(stamp: Row, *, by: timedelta) -> Row:
    """Move a stamp back, but not the day from which on its process had watched."""
    kept = {name: stamp[name] for name in ("watched_since",) if name in stamp}
    return {**aged(stamp, by=by), **kept}


def monotonic_at(wall: str) -> float:
    """Turn an instant of the gateway's clock, which nobody shifts, into this process's monotonic one."""
    apart = time.monotonic() - clocks.wall_seconds()
    return datetime.fromisoformat(wall).astimezone(UTC).timestamp() + apart


def names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{row['kind']} {row['seconds']:+.3f} {row['process']} {row['detail']}" for row in rows]
