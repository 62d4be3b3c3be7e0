"""A repair beside customers who order and pay, and beside the sweep: no deadlock, nothing that is only in motion."""

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User

from payments import lifecycle, reconcile
from payments.lifecycle.reconcile import Outcome, Result
from payments.models import Order, PaymentAttempt, StockCorrection, StockItem
from payments.reconcile import Kind
from tests import factories, stockroom
from tests.concurrency.test_locks import another_session, at_once, waiting_for_locks
from tests.contract.sandbox_server import SandboxProcess, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

HELD_AGAIN = "UPDATE payments_reservation SET state = 'active', closed_at = NULL WHERE order_id = %({})s"
WRONG = (
    HELD_AGAIN.format("cancelled"),
    HELD_AGAIN.format("paid"),
    "UPDATE payments_stockitem SET reserved = 12 WHERE id = %(item)s",
    "UPDATE payments_order SET payment_status = 'pending' WHERE id = %(failed)s",
)
SEEDED = {
    Kind.RESERVED_DIFFERS,
    Kind.SOLD_DIFFERS,
    Kind.HELD_FOR_CANCELLED,
    Kind.HELD_FOR_PAID,
    Kind.WAITS_WITHOUT_LIVING_ATTEMPT,
}


def repair() -> list[Outcome]:
    return list(lifecycle.reconcile_stock(actor="command:test", reason="a test"))


def test_a_repair_beside_customers_and_sweeps_repairs_what_is_wrong_once_and_nothing_else(
    sandbox: SandboxProcess,
) -> None:
    shop = stockroom.open_shop()
    other = factories.make_item("MUG-RED", on_hand=100)
    stockroom.tamper(shop, *WRONG)
    customers = [factories.make_user() for _ in range(5)]
    buying = threading.Event()
    buying.set()
    seen: Counter[Kind] = Counter()

    def buy(customer: User, number: int) -> None:
        """Half of them name the items in the opposite order; every third is never paid and expires."""
        for turn in range(8):
            skus = [shop.item.sku, other.sku][:: 1 if number % 2 else -1]
            view = lifecycle.open_order(
                customer_id=customer.id,
                lines=[lifecycle.RequestedLine(sku, 1) for sku in skus],
                expected_total_minor=2500,
                currency="USD",
                method="card",
            )
            if turn % 3 == 2:
                factories.age_attempt(view.attempt.id, seconds_left=-0.5)
                continue
            factories.submit(view.attempt, token="tok_declined" if turn % 3 else "tok_visa")
            lifecycle.charge_attempt(attempt_id=view.attempt.id)

    def while_they_buy(act: Callable[[], Any]) -> None:
        while buying.is_set():
            act()

    def look() -> None:
        seen.update(difference.kind for difference in reconcile.differences_everywhere())

    def all_buy() -> list[Any]:
        try:
            return at_once([partial(buy, customer, number) for number, customer in enumerate(customers)])
        finally:
            buying.clear()

    acts: list[Callable[[], Any]] = [all_buy]
    acts += [partial(while_they_buy, act) for act in (lifecycle.sweep_expired, repair, repair, look)]
    results = at_once(acts)
    assert [result for result in results if isinstance(result, Exception)] == []
    assert results[0] == [None] * 5
    repair()
    lifecycle.sweep_expired()
    assert reconcile.differences_everywhere() == []
    seeded = Counter(dict.fromkeys(SEEDED, 1))
    repaired = Counter(Kind(what) for what in StockCorrection.objects.values_list("what", flat=True))
    # On a slow machine the sweep may be late for an order, and the repair may rightly end it.
    del repaired[Kind.WAITS_FOR_SWEEP], seen[Kind.WAITS_FOR_SWEEP]
    assert repaired == seeded
    assert set(seen) <= SEEDED
    paid = Order.objects.filter(status="paid").count() - 1
    assert paid == 5 * 3
    held = Order.objects.filter(status="under_paying").count() - 2
    assert held == 5 * 3
    assert factories.stock_of(shop.item) == (98 - paid, 9 + held, 2 + paid)
    assert factories.stock_of(other) == (100 - paid, held, paid)


def test_what_was_put_right_while_the_repair_waited_is_left_alone_and_said_so(sandbox: SandboxProcess) -> None:
    shop = stockroom.open_shop()
    stockroom.tamper(
        shop,
        HELD_AGAIN.format("cancelled"),
        "UPDATE payments_stockitem SET reserved = reserved + 3 WHERE id = %(item)s",
    )
    results: list[Any] = []
    with another_session() as holder, another_session() as observer:
        observer.autocommit = True
        holder.execute("SELECT id FROM payments_order WHERE id = %s FOR UPDATE", [shop.cancelled.order_id])
        repairing = threading.Thread(target=lambda: results.extend(at_once([repair])))
        repairing.start()
        wait_until(lambda: waiting_for_locks(observer) == 1, what="the repair waits for the order")
        holder.execute(
            "UPDATE payments_reservation SET state = 'released', closed_at = now() WHERE order_id = %s",
            [shop.cancelled.order_id],
        )
        holder.execute("UPDATE payments_stockitem SET reserved = reserved - 3 WHERE id = %s", [shop.item.id])
        holder.commit()
        repairing.join()
    ((outcome,),) = results
    assert (outcome.difference.kind, outcome.result) == (Kind.HELD_FOR_CANCELLED, Result.GONE)
    assert factories.stock_of(shop.item) == (98, 9, 2)
    assert not StockCorrection.objects.exists()


def test_a_counter_is_counted_after_its_lock_was_granted(sandbox: SandboxProcess, customer: User) -> None:
    """Somebody takes the item, then orders of it and commits: the recount sees what came while it waited."""
    shop = stockroom.open_shop()
    stockroom.tamper(shop, "UPDATE payments_stockitem SET reserved = 20 WHERE id = %(item)s")
    results: list[Any] = []
    with another_session() as holder, another_session() as observer:
        observer.autocommit = True
        holder.execute("SELECT id FROM payments_stockitem WHERE id = %s FOR UPDATE", [shop.item.id])
        place = partial(factories.place_order, customer=customer, item=shop.item, quantity=6)
        acting = threading.Thread(target=lambda: results.extend(at_once([place])))
        acting.start()
        wait_until(lambda: waiting_for_locks(observer) == 1, what="the customer waits for the item")
        repairing = threading.Thread(target=lambda: results.extend(at_once([repair])))
        repairing.start()
        wait_until(lambda: waiting_for_locks(observer) == 2, what="the repair waits behind")
        holder.rollback()
        acting.join()
        repairing.join()
    (outcomes,) = [result for result in results if not isinstance(result, PaymentAttempt)]
    assert [(dict(outcome.before), dict(outcome.after)) for outcome in outcomes] == [
        ({"reserved": 26}, {"reserved": 15}),
    ]
    assert factories.stock_of(shop.item) == (98, 15, 2)


def test_a_repair_that_cannot_have_the_lock_says_so_and_goes_on(sandbox: SandboxProcess, other: User) -> None:
    shop = stockroom.open_shop()
    stockroom.tamper(shop, *WRONG)
    with another_session() as holder:
        holder.execute("SELECT id FROM payments_order WHERE id = %s FOR UPDATE", [shop.cancelled.order_id])
        outcomes = repair()
        holder.rollback()
    left = [outcome for outcome in outcomes if outcome.result is Result.LEFT]
    assert [outcome.difference.kind for outcome in left] == [Kind.HELD_FOR_CANCELLED]
    assert "run it again" in left[0].why
    assert [outcome.result for outcome in repair()] == [Result.REPAIRED]
    assert reconcile.differences_everywhere() == []


def test_items_are_counted_one_by_one(sandbox: SandboxProcess) -> None:
    items = [factories.make_item(on_hand=10) for _ in range(3)]
    StockItem.objects.filter(id__in=[row.id for row in items]).update(reserved=1)
    assert [outcome.difference.item_id for outcome in repair()] == sorted(row.id for row in items)
    assert [factories.stock_of(row) for row in items] == [(10, 0, 0)] * 3
