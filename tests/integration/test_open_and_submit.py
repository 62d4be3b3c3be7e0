"""An order is placed and its payment submitted, or refused without a trace."""

from collections.abc import MutableMapping
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import lifecycle
from payments.domain.errors import (
    AlreadySubmitted,
    AmountMismatch,
    DuplicateOrder,
    NotFound,
    OutOfStock,
    PaymentError,
    PaymentExpired,
    UnknownItem,
    UnsupportedCurrency,
    UnsupportedMethod,
)
from payments.models import HistoryEntry, Order, OrderLine, PaymentAttempt, Reservation, StockItem
from tests import factories
from tests.factories import steps

pytestmark = pytest.mark.django_db(transaction=True)


def nothing_is_stored() -> bool:
    tables = (Order, OrderLine, Reservation, PaymentAttempt, HistoryEntry)
    return not any(table.objects.exists() for table in tables) and not StockItem.objects.exclude(reserved=0).exists()


def test_an_order_is_placed_with_its_deadline_and_its_stock_held(customer: User, item: StockItem) -> None:
    attempt = factories.place_order(customer=customer, item=item, quantity=3, order_id="ORD-1")
    assert (attempt.expires_at - attempt.opened_at).total_seconds() == 15 * 60
    assert attempt.order.payment_expires_at == attempt.expires_at
    assert attempt.expires_at.tzinfo is not None
    assert factories.stock_of(item) == (100, 3, 0)
    assert Reservation.objects.get().quantity == 3
    assert steps(attempt) == [("open", "customer", "opened")]


def test_the_window_of_a_method_overrides_the_general_one(customer: User, item: StockItem, settings: Settings) -> None:
    settings.PAYMENT_METHODS = {"card": {"gateway": "sandbox", "window_minutes": 60}}
    attempt = factories.place_order(customer=customer, item=item)
    assert (attempt.expires_at - attempt.opened_at).total_seconds() == 3600


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"lines": [lifecycle.RequestedLine("NO-SUCH", 1)]}, UnknownItem),
        ({"lines": [lifecycle.RequestedLine("MUG-BLUE", 101)], "expected_total_minor": 126250}, OutOfStock),
        (
            {"lines": [lifecycle.RequestedLine("MUG-BLUE", 60)] * 2, "expected_total_minor": 150000},
            OutOfStock,
        ),
        ({"expected_total_minor": 1}, AmountMismatch),
        ({"currency": "XTS"}, UnsupportedCurrency),
        ({"currency": "EUR"}, UnsupportedCurrency),
        ({"method": "cheque"}, UnsupportedMethod),
    ],
)
def test_a_refused_order_leaves_nothing_behind(
    customer: User, item: StockItem, changes: dict[str, Any], error: type[PaymentError]
) -> None:
    order: dict[str, Any] = {
        "customer_id": customer.id,
        "lines": [lifecycle.RequestedLine(item.sku, 1)],
        "expected_total_minor": 1250,
        "currency": "USD",
        "method": "card",
    }
    with pytest.raises(error):
        lifecycle.open_order(**(order | changes))
    assert nothing_is_stored()


def test_a_number_that_is_taken_is_refused_and_holds_nothing_more(customer: User, other: User, item: StockItem) -> None:
    factories.place_order(customer=customer, item=item, order_id="ORD-1")
    with pytest.raises(DuplicateOrder):
        factories.place_order(customer=other, item=item, order_id="ORD-1")
    assert factories.stock_of(item) == (100, 1, 0)


# Submit


def test_only_the_owner_submits(customer: User, other: User, item: StockItem) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    with pytest.raises(NotFound):
        lifecycle.submit_attempt(attempt_id=attempt.id, customer_id=other.id, payment_token="tok_visa")
    assert steps(attempt) == [("open", "customer", "opened")]


@pytest.mark.usefixtures("without_redis")
def test_a_second_submit_is_refused_and_changes_nothing(customer: User, item: StockItem) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    with pytest.raises(AlreadySubmitted):
        lifecycle.submit_attempt(attempt_id=attempt.id, customer_id=customer.id, payment_token="tok_other")
    attempt.refresh_from_db()
    assert (attempt.payment_token, len(steps(attempt))) == ("tok_visa", 2)


def test_a_submit_after_the_deadline_expires_the_order_at_once(
    customer: User, item: StockItem, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    attempt = factories.place_order(customer=customer, item=item, quantity=2)
    factories.age_attempt(attempt.id, seconds_left=-1)
    with pytest.raises(PaymentExpired):
        factories.submit(attempt)
    assert steps(attempt)[-1] == ("expired", "customer", "window_closed")
    assert factories.stock_of(item) == (100, 0, 0)
    assert [event["event"] for event in captured_logs if event["event"] == "payment_expired"] == ["payment_expired"]
    with pytest.raises(PaymentExpired):  # And it stays so, however often it is asked.
        factories.submit(attempt)
