"""The lock order, read off the SQL that every act sends: first the order, then stock rows by ascending id."""

import re

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from payments import clocks, lifecycle
from payments.lifecycle.stock import consume_stock
from payments.models import StockItem
from payments.transactions import transaction
from tests import factories
from tests.contract.sandbox_server import SandboxProcess

pytestmark = pytest.mark.django_db(transaction=True)


def transactions(queries: CaptureQueriesContext) -> list[list[str]]:
    """The statements of each transaction."""
    found: list[list[str]] = []
    for query in queries.captured_queries:
        sql = re.sub(r"\s+", " ", str(query["sql"])).strip()
        if sql == "BEGIN":
            found.append([])
        elif found:
            found[-1].append(sql)
    return found


def locks_of(statements: list[str]) -> list[str]:
    """Which table each locking statement locks, in order; a stock lock must sort by ascending id."""
    taken = []
    for sql in statements:
        if " FOR UPDATE" not in sql:
            continue
        if sql.startswith(("SELECT id FROM payments_stockitem", 'SELECT "payments_stockitem"')):
            assert re.search(r'ORDER BY (id|"payments_stockitem"."id" ASC|1 ASC) FOR UPDATE', sql), sql
            taken.append("stock")
        elif "payments_order" in sql:
            taken.append("order")
        else:
            raise AssertionError(f"a lock outside the lock order: {sql}")
    return taken


def test_every_act_locks_the_order_first_and_reads_the_clock_after_its_locks(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    with CaptureQueriesContext(connection) as queries:
        paid = factories.submit(factories.place_order(customer=customer, item=item))
        lifecycle.charge_attempt(attempt_id=paid.id)
        late = factories.place_order(customer=customer, item=item)
    factories.age_attempt(late.id, seconds_left=-1)
    with CaptureQueriesContext(connection) as sweep:
        lifecycle.sweep_expired()
    acts = transactions(queries) + transactions(sweep)
    taken = [locks_of(statements) for statements in acts]
    assert [kinds for kinds in taken if kinds] == [
        ["stock"],  # open: nobody else knows the new order
        ["order"],  # submit
        ["order"],  # claim
        ["order"],  # record: authorised, the capture begins
        ["order", "stock"],  # record: captured, the stock is consumed
        ["stock"],  # open
        ["order", "stock"],  # sweep: attempts that are due
        ["order"],  # and orders whose attempt failed: there is none
    ]
    for statements in acts[:-1]:
        if not locks_of(statements):
            continue
        first_lock = next(index for index, sql in enumerate(statements) if " FOR UPDATE" in sql)
        assert any("clock_timestamp()" in sql for sql in statements[first_lock + 1 :]), statements


def test_reminders_lock_the_order_and_read_the_clock_after_it(customer: User, item: StockItem) -> None:
    factories.age_attempt(factories.place_order(customer=customer, item=item).id, seconds_left=200)
    with CaptureQueriesContext(connection) as queries:
        lifecycle.send_due_reminders(limit=1)
    acts = [statements for statements in transactions(queries) if locks_of(statements)]
    assert [locks_of(statements) for statements in acts] == [["order"]] * 3  # Owed; and taken, over each channel.
    for statements in acts:
        first_lock = next(index for index, sql in enumerate(statements) if " FOR UPDATE" in sql)
        assert any("clock_timestamp()" in sql for sql in statements[first_lock + 1 :]), statements


def test_consuming_and_reserving_count_each_unit_once(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item, quantity=2))
    factories.place_order(customer=factories.make_user(), item=item, quantity=3)
    lifecycle.charge_attempt(attempt_id=attempt.id)
    for _ in range(2):
        with transaction():
            consume_stock(order_id=attempt.order_id, now=clocks.database_now())
    assert factories.stock_of(item) == (98, 3, 2)
