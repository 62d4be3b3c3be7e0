"""`manage.py cleanup_expired_payments` and `cleanup_expired_orders`: what they end, tell, leave, and exit with."""

import json
import os
import pty
import re
import subprocess
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from payments import lifecycle
from payments.lifecycle.claim import claim_attempt
from payments.models import ExpiryFailure, Order, PaymentAttempt, StockItem
from tests import factories
from tests.contract.sandbox_server import SandboxProcess
from tests.factories import steps
from tests.integration.test_clock_guard import step_database
from tests.overdue import due_order, heal, held, make_due_again
from tests.system import test_database_url

pytestmark = pytest.mark.django_db(transaction=True)

PAYMENTS, ORDERS = "cleanup_expired_payments", "cleanup_expired_orders"
BOTH = pytest.mark.parametrize("command", [PAYMENTS, ORDERS])


def run(command: str, *arguments: str) -> tuple[int, list[str]]:
    """The exit code and the lines that were printed."""
    output, code = StringIO(), 0
    try:
        call_command(command, *arguments, stdout=output)
    except SystemExit as end:
        code = int(str(end.code))
    return code, output.getvalue().splitlines()


def split(lines: list[str]) -> tuple[list[str], str]:
    """The rows, and the summary without what it took."""
    *rows, summary = lines
    return rows, re.sub(r", in \d+\.\d{3} s$", "", summary)


Kinds = dict[str, PaymentAttempt]


@pytest.fixture
def kinds(item: StockItem, sandbox: SandboxProcess) -> Kinds:
    """One of each kind, oldest first, each of another customer; and what no cleanup may touch."""
    made = {
        name: factories.place_order(customer=factories.make_user(name), item=item, order_id=f"ORD-{name}")
        for name in ("open", "queued", "failed", "disputed", "living", "charging")
    }
    factories.submit(made["failed"], token="tok_insufficient_funds")
    assert lifecycle.charge_attempt(attempt_id=made["failed"].id) == "failed"
    for name in ("queued", "charging"):
        factories.submit(made[name])
    claim_attempt(attempt_id=made["charging"].id)
    for number, name in enumerate(("open", "queued", "failed", "charging")):
        factories.age_attempt(made[name].id, seconds_left=number - 60)
    step_database(made["disputed"], by=timedelta(hours=1))
    for attempt in made.values():
        attempt.refresh_from_db()
    assert made["charging"].state == "charging"
    return made


def untouched(kinds: Kinds, *names: str) -> bool:
    return all(PaymentAttempt.objects.get(id=kinds[name].id).version == kinds[name].version for name in names)


def row_of(attempt: PaymentAttempt, *, fate: str, why: str, by_payment: bool) -> str:
    order_id = Order.objects.get(id=attempt.order_id).order_id
    who = f"{attempt.public_id}  {order_id}" if by_payment else f"{order_id}  {attempt.public_id}"
    return f"{fate:<6}  {who}  due {attempt.expires_at.isoformat(timespec='seconds')}  {why}"


PROVEN = "the boot clock proves that the window is over"
CONTRADICTED = "the clocks contradict each other"


@BOTH
@pytest.mark.parametrize("limit", [(), ("--limit", "1"), ("--limit", "2"), ("--limit", "3")])
def test_a_dry_run_prints_the_very_rows_that_the_run_then_takes(
    command: str, limit: tuple[str, ...], kinds: Kinds, item: StockItem
) -> None:
    before = factories.stock_of(item)
    dry_code, dry_lines = run(command, "--dry-run", *limit)
    assert untouched(kinds, *kinds)
    assert factories.stock_of(item) == before
    code, lines = run(command, "--verbose", *limit)
    (dry_rows, _), (rows, _) = (
        split([line for line in each if "was reached" not in line]) for each in (dry_lines, lines)
    )
    assert dry_rows == rows
    assert dry_code == code
    assert len(rows) == (int(limit[1]) if limit else 4 if command == ORDERS else 3)


def test_orders_are_ended_with_those_after_a_failure_and_nothing_else(kinds: Kinds, item: StockItem) -> None:
    code, lines = run(ORDERS, "--verbose")
    rows, summary = split(lines)
    assert rows == [
        row_of(kinds["disputed"], fate="held", why=CONTRADICTED, by_payment=False),
        row_of(kinds["open"], fate="expire", why=PROVEN, by_payment=False),
        row_of(kinds["queued"], fate="expire", why=PROVEN, by_payment=False),
        row_of(kinds["failed"], fate="expire", why=PROVEN, by_payment=False),
    ]
    assert summary == f"ended 3, held 1 ({CONTRADICTED}), failed 0, left 0"
    assert code == 1  # Somebody has to look at the clocks.
    assert untouched(kinds, "disputed", "living", "charging", "failed")
    assert factories.stock_of(item) == (100, 3, 0)
    ended = Order.objects.filter(status="cancelled", payment_status="expired")
    assert set(ended.values_list("order_id", flat=True)) == {"ORD-open", "ORD-queued", "ORD-failed"}
    history = kinds["open"].history.get(to_state="expired")
    assert (history.actor, history.reason) == ("command:cleanup_expired_orders", "window_closed")


def test_payments_are_ended_without_the_orders_after_a_failure(kinds: Kinds, item: StockItem) -> None:
    _, lines = run(PAYMENTS, "--verbose")
    rows, summary = split(lines)
    assert rows == [
        row_of(kinds["disputed"], fate="held", why=CONTRADICTED, by_payment=True),
        row_of(kinds["open"], fate="expire", why=PROVEN, by_payment=True),
        row_of(kinds["queued"], fate="expire", why=PROVEN, by_payment=True),
    ]
    assert summary == f"ended 2, held 1 ({CONTRADICTED}), failed 0, left 0"
    assert untouched(kinds, "disputed", "living", "charging", "failed")
    assert Order.objects.get(order_id="ORD-failed").status == "under_paying"
    assert kinds["queued"].history.get(to_state="expired").actor == "command:cleanup_expired_payments"


@BOTH
def test_without_rows_to_tell_there_is_a_summary_and_nothing_without_that(
    command: str, customer: User, item: StockItem
) -> None:
    due_order(customer, item)
    code, lines = run(command)
    assert (code, split(lines)) == (0, ([], "ended 1, held 0, failed 0, left 0"))
    due_order(customer, item)
    assert run(command, "-v", "0") == (0, [])
    assert not PaymentAttempt.objects.filter(state="open").exists()


@BOTH
@pytest.mark.parametrize("asked", [["-v"], ["-v", "2"], ["-v3"], ["--verbosity", "2"], ["--verbosity"], ["--verbose"]])
def test_every_way_to_ask_for_rows(command: str, asked: list[str], customer: User, item: StockItem) -> None:
    attempt = due_order(customer, item)
    _, [row, _] = run(command, *asked)
    assert attempt.public_id in row


@BOTH
def test_json_is_one_object_a_line(command: str, customer: User, item: StockItem) -> None:
    attempt = due_order(customer, item, "ORD-1")
    _, lines = run(command, "--json", "--dry-run")
    row, dry = [json.loads(line) for line in lines]
    assert row == {
        "fate": "expire",
        "payment_id": attempt.public_id,
        "order_id": "ORD-1",
        "expires_at": PaymentAttempt.objects.get().expires_at.isoformat(),
        "reason": PROVEN,
        "last_failure": None,
    }
    _, lines = run(command, "--json")
    assert json.loads(lines[0]) == row
    done = json.loads(lines[1])
    assert (dry["dry_run"], done["dry_run"]) == (True, False)
    numbers = {"ended": 1, "held": 0, "failed": 0, "left": 0, "waiting": 0, "more_due": 0}
    assert numbers.items() <= dry.items()
    assert numbers.items() <= done.items()


@BOTH
@pytest.mark.parametrize("wrong", ["0", "-1", "many", "1.5", "", "9" * 30, "²"])
def test_a_limit_is_a_positive_number(command: str, wrong: str, customer: User, item: StockItem) -> None:
    attempt = due_order(customer, item)
    with pytest.raises(CommandError, match=r"--limit: .* is not a whole number from 1 to 1000000000\."):
        run(command, f"--limit={wrong}")
    assert steps(attempt)[-1][0] == "open"


@BOTH
def test_a_limit_that_was_reached_says_how_much_is_left(command: str, customer: User, item: StockItem) -> None:
    for _ in range(5):
        due_order(customer, item)
    for arguments in (["--dry-run"], []):
        code, lines = run(command, "--limit", "2", *arguments)
        assert (code, lines[-1]) == (0, "the limit of 2 was reached, and 3 more are due")
    assert run(command, "--limit", "3")[1][-1].startswith("ended 3,")
    assert split(run(command, "--limit", "3")[1]) == ([], "ended 0, held 0, failed 0, left 0")


@BOTH
def test_it_goes_on_past_the_cap_of_a_run(command: str, customer: User, item: StockItem, settings: Settings) -> None:
    settings.PAYMENT_SWEEP_BATCH_ROWS = 2
    settings.PAYMENT_SWEEP_BATCHES_PER_RUN = 2
    disputed = factories.place_order(customer=customer, item=item)
    for _ in range(9):
        due_order(customer, item)
    step_database(disputed, by=timedelta(hours=1))
    code, lines = run(command, "-v")
    rows, summary = split(lines)
    assert summary == f"ended 9, held 1 ({CONTRADICTED}), failed 0, left 0"
    assert (len(rows), len(set(rows)), code) == (10, 10, 1)  # The one that is held is met in each run, and told once.


@BOTH
def test_a_cap_that_only_unendable_rows_reach_ends_it(
    command: str, customer: User, item: StockItem, settings: Settings
) -> None:
    settings.PAYMENT_SWEEP_BATCH_ROWS = 1
    settings.PAYMENT_SWEEP_BATCHES_PER_RUN = 2
    disputed = [factories.place_order(customer=customer, item=item) for _ in range(3)]
    step_database(*disputed, by=timedelta(hours=1))
    code, lines = run(command)
    assert code == 1
    assert lines[-1] == "the cap of a run was reached, and 1 more are due"


@BOTH
def test_what_somebody_holds_is_told_as_left(command: str, customer: User, item: StockItem) -> None:
    taken, free = due_order(customer, item, "ORD-taken"), due_order(customer, item)
    with held("SELECT id FROM payments_order WHERE id = %s FOR UPDATE", taken.order_id):
        code, lines = run(command, "-v")
        again = split(run(command, "-v")[1])
    rows, summary = split(lines)
    assert [row.partition("  ")[0].strip() for row in rows] == ["expire", "left"]
    assert "ORD-taken" in rows[1]
    assert rows[1].endswith("somebody else is at it")
    assert (code, summary) == (0, "ended 1, held 0, failed 0, left 1")
    assert again == ([rows[1]], "ended 0, held 0, failed 0, left 1")
    assert steps(taken)[-1][0] == "open"
    assert steps(free)[-1][0] == "expired"


@BOTH
def test_stock_that_somebody_holds_is_told_once_as_left(command: str, customer: User, item: StockItem) -> None:
    due_order(customer, item)
    with held("SELECT id FROM payments_stockitem WHERE id = %s FOR UPDATE", item.pk):
        rows, summary = split(run(command, "-v")[1])
    assert (len(rows), summary) == (1, "ended 0, held 0, failed 0, left 1")


@BOTH
def test_what_failed_is_told_with_its_reason_and_as_what_is_tried_again(
    command: str, customer: User, item: StockItem, poisoned: str
) -> None:
    reason = "order POISON-1 is poisoned"
    attempt = due_order(customer, item, poisoned)
    code, [row, summary] = run(command)  # Told without being asked for.
    assert row.startswith("failed  ")
    assert row.endswith(f"  {reason}")
    assert (code, summary.partition(", in")[0]) == (1, "ended 0, held 0, failed 1, left 0")
    make_due_again(ExpiryFailure.objects.get())
    code, [dry, _] = run(command, "--dry-run")
    assert code == 0
    assert dry.endswith(f"  {PROVEN} (tried again; last time: {reason})")
    heal()
    code, [row, _] = run(command, "-v")
    assert (code, row) == (0, dry)
    assert steps(attempt)[-1][:2] == ("expired", "command")


@BOTH
def test_what_waits_for_its_next_try_is_not_done(command: str, customer: User, item: StockItem, poisoned: str) -> None:
    due_order(customer, item, poisoned)
    lifecycle.sweep_expired()
    ExpiryFailure.objects.update(due_at=ExpiryFailure.objects.get().due_at + timedelta(minutes=5))
    for arguments in (["--dry-run"], []):
        code, lines = run(command, *arguments)
        assert (code, lines[-1]) == (1, "1 failed before and wait for their next try")


def test_a_payment_that_failed_is_no_business_of_the_payments_command(
    kinds: Kinds, customer: User, item: StockItem
) -> None:
    """Not even when its order could not be ended before."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO payments_expiryfailure (order_id, reason, tries, first_failed_at, last_failed_at, due_at)
            SELECT id, 'a reason', 1, now(), now(), now() FROM payments_order WHERE order_id = 'ORD-failed'
            """
        )
    rows, _ = split(run(PAYMENTS, "--dry-run")[1])
    assert not [row for row in rows if "ORD-failed" in row]
    rows, _ = split(run(ORDERS, "--dry-run")[1])
    assert rows[-1].endswith("(tried again; last time: a reason)")


def command_line(command: str, *arguments: str) -> list[str]:
    return [sys.executable, "manage.py", command, *arguments]


@pytest.fixture
def environment() -> dict[str, str]:
    return {**os.environ, "DATABASE_URL": test_database_url(), "LOG_LEVEL": "INFO"}


def test_as_a_process_a_wrong_question_exits_with_2_and_a_run_with_0(
    customer: User, item: StockItem, checkout_folder: Path, environment: dict[str, str]
) -> None:
    due_order(customer, item, "ORD-1")

    def start(*arguments: str) -> Any:
        return subprocess.run(
            command_line(*arguments),
            check=False,
            cwd=checkout_folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    wrong = start(ORDERS, "--limit", "none")
    assert wrong.returncode == 2
    assert "'none' is not a whole number from 1 to" in wrong.stderr
    right = start(ORDERS)
    assert right.returncode == 0
    assert re.fullmatch(r"ended 1, held 0, failed 0, left 0, in \d+\.\d{3} s\n", right.stdout)
    assert "#" not in right.stderr  # No bar where nobody looks; the log has the row.
    assert '"event": "payment_expired"' in right.stderr


def test_on_a_terminal_there_is_a_bar_and_no_log(
    customer: User, item: StockItem, checkout_folder: Path, environment: dict[str, str]
) -> None:
    due_order(customer, item)
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            command_line(ORDERS), cwd=checkout_folder, env=environment, stdout=subprocess.PIPE, stderr=theirs
        )
        os.close(theirs)
        output, _ = process.communicate(timeout=60)
        shown = terminal.read(65536).decode()
    assert process.returncode == 0
    assert output.startswith(b"ended 1,")
    assert "[########################################] 100%" in shown
    assert shown.endswith("\r\x1b[K")
    assert "payment_expired" not in shown
