"""Rows that nobody deletes, but the archive: with a record of what was archived, made in the same transaction."""

from typing import Literal

import pgtrigger

# A record counts for the transaction that inserted it, and for no later one. A savepoint would give it another number,
# and be refused: the safe side.
_NOW = "r.xmin = pg_current_xact_id()::xid"

_OF_ATTEMPT = f"SELECT FROM payments_archivedattempt r WHERE r.id = OLD.attempt_id AND {_NOW}"
_HEAD = "(OLD.number < r.version OR (OLD.number = r.version AND OLD.entry_hash = r.head_hash))"

_RECORDS = {
    "payments_paymentattempt": f"""
        SELECT FROM payments_archivedattempt r
        JOIN payments_historyentry h ON h.attempt_id = OLD.id AND h.number = OLD.version
        WHERE (r.id, r.version, r.state, r.head_hash) = (OLD.id, OLD.version, OLD.state, h.entry_hash) AND {_NOW}
    """,
    "payments_historyentry": f"{_OF_ATTEMPT} AND {_HEAD}",
    "payments_gatewaycall": _OF_ATTEMPT,
    "payments_reminder": _OF_ATTEMPT,
    "payments_compensation": f"""
        SELECT FROM payments_archivedcompensation r
        WHERE r.id = OLD.id AND r.version = OLD.version AND r.state = OLD.state AND {_NOW}
    """,
    "payments_compensationentry": f"""
        SELECT FROM payments_archivedcompensation r WHERE r.id = OLD.compensation_id AND {_NOW} AND {_HEAD}
    """,
    "payments_announcement": f"""
        SELECT FROM payments_archivedattempt r WHERE r.order_id = OLD.order_id AND {_NOW}
    """,
    "payments_announcementdelivery": f"""
        SELECT FROM payments_archivedattempt r JOIN payments_announcement a ON a.order_id = r.order_id
        WHERE a.id = OLD.announcement_id AND {_NOW}
    """,
}


def kept_unless_archived(
    *, name: str, table: str, forbids: Literal["delete", "update or delete"] = "delete"
) -> pgtrigger.Trigger:
    """Give the trigger that refuses a delete without its record, and with "update or delete" every change."""
    operation = pgtrigger.Delete if forbids == "delete" else pgtrigger.Update | pgtrigger.Delete
    return pgtrigger.Trigger(
        name=name,
        when=pgtrigger.Before,
        operation=operation,
        func=f"""
            IF TG_OP = 'DELETE' THEN
                IF EXISTS ({_RECORDS[table]}) THEN
                    RETURN OLD;
                END IF;
            END IF;
            RAISE EXCEPTION 'pgtrigger: Cannot {forbids} rows from % table', TG_TABLE_NAME;
        """,
    )
