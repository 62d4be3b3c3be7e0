"""What the tests of archives share: orders that closed long ago, runs of the commands, and what the tables hold."""

import json
from io import StringIO
from pathlib import Path

from django.core.management import call_command
from django.db import connection

from payments.models import (
    PaymentAttempt,
)
from tests.tampering import every_right

TABLES = (
    "payments_paymentattempt",
    "payments_historyentry",
    "payments_gatewaycall",
    "payments_compensation",
    "payments_compensationentry",
    "payments_announcement",
    "payments_announcementdelivery",
    "payments_reminder",
)


def age_orders(*attempts: PaymentAttempt, days: int = 2) -> None:
    """Let orders have closed some days ago, with everything that belongs to them."""
    with every_right() as cursor:
        for table, column in (
            ("payments_order", "id"),
            ("payments_paymentattempt", "order_id"),
            ("payments_compensation", "order_id"),
        ):
            cursor.execute(
                f"UPDATE {table} SET closed_at = closed_at - make_interval(days => %s) WHERE {column} = ANY(%s)",
                [days, [attempt.order_id for attempt in attempts]],
            )


def remind(attempt: PaymentAttempt, *, is_sent: bool) -> None:
    with every_right() as cursor:
        cursor.execute(
            "INSERT INTO payments_reminder (attempt_id, channel, state, why, owed_at, due_at, tries, fence, sent_at) "
            "VALUES (%s, 'email', %s, '', now(), CASE WHEN NOT %s THEN now() END, 1, 1, CASE WHEN %s THEN now() END)",
            [attempt.id, "sent" if is_sent else "sending", is_sent, is_sent],
        )


def run(command: str, *arguments: str) -> tuple[int, list[str]]:
    output, code = StringIO(), 0
    try:
        call_command(command, *arguments, stdout=output)
    except SystemExit as ended:
        code = int(ended.code or 0)
    return code, output.getvalue().splitlines()


def archive(folder: Path, *arguments: str) -> tuple[int, list[str]]:
    return run("archive_attempts", "--to", str(folder), "--older-than-days", "1", *arguments)


def the_file(folder: Path) -> Path:
    (path,) = folder.glob("*.jsonl.gz")
    return path


def verify(folder: Path) -> tuple[int, list[str]]:
    return run("verify_history", "--archive", str(the_file(folder)))


def rows() -> dict[str, list[str]]:
    """Every row of the tables that an archive run deletes from."""
    found = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT t::text FROM {table} t ORDER BY 1")
            found[table] = [row for (row,) in cursor.fetchall()]
    return found


def heads() -> list[str]:
    """The digests over the heads of all chains."""
    code, lines = run("verify_history", "--json")
    assert code == 0
    return [json.loads(line)["heads_sha256"] for line in lines]
