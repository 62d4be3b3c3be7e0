"""Stock, reservations and orders that were made to contradict each other: what is found, repaired, and left alone."""

import json
import re
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from payments import invariants, lifecycle, reconcile
from payments.models import Announcement, Order, PaymentAttempt, StockCorrection, StockItem
from payments.reconcile import Kind
from tests import doubts, factories, stockroom
from tests.contract.sandbox_server import SandboxProcess
from tests.cooked_books import (
    CHEAPER,
    ENDED_ATTEMPT,
    FOR_A_PERSON,
    HELD_AGAIN,
    NO_ATTEMPT,
    OVER,
    PENDING,
    RELEASED,
    REPAIRABLE,
    RESERVED,
)
from tests.integration.test_lock_order import locks_of, transactions
from tests.stockroom import Shop, everything, tamper

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.breaks_invariants]


@pytest.fixture
def shop(sandbox: SandboxProcess) -> Shop:
    return stockroom.open_shop()


def kinds() -> set[Kind]:
    return {difference.kind for difference in reconcile.differences_everywhere()}


def test_nothing_is_wrong_with_what_nobody_touched(shop: Shop) -> None:
    assert stockroom.reconcile() == (0, ["0 differences"])
    code, lines = stockroom.reconcile("--repair", "--reason", "to be sure")
    assert (code, lines) == (0, ["0 differences: 0 repaired, 0 no longer wrong, 0 left to a person"])
    assert not StockCorrection.objects.exists()


@pytest.mark.parametrize(("statements", "found", "counters"), REPAIRABLE)
def test_what_is_provably_wrong_is_put_right(
    shop: Shop, statements: list[str], found: set[Kind], counters: tuple[int, int, int]
) -> None:
    tamper(shop, *statements)
    before = everything()
    assert kinds() == found
    code, lines = stockroom.reconcile()
    assert code == 1
    assert len(lines) == len(found) + 1
    assert all("a repair would" in line for line in lines[:-1])
    assert everything() == before, "looking changes nothing"
    code, lines = stockroom.reconcile("--repair", "--reason", "the books were cooked")
    assert code == 0, lines
    assert lines[-1] == f"{_counted(found)}: {len(found)} repaired, 0 no longer wrong, 0 left to a person"
    assert stockroom.reconcile() == (0, ["0 differences"])
    assert factories.stock_of(shop.item) == counters
    corrections = StockCorrection.objects.all()
    assert {Kind(row.what) for row in corrections} == found
    for row in corrections:
        assert row.before != row.after
        assert (row.reason, row.actor.partition(":")[0]) == ("the books were cooked", "command")
    # Of attempts that were taken away, their histories are left.
    rules = {row.rule for row in invariants.broken()}
    assert rules <= {"history_tells_the_state"}


@pytest.mark.parametrize(("statements", "found", "why"), FOR_A_PERSON)
def test_what_cannot_be_proven_is_left_to_a_person(
    shop: Shop, statements: list[str], found: set[Kind], why: str
) -> None:
    tamper(shop, *statements)
    before = everything()
    assert kinds() == found
    code, lines = stockroom.reconcile()
    assert code == 1
    assert any(why in line for line in lines)
    assert all("a person has to decide" in line for line in lines[:-1])
    code, lines = stockroom.reconcile("--repair", "--reason", "a try")
    assert code == 1
    assert lines[-1].endswith(f"0 repaired, 0 no longer wrong, {len(found)} left to a person")
    assert any(why in line for line in lines)
    assert everything() == before


def test_every_kind_is_found_by_one_of_these_and_explained() -> None:
    seeded = {kind for case in [*REPAIRABLE, *FOR_A_PERSON] for kind in case.values[1]}  # type: ignore[union-attr] # a set
    assert seeded == set(Kind)
    repaired = {kind for case in REPAIRABLE for kind in case.values[1]}  # type: ignore[union-attr] # a set
    assert repaired == set(reconcile.REPAIRS)


def test_a_dry_run_says_exactly_what_the_repair_then_does(shop: Shop, sandbox: SandboxProcess) -> None:
    """One item's counters are wrong, and two orders' reservations of it: each repair meets what those before it did."""
    tamper(
        shop,
        HELD_AGAIN.format("paid"),
        HELD_AGAIN.format("cancelled"),
        # Too low for any of the orders' repairs, were the item not put right first.
        "UPDATE payments_stockitem SET reserved = 0 WHERE id = %(item)s",
        "UPDATE payments_order SET payment_status = 'pending' WHERE id = %(failed)s",
        NO_ATTEMPT.format("waiting"),
        OVER.format("waiting"),
        CHEAPER,
    )
    before = everything()
    dry_code, dry = stockroom.reconcile("--repair", "--dry-run", "--json")
    assert dry_code == 1
    assert everything() == before
    code, lines = stockroom.reconcile("--repair", "--json", "--reason", "for good")
    assert code == 1, "the total remains"
    assert lines == dry
    found = [json.loads(line) for line in lines]
    assert [(row["kind"], row["result"]) for row in found] == [
        ("reserved_differs", "repaired"),
        ("sold_differs", "repaired"),
        ("held_for_cancelled_order", "repaired"),
        ("waits_without_living_attempt", "repaired"),
        ("held_for_paid_order", "repaired"),
        ("total_differs_from_lines", "left_to_a_person"),
        ("waits_without_attempt", "repaired"),
    ]
    assert [(row["before"], row["after"]) for row in found[:2]] == [
        ({"reserved": 0}, {"reserved": 14}),
        ({"sold": 2, "on_hand": 98}, {"sold": 0, "on_hand": 100}),
    ]
    assert kinds() == {Kind.TOTAL_DIFFERS}
    assert factories.stock_of(shop.item) == (98, 5, 2)
    written = [(row.what, row.before, row.after) for row in StockCorrection.objects.order_by("at")]
    assert written == [(row["kind"], row["before"], row["after"]) for row in found if row["result"] == "repaired"]


def test_an_order_that_a_repair_ends_is_announced_as_the_sweep_does(shop: Shop, destinations: list[str]) -> None:
    tamper(shop, NO_ATTEMPT.format("waiting"), OVER.format("waiting"))
    assert stockroom.reconcile("--repair", "--reason", "orphaned")[0] == 0
    order = Order.objects.get(id=shop.waiting.order_id)
    assert (order.status, order.payment_status) == ("cancelled", "expired")
    announced = Announcement.objects.get(order=order)
    assert (announced.kind, announced.deliveries.count()) == ("payment_expired", len(destinations))


def test_an_open_window_is_not_ended_although_the_order_says_that_it_is_over(shop: Shop) -> None:
    """The order's deadline was tampered with; the attempt's stamp says that its window is open."""
    tamper(shop, ENDED_ATTEMPT.format("waiting"), OVER.format("waiting"))
    before = everything()
    code, lines = stockroom.reconcile("--repair", "--reason", "over?")
    assert code == 1
    assert "by the clocks its window is still open" in lines[0]
    assert everything() == before


def test_stock_that_was_given_back_while_money_is_in_doubt_is_no_difference(
    item: StockItem, customer: User, sandbox: SandboxProcess
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    sandbox.behave("reset_before", operation="authorize", times=1)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    shop = Shop(item=item, paid=attempt, cancelled=attempt, waiting=attempt, failed=attempt)
    tamper(shop, RELEASED.format("waiting"), "UPDATE payments_stockitem SET reserved = 0 WHERE id = %(item)s")
    assert stockroom.reconcile() == (0, ["0 differences"])
    doubts.put_under_review(attempt, sandbox)
    assert stockroom.reconcile() == (0, ["0 differences"])


def test_what_the_database_refuses_is_left_and_said_so(shop: Shop) -> None:
    """A disputed item keeps its wrong counter, and it is too low for the order's release."""
    tamper(
        shop,
        HELD_AGAIN.format("cancelled"),
        "UPDATE payments_stockitem SET reserved = 0 WHERE id = %(item)s",
        RELEASED.format("paid"),
    )
    before = everything()
    code, lines = stockroom.reconcile("--repair", "--reason", "a try")
    assert code == 1
    (line,) = [line for line in lines if "held_for_cancelled_order" in line]
    assert "left to a person: the database refuses it" in line
    assert "reserved" in line
    assert everything() == before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--repair",), "--reason says why"),
        (("--repair", "--reason", "  "), "--reason says why"),
        (("--dry-run",), "belong to --repair"),
        (("--reason", "why not"), "belong to --repair"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(arguments: tuple[str, ...], named: str) -> None:
    with pytest.raises(CommandError, match=named) as refused:
        call_command("reconcile_stock", *arguments)
    assert refused.value.returncode == 2


def test_corrections_are_never_changed_and_shown_in_the_admin(shop: Shop, client: Client) -> None:
    tamper(shop, RESERVED)
    stockroom.reconcile("--repair", "--reason", "counted twice")
    row = StockCorrection.objects.get()
    with pytest.raises(ProgrammingError, match="Cannot update or delete"):
        StockCorrection.objects.filter(id=row.id).update(reason="another")
    with pytest.raises(ProgrammingError, match="Cannot update or delete"):
        StockCorrection.objects.filter(id=row.id).delete()
    client.force_login(User.objects.create_superuser("root"))
    assert "counted twice" in client.get("/admin/payments/stockcorrection/").content.decode()
    assert client.get(f"/admin/payments/stockcorrection/{row.id}/change/").status_code == 200
    assert client.post(f"/admin/payments/stockcorrection/{row.id}/change/", {}).status_code == 403
    assert client.get(f"/admin/payments/stockcorrection/{row.id}/delete/").status_code == 403


def test_a_repair_keeps_to_the_lock_order(shop: Shop) -> None:
    tamper(shop, HELD_AGAIN.format("cancelled"), PENDING)
    with CaptureQueriesContext(connection) as queries:
        assert stockroom.reconcile("--repair", "--reason", "a test")[0] == 0
    acts = transactions(queries)
    assert [locks_of(statements) for statements in acts] == [["stock"], ["order", "stock"], ["order", "stock"]]
    for statements in acts:
        last_lock = max(index for index, sql in enumerate(statements) if " FOR UPDATE" in sql)
        assert any("clock_timestamp()" in sql for sql in statements[last_lock + 1 :]), statements


def test_finding_is_one_statement(shop: Shop) -> None:
    """Two would see two states, and what moves between them would look wrong."""
    with CaptureQueriesContext(connection) as queries:
        reconcile.differences_everywhere()
    asked = [query["sql"] for query in queries.captured_queries]
    assert len(asked) == 2
    assert asked[0] == "SELECT clock_timestamp()"


def test_the_example_in_the_docs_is_what_it_prints(shop: Shop, checkout_folder: Path) -> None:
    tamper(shop, HELD_AGAIN.format("cancelled"), PENDING, CHEAPER)
    _, found = stockroom.reconcile()
    _, repaired = stockroom.reconcile("--repair", "--reason", "incident 7")
    page = re.sub(r"line \d+", "line 1", (checkout_folder / "docs" / "stock.md").read_text())
    for lines in (found, repaired):
        printed = re.sub(r"line \d+", "line 1", re.sub(r"20\d\d-\S+ [^\s;]+", "...", "\n".join(lines)))
        assert printed in page, printed


def test_attempts_that_wait_for_their_answer_are_not_orphaned(
    item: StockItem, customer: User, sandbox: SandboxProcess
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    doubts.claim(attempt)
    factories.age_attempt(attempt.id, seconds_left=-60)
    assert PaymentAttempt.objects.get().state == "charging"
    assert stockroom.reconcile() == (0, ["0 differences"])


def _counted(found: set[Kind]) -> str:
    return f"{len(found)} difference{'' if len(found) == 1 else 's'}"
