"""Each invariant is broken once, as a bug or a hand in the database would, and is found by its name alone."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection

from payments import clocks, invariants, lifecycle
from payments.models import Compensation, PaymentAttempt, StockItem
from payments.transactions import transaction
from tests import factories
from tests.contract.sandbox_server import SandboxProcess

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.breaks_invariants]


@contextmanager
def behind_the_back() -> Iterator[Callable[..., None]]:
    """Run SQL with triggers off, as an owner of the database could; checks and unique indexes still hold."""
    with transaction(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield cursor.execute


def broken_rules() -> set[str]:
    return {found.rule for found in invariants.broken()}


@pytest.fixture
def paid(customer: User, item: StockItem, sandbox: SandboxProcess) -> PaymentAttempt:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "succeeded"
    return attempt


@pytest.fixture
def declined(customer: User, item: StockItem, sandbox: SandboxProcess) -> PaymentAttempt:
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token="tok_declined")
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "failed"
    return attempt


CALL = "UPDATE payments_gatewaycall SET {} WHERE attempt_id = %s AND operation = 'authorize'"
SECOND_CALL = """
    INSERT INTO payments_gatewaycall (id, attempt_id, operation, idempotency_key, request_hash, fence, started_at,
        deadline_seconds, finished_at, outcome, code, detail, reference)
    SELECT gen_random_uuid(), attempt_id, operation, idempotency_key, request_hash, fence, started_at,
        deadline_seconds, finished_at, 'captured', code, detail, 'ch_second'
    FROM payments_gatewaycall WHERE attempt_id = %s AND operation = 'capture'
"""


@pytest.mark.parametrize(
    ("sql", "rules"),
    [
        (
            (
                "UPDATE payments_order SET status = 'under_paying', payment_status = 'pending', closed_at = NULL "
                "WHERE id IN (SELECT order_id FROM payments_paymentattempt WHERE id = %s)"
            ),
            {"paid_by_one_success", "stock_follows_the_order"},
        ),
        (
            (
                "UPDATE payments_order SET status = 'cancelled', payment_status = 'expired' "
                "WHERE id IN (SELECT order_id FROM payments_paymentattempt WHERE id = %s)"
            ),
            {"paid_by_one_success", "closed_for_good", "stock_follows_the_order"},
        ),
        (SECOND_CALL, {"kept_within_the_total", "successes_are_accounted_for"}),
        (CALL.format("fence = 0"), {"written_before_it_was_sent"}),
        (CALL.format("idempotency_key = 'another'"), {"written_before_it_was_sent"}),
        (CALL.format("started_at = started_at + interval '16 minutes'"), {"begun_inside_the_window"}),
        (
            (
                "UPDATE payments_gatewaycall SET started_at = started_at + interval '15 minutes 31 seconds' "
                "WHERE attempt_id = %s AND operation = 'capture'"
            ),
            {"captured_inside_the_grace"},
        ),
        ("UPDATE payments_stockitem SET reserved = 1 WHERE %s IS NOT NULL", {"stock_adds_up"}),
        (
            (
                "UPDATE payments_reservation SET state = 'released' WHERE order_id IN "
                "(SELECT order_id FROM payments_paymentattempt WHERE id = %s)"
            ),
            {"stock_adds_up", "stock_follows_the_order"},
        ),
        ("DELETE FROM payments_historyentry WHERE attempt_id = %s AND number = 2", {"history_tells_the_state"}),
        (
            "UPDATE payments_historyentry SET to_state = 'failed' WHERE attempt_id = %s AND number = 4",
            {"history_tells_the_state"},
        ),
    ],
)
def test_a_paid_order_that_was_tampered_with(paid: PaymentAttempt, sql: str, rules: set[str]) -> None:
    assert broken_rules() == set()
    with behind_the_back() as execute:
        execute(sql, [paid.id])
    assert broken_rules() == rules


@pytest.mark.parametrize(
    ("sql", "rules"),
    [
        (
            (
                "UPDATE payments_order SET payment_status = 'pending' "
                "WHERE id IN (SELECT order_id FROM payments_paymentattempt WHERE id = %s)"
            ),
            {"waiting_for_something"},
        ),
        (CALL.format("outcome = 'authorized', reference = 'ch_held'"), {"nothing_is_left_held"}),
        (CALL.format("outcome = 'captured', reference = 'ch_lost'"), {"successes_are_accounted_for"}),
        (
            """
            INSERT INTO payments_gatewaycall (id, attempt_id, operation, idempotency_key, request_hash, fence,
                started_at, deadline_seconds, outcome, code, detail, reference)
            SELECT gen_random_uuid(), attempt_id, operation, idempotency_key, 'another', fence, started_at,
                deadline_seconds, '', '', '', ''
            FROM payments_gatewaycall WHERE attempt_id = %s
            """,
            {"one_key_and_body"},
        ),
    ],
)
def test_a_failed_attempt_that_was_tampered_with(declined: PaymentAttempt, sql: str, rules: set[str]) -> None:
    assert broken_rules() == set()
    with behind_the_back() as execute:
        execute(sql, [declined.id])
    assert broken_rules() == rules


def test_two_slot_holders(paid: PaymentAttempt, declined: PaymentAttempt) -> None:
    """The index that refuses them has to go first; the transaction that took it away is rolled back."""
    with transaction(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL session_replication_role = replica")
        cursor.execute("DROP INDEX attempt_one_live_per_order")
        cursor.execute(
            "UPDATE payments_paymentattempt SET state = 'queued', failure_code = '', closed_at = NULL, "
            "due_at = expires_at, order_id = %s, number = 2 WHERE id = %s",
            [paid.order_id, declined.id],
        )
        assert "one_slot_holder" in broken_rules()
        connection.set_rollback(True)


def test_a_compensation_without_its_history(paid: PaymentAttempt, staff: User) -> None:
    lifecycle.refund_payment(attempt_id=paid.id, staff_id=staff.id, reason="a test")
    assert broken_rules() == set()
    with behind_the_back() as execute:
        execute("UPDATE payments_compensation SET version = 2 WHERE attempt_id = %s", [paid.id])
    assert broken_rules() == {"compensation_history_tells_the_state"}


def test_every_safety_rule_is_broken_by_one_of_these() -> None:
    marks = [
        *test_a_paid_order_that_was_tampered_with.pytestmark,  # type: ignore[attr-defined] # put there by pytest
        *test_a_failed_attempt_that_was_tampered_with.pytestmark,  # type: ignore[attr-defined] # the same
    ]
    seeded = {rule for mark in marks if mark.name == "parametrize" for _, rules in mark.args[1] for rule in rules}
    alone = {
        "one_slot_holder",
        "compensation_history_tells_the_state",
        "archived_whole",
    }  # The last in test_archive.py.
    assert seeded | alone == {rule.name for rule in invariants.SAFETY}


def test_rows_that_nobody_takes_up(paid: PaymentAttempt, customer: User, item: StockItem, staff: User) -> None:
    waiting = factories.submit(factories.place_order(customer=customer, item=item))
    lifecycle.refund_payment(attempt_id=paid.id, staff_id=staff.id, reason="a test")
    soon, late = clocks.database_now(), clocks.database_now() + timedelta(seconds=3700)
    assert list(invariants.broken(invariants.LIVENESS, now=soon)) == []
    found = {(row.rule, row.what) for row in invariants.broken(invariants.LIVENESS, now=late)}
    assert found == {
        ("expiry_is_on_time", str(waiting.id)),
        ("everything_moves", str(waiting.id)),
        ("everything_moves", str(Compensation.objects.get().id)),
    }


def test_a_payment_that_is_published_again_and_again_and_never_claimed(customer: User, item: StockItem) -> None:
    waiting = factories.submit(factories.place_order(customer=customer, item=item))
    late = clocks.database_now() + timedelta(seconds=120)
    PaymentAttempt.objects.filter(id=waiting.id).update(due_at=late + timedelta(seconds=10))  # The rescue was here.
    (found,) = invariants.broken(invariants.LIVENESS, now=late)
    assert (found.rule, found.what) == ("everything_moves", str(waiting.id))
    assert found.detail.startswith("queued and unclaimed since")
    PaymentAttempt.objects.filter(id=waiting.id).update(held_since=late)  # Then there is a reason.
    assert list(invariants.broken(invariants.LIVENESS, now=late)) == []


def test_the_command_says_what_is_broken_and_ends_with_1(
    paid: PaymentAttempt, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = len(invariants.SAFETY) + len(invariants.LIVENESS)
    call_command("check_invariants")
    assert capsys.readouterr().out == f"{rules} rules, 0 broken\n"
    with behind_the_back() as execute:
        execute("UPDATE payments_stockitem SET reserved = 1")
    with pytest.raises(SystemExit) as ended:
        call_command("check_invariants")
    assert ended.value.code == 1
    assert capsys.readouterr().out.splitlines() == [
        "stock_adds_up: MUG-BLUE: reserved 1 for 0, sold 1 for 1",
        f"{rules} rules, 1 broken",
    ]
    with pytest.raises(SystemExit):
        call_command("check_invariants", "--json")
    assert json.loads(capsys.readouterr().out)["rule"] == "stock_adds_up"
    call_command("check_invariants", "--list")
    assert len(capsys.readouterr().out.splitlines()) == rules
