"""A shop whose stock, reservations and orders can be made to contradict each other."""

from dataclasses import dataclass
from io import StringIO
from typing import Any

from django.core.management import call_command
from django.db import connection

from payments import lifecycle
from payments.models import PaymentAttempt, StockItem
from tests import factories
from tests.tampering import every_right


@dataclass(frozen=True, slots=True)
class Shop:
    """Of 100 mugs 2 are sold, 3 came back, and 4 and 5 are held: for an order that waits, and for one that failed."""

    item: StockItem
    paid: PaymentAttempt
    cancelled: PaymentAttempt
    waiting: PaymentAttempt
    failed: PaymentAttempt

    @property
    def names(self) -> dict[str, Any]:
        """What the statements that break it may name."""
        return {
            "item": self.item.id,
            **{name: getattr(self, name).order_id for name in ("paid", "cancelled", "waiting", "failed")},
        }


def open_shop() -> Shop:
    """Needs the sandbox gateway."""
    item = factories.make_item("MUG-BLUE")

    def order(number: str, quantity: int) -> PaymentAttempt:
        return factories.place_order(
            customer=factories.make_user(), item=item, quantity=quantity, order_id=f"ORD-{number}"
        )

    cancelled = order("CANCELLED", 3)
    factories.age_attempt(cancelled.id, seconds_left=-1)
    assert lifecycle.sweep_expired().expired_orders == 1
    paid = factories.submit(order("PAID", 2))
    assert lifecycle.charge_attempt(attempt_id=paid.id) == "succeeded"
    failed = factories.submit(order("FAILED", 5), token="tok_declined")
    assert lifecycle.charge_attempt(attempt_id=failed.id) == "failed"
    shop = Shop(item=item, paid=paid, cancelled=cancelled, waiting=order("WAITING", 4), failed=failed)
    assert factories.stock_of(item) == (98, 9, 2)
    return shop


def tamper(shop: Shop, *statements: str) -> None:
    with every_right() as cursor:
        for statement in statements:
            cursor.execute(statement, shop.names)
            assert cursor.rowcount >= 1, statement


def reconcile(*arguments: str) -> tuple[int, list[str]]:
    """The command's exit code and the lines that it printed."""

    output, code = StringIO(), 0
    try:
        call_command("reconcile_stock", *arguments, stdout=output)
    except SystemExit as ended:
        code = int(ended.code or 0)
    return code, output.getvalue().splitlines()


TABLES = (
    "payments_stockitem",
    "payments_reservation",
    "payments_orderline",
    "payments_order",
    "payments_paymentattempt",
    "payments_historyentry",
    "payments_announcement",
    "payments_stockcorrection",
)


def everything() -> dict[str, list[str]]:
    """Every row that a repair could touch."""
    rows = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT t::text FROM {table} t ORDER BY 1")
            rows[table] = [row for (row,) in cursor.fetchall()]
    return rows
