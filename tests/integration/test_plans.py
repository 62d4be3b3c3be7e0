"""Among a million attempts, nothing that runs all the time reads more than it wants: a look at plans, not at clocks."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from payments import lifecycle, queries
from payments.lifecycle.calls import Call
from payments.lifecycle.claim import claim_attempt
from payments.models import PaymentAttempt, StockItem
from tests import bulk, factories

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.breaks_invariants,
    pytest.mark.timeout(600),
]  # The crowd has no history.

CROWD = 1_000_000
LIVING = 50_000
MINUTES = timedelta(minutes=1)
BIG = {"payments_order", "payments_paymentattempt", "payments_historyentry", "payments_gatewaycall"}

Statement = tuple[str, Any]


@pytest.fixture
def crowd(customer: User, item: StockItem) -> None:
    """A million attempts: most have ended, some live, and a hundred are due."""
    common: dict[str, Any] = {"customers": [customer.pk], "items": [item.pk]}
    bare = {**common, "lines": 0, "has_history": False}
    ended, due = CROWD - LIVING, 100
    bulk.make_orders(ended, prefix="O", first_deadline_in=-1000 * MINUTES, spread=900 * MINUTES, is_over=True, **bare)
    bulk.make_orders(LIVING - due, prefix="L", first_deadline_in=2 * MINUTES, spread=10 * MINUTES, **bare)
    bulk.make_orders(due, prefix="D", first_deadline_in=-2 * MINUTES, spread=MINUTES, **common)
    StockItem.objects.filter(pk=item.pk).update(received=1000, on_hand=1000, reserved=due)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def statements_of(act: Callable[[], object]) -> list[Statement]:
    """The statements that an act sends, with their parameters."""
    seen: list[Statement] = []

    def note(execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if any(table in sql for table in BIG):
            seen.append((sql, parameters))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(note):
        act()
    return seen


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def tables_read_whole(statement: Statement) -> list[str]:
    sql, parameters = statement
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", parameters)
        (plan,) = cursor.fetchone()
    [top] = json.loads(plan) if isinstance(plan, str) else plan
    return [
        node["Relation Name"]
        for node in nodes(top["Plan"])
        if node["Node Type"] in {"Seq Scan", "Bitmap Heap Scan"} and node["Relation Name"] in BIG
    ]


def test_nothing_reads_a_table_whole(crowd: None, customer: User, item: StockItem) -> None:
    """The sweep, with and without something due; opening, submitting and claiming; and what a customer reads."""
    opened: list[PaymentAttempt] = []
    claimed: list[object] = []
    acts: dict[str, Callable[[], object]] = {
        "open": lambda: opened.append(factories.place_order(customer=customer, item=item)),
        "submit": lambda: factories.submit(opened[0]),
        "claim": lambda: claimed.append(claim_attempt(attempt_id=opened[0].id)),
        "status of a payment": lambda: queries.attempt_for(attempt_id=opened[0].id, customer_id=customer.pk),
        "status of an order": lambda: queries.order_for(order_id="L-0-7", customer_id=customer.pk),
        "rescue": lifecycle.publish_owed,
        "backlog": lifecycle.read_backlog,
        "preview": lambda: list(lifecycle.preview_sweep(limit=10)),
        "sweep": lifecycle.sweep_expired,
        "release": lambda: lifecycle.release_stock_in_doubt(actor="sweep"),
        "sweep of nothing": lifecycle.sweep_expired,
    }
    statements = {name: statements_of(act) for name, act in acts.items()}
    assert isinstance(claimed[0], Call)
    assert PaymentAttempt.objects.filter(state="open", expires_at__lt=opened[0].opened_at).count() == 0  # Swept.
    assert all(statements.values())
    whole = {(name, table) for name, sent in statements.items() for one in sent for table in tables_read_whole(one)}
    assert whole == set()
    # A look that always found nothing would prove nothing.
    unindexed = ("SELECT id FROM payments_paymentattempt WHERE correlation_id = %s", ["x"])
    assert tables_read_whole(unindexed) == ["payments_paymentattempt"]
