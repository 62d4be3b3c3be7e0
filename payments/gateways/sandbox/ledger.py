"""The truth: SQLite in WAL mode, plain synchronous calls, one writer.

`synchronous=NORMAL` in WAL mode keeps every committed transaction through a killed process (not through a
power cut), at some tens of microseconds a commit, which is why the calls need neither threads nor batching.
Money has moved exactly when the transaction that wrote its `operations` row has committed.
"""

import contextlib
import dataclasses
import json
import pathlib
import sqlite3
from collections.abc import Iterator
from typing import Any

from payments.gateways.sandbox.records import Answer, Cause, Change, Charge, Settlement, Status

_SCHEMA = """
CREATE TABLE IF NOT EXISTS charges (
    rowid INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, dialect TEXT NOT NULL,
    reference TEXT NOT NULL, idempotency_key TEXT NOT NULL, status TEXT NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    amount_captured_minor INTEGER NOT NULL CHECK (amount_captured_minor BETWEEN 0 AND amount_minor),
    amount_refunded_minor INTEGER NOT NULL CHECK (amount_refunded_minor BETWEEN 0 AND amount_captured_minor),
    currency TEXT NOT NULL, capture INTEGER NOT NULL, decline_code TEXT, redirect_url TEXT, return_url TEXT,
    payment_token TEXT NOT NULL, metadata TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    expires_at TEXT, settles_at TEXT, settles_as TEXT, version INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS charges_by_reference ON charges (reference);
CREATE INDEX IF NOT EXISTS charges_by_key ON charges (idempotency_key);
-- The timers ask every few milliseconds what is due; these two hold only what can become due.
CREATE INDEX IF NOT EXISTS charges_expiring ON charges (expires_at)
    WHERE expires_at IS NOT NULL AND status IN ('pending', 'authorized');
CREATE INDEX IF NOT EXISTS charges_settling ON charges (settles_at)
    WHERE settles_at IS NOT NULL AND status = 'pending';
CREATE TABLE IF NOT EXISTS operations (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, operation TEXT NOT NULL, charge_id TEXT NOT NULL,
    reference TEXT NOT NULL, idempotency_key TEXT NOT NULL, amount_minor INTEGER NOT NULL,
    currency TEXT NOT NULL, cause TEXT NOT NULL, at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS operations_by_charge ON operations (charge_id);
CREATE TABLE IF NOT EXISTS idempotency (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL,
    charge_id TEXT, saved_at TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tombstones (key TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT, operation TEXT NOT NULL, charge_id TEXT, reference TEXT,
    idempotency_key TEXT, body_hash TEXT, arrived_at TEXT NOT NULL, executed INTEGER NOT NULL DEFAULT 0,
    behaviour TEXT, status INTEGER, ended TEXT);
CREATE INDEX IF NOT EXISTS requests_by_reference ON requests (reference);
CREATE INDEX IF NOT EXISTS requests_by_key ON requests (idempotency_key);
CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL,
    dialect TEXT NOT NULL, charge_id TEXT NOT NULL, reference TEXT NOT NULL, idempotency_key TEXT NOT NULL,
    created_at TEXT NOT NULL, payload TEXT NOT NULL, state TEXT NOT NULL, due_at TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS events_due ON events (due_at) WHERE state = 'waiting';
"""

# The record and the table name their columns alike; a column the table lacks fails at the first write.
_CHARGE_COLUMNS = [field.name for field in dataclasses.fields(Charge)]
_INSERT_CHARGE = (
    f"INSERT INTO charges ({', '.join(_CHARGE_COLUMNS)}) VALUES ({', '.join('?' * len(_CHARGE_COLUMNS))})"  # noqa: S608  # our own names
    " ON CONFLICT (id) DO UPDATE SET " + ", ".join(f"{column} = excluded.{column}" for column in _CHARGE_COLUMNS[1:])
)
_SELECT_CHARGE = f"SELECT {', '.join(_CHARGE_COLUMNS)} FROM charges"  # noqa: S608  # our own names

Row = dict[str, Any]


class Ledger:
    """The gateway's books, in one file."""

    def __init__(self, path: pathlib.Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=5.0, cached_statements=256)
        self._db.row_factory = sqlite3.Row
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=4000"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_SCHEMA)
        self._add_dialects()

    def close(self) -> None:
        """Close the file; everything committed is in it already."""
        self._db.close()

    def _add_dialects(self) -> None:
        """Bring the books of a gateway that had one dialect up to date."""
        for table in ("charges", "events"):
            columns = [row["name"] for row in self._db.execute(f"PRAGMA table_info({table})")]
            if "dialect" not in columns:
                self._db.execute(f"ALTER TABLE {table} ADD COLUMN dialect TEXT NOT NULL DEFAULT 'sandbox'")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all that is written inside, or nothing of it."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # Charges and the money they moved.

    def write_change(self, change: Change, *, cause: Cause, key: str) -> None:
        """Write a charge's new form and, if money moved, the operation. Call it inside a transaction."""
        charge = change.charge
        values = [getattr(charge, column) for column in _CHARGE_COLUMNS]
        values[_CHARGE_COLUMNS.index("metadata")] = json.dumps(charge.metadata)
        self._db.execute(_INSERT_CHARGE, values)
        if change.operation is not None:
            self._db.execute(
                "INSERT INTO operations (operation, charge_id, reference, idempotency_key, amount_minor,"
                " currency, cause, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    change.operation,
                    charge.id,
                    charge.reference,
                    key,
                    change.amount_minor,
                    charge.currency,
                    cause,
                    charge.updated_at,
                ),
            )

    def charge(self, charge_id: str) -> Charge | None:
        """Return the charge, or None."""
        row = self._db.execute(f"{_SELECT_CHARGE} WHERE id = ?", (charge_id,)).fetchone()
        return None if row is None else _to_charge(row)

    def charges_of_reference(self, reference: str, *, limit: int) -> list[Charge]:
        """Return at most `limit` charges with `reference`, newest first."""
        rows = self._db.execute(f"{_SELECT_CHARGE} WHERE reference = ? ORDER BY rowid DESC LIMIT ?", (reference, limit))
        return [_to_charge(row) for row in rows]

    def charges_of_key(self, key: str) -> list[Charge]:
        """Return the charges made with `key`, newest first: several only if it was forgotten."""
        rows = self._db.execute(f"{_SELECT_CHARGE} WHERE idempotency_key = ? ORDER BY rowid DESC LIMIT 100", (key,))
        return [_to_charge(row) for row in rows]

    def charges_made(
        self,
        *,
        dialect: str,
        since: str,
        until: str | None = None,
        after: str | None = None,
        is_newest_first: bool = True,
        limit: int,
    ) -> list[Charge]:
        """Return at most `limit` charges of a dialect made from `since` to `until`; those after one, if named."""
        order, beyond = ("DESC", "<") if is_newest_first else ("ASC", ">")
        rows = self._db.execute(
            f"{_SELECT_CHARGE} WHERE dialect = ?1 AND created_at >= ?2 AND (?3 IS NULL OR created_at <= ?3)"  # noqa: S608  # our own names
            f" AND (?4 IS NULL OR rowid {beyond} (SELECT rowid FROM charges WHERE id = ?4))"
            f" ORDER BY rowid {order} LIMIT ?5",
            (dialect, since, until, after, limit),
        )
        return [_to_charge(row) for row in rows]

    def charges_due(self, *, now: str, limit: int) -> list[Charge]:
        """Return charges whose deadline has passed or whose own decision is due."""
        rows = self._db.execute(
            f"{_SELECT_CHARGE} WHERE expires_at <= ?1 AND status IN ('pending', 'authorized') LIMIT ?2",
            (now, limit),
        ).fetchall()
        rows += self._db.execute(
            f"{_SELECT_CHARGE} WHERE settles_at <= ?1 AND status = 'pending' LIMIT ?2", (now, limit)
        ).fetchall()
        return [_to_charge(row) for row in rows]

    def refunds_of(self, charge_id: str) -> list[Row]:
        """Return what was given back of a charge, refund by refund, oldest first."""
        rows = self._db.execute(
            "SELECT * FROM operations WHERE charge_id = ? AND operation = 'refund' ORDER BY sequence", (charge_id,)
        )
        return [dict(row) for row in rows]

    def operations_of_key(self, key: str) -> list[Row]:
        """Return the money that moved under `key`, oldest first."""
        rows = self._db.execute("SELECT * FROM operations WHERE idempotency_key = ? ORDER BY sequence", (key,))
        return [dict(row) for row in rows]

    # Idempotency.

    def save_answer(self, answer: Answer, *, key: str, fingerprint: str, charge_id: str | None, now: str) -> None:
        """Save what a key was answered. Call it in the transaction that moved the money."""
        self._db.execute(
            "INSERT OR REPLACE INTO idempotency (key, fingerprint, status, body, charge_id, saved_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (key, fingerprint, answer.status, answer.body, charge_id, now),
        )

    def saved_answer(self, key: str, *, not_before: str) -> tuple[str, str | None, Answer] | None:
        """Return (fingerprint, charge id, answer) saved under `key` since `not_before`, or None."""
        row = self._db.execute(
            "SELECT fingerprint, charge_id, status, body FROM idempotency WHERE key = ? AND saved_at > ?",
            (key, not_before),
        ).fetchone()
        return None if row is None else (row[0], row[1], Answer(row[2], row[3]))

    def forget_answers(self) -> int:
        """Forget every saved answer, as if its time were over; return how many. Tombstones stay."""
        return self._db.execute("DELETE FROM idempotency").rowcount

    def write_tombstone(self, key: str, *, now: str) -> None:
        """Bar `key` for good."""
        self._db.execute("INSERT OR IGNORE INTO tombstones (key, at) VALUES (?, ?)", (key, now))

    def has_tombstone(self, key: str) -> bool:
        """Tell whether `key` is barred."""
        return self._db.execute("SELECT 1 FROM tombstones WHERE key = ?", (key,)).fetchone() is not None

    # What arrived.

    def log_arrival(
        self,
        *,
        operation: str,
        charge_id: str | None,
        reference: str | None,
        key: str | None,
        body_hash: str | None,
        now: str,
    ) -> int:
        """Note that a request arrived, before anything is done about it; return its number."""
        cursor = self._db.execute(
            "INSERT INTO requests (operation, charge_id, reference, idempotency_key, body_hash, arrived_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (operation, charge_id, reference, key, body_hash, now),
        )
        return int(cursor.lastrowid or 0)

    def mark_executed(self, request_id: int, *, charge_id: str) -> None:
        """Note that a request was executed. Call it in the transaction that did so."""
        self._db.execute("UPDATE requests SET executed = 1, charge_id = ? WHERE id = ?", (charge_id, request_id))

    def log_end(self, request_id: int, *, status: int | None, ended: str, behaviour: str | None) -> None:
        """Note how a request ended: the status answered, or that nothing was."""
        self._db.execute(
            "UPDATE requests SET status = ?, ended = ?, behaviour = ? WHERE id = ?",
            (status, ended, behaviour, request_id),
        )

    # Events.

    def write_event(self, *, event_id: str, change: Change, payload: str, state: str, now: str, due_at: str) -> None:
        """Write an event into the transaction that caused it."""
        charge = change.charge
        self._db.execute(
            "INSERT INTO events (id, type, dialect, charge_id, reference, idempotency_key, created_at,"
            " payload, state, due_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                event_id,
                change.event_type,
                charge.dialect,
                charge.id,
                charge.reference,
                charge.idempotency_key,
                now,
                payload,
                state,
                due_at,
            ),
        )

    def events_due(self, *, now: str, limit: int) -> list[Row]:
        """Return at most `limit` events that are due for delivery, oldest first."""
        rows = self._db.execute(
            "SELECT * FROM events WHERE state = 'waiting' AND due_at <= ? ORDER BY sequence LIMIT ?",
            (now, limit),
        )
        return [dict(row) for row in rows]

    def is_waiting(self, sequence: int) -> bool:
        """Tell whether an event still waits to be delivered."""
        row = self._db.execute("SELECT state FROM events WHERE sequence = ?", (sequence,)).fetchone()
        return row is not None and row[0] == "waiting"

    def update_event(self, sequence: int, *, state: str, due_at: str, tries: int) -> None:
        """Note what became of one delivery."""
        self._db.execute(
            "UPDATE events SET state = ?, due_at = ?, tries = ? WHERE sequence = ?",
            (state, due_at, tries, sequence),
        )

    # For the control endpoint.

    def dump(self, *, reference: str | None, key: str | None) -> dict[str, list[Row]]:
        """Return all that is written, oldest first, or only what belongs to a reference or a key."""
        tables = {"charges": "rowid", "operations": "sequence", "requests": "id", "events": "sequence"}
        found: dict[str, list[Row]] = {}
        for table, order in tables.items():
            rows = self._db.execute(
                f"SELECT * FROM {table} WHERE (?1 IS NULL OR reference = ?1)"  # noqa: S608  # our own names
                f" AND (?2 IS NULL OR idempotency_key = ?2) ORDER BY {order}",
                (reference, key),
            )
            found[table] = [dict(row) for row in rows]
        for row in found["charges"]:
            row["metadata"], row["capture"] = json.loads(row["metadata"]), bool(row["capture"])
            del row["rowid"]
        for row in found["requests"]:
            row["executed"] = bool(row["executed"])
        for row in found["events"]:
            row["payload"] = json.loads(row["payload"])
        return found

    def empty(self) -> None:
        """Throw everything away. Numbers go on rising: nothing from before is mistaken for later."""
        with self.transaction():
            for table in ("charges", "operations", "idempotency", "tombstones", "requests", "events"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608  # our own names


def _to_charge(row: sqlite3.Row) -> Charge:
    values = {column: row[column] for column in _CHARGE_COLUMNS}
    values["status"] = Status(values["status"])
    values["capture"] = bool(values["capture"])
    values["metadata"] = json.loads(values["metadata"])
    values["settles_as"] = None if values["settles_as"] is None else Settlement(values["settles_as"])
    return Charge(**values)
