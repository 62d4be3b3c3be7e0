"""Checkout as typed calls, for a host in the same project."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from payments import checkout, lifecycle
from payments.checkout import RequestedLine
from payments.domain.errors import InvalidState, NotFound, PaymentExpired, RetryRefused
from payments.domain.ids import Prefix, parse_public_id
from payments.models import Order, PaymentAttempt, StockItem
from payments.transactions import transaction
from tests import factories
from tests.contract.sandbox_server import SandboxProcess

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def payment(customer: User, item: StockItem) -> checkout.Payment:
    return checkout.open_payment(
        customer_id=customer.id,
        lines=[RequestedLine(sku=item.sku, quantity=2)],
        total_minor=2500,
        currency="USD",
        order_id="ORD-1",
    )


def charge(payment: checkout.Payment) -> str:
    attempt_id = parse_public_id(Prefix.PAYMENT, payment.id)
    assert attempt_id is not None
    return str(lifecycle.charge_attempt(attempt_id=attempt_id))


def age(payment: checkout.Payment) -> None:
    attempt_id = parse_public_id(Prefix.PAYMENT, payment.id)
    assert attempt_id is not None
    factories.age_attempt(attempt_id, seconds_left=-1)


def test_an_order_is_opened_paid_and_read(
    payment: checkout.Payment, customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    assert (payment.order_id, payment.state, payment.can_pay, payment.amount_minor) == ("ORD-1", "open", True, 2500)
    submitted = checkout.submit_payment(payment_id=payment.id, customer_id=customer.id, payment_token="tok_visa")
    assert (submitted.state, submitted.can_pay) == ("queued", False)
    assert charge(payment) == "succeeded"
    assert checkout.read_payment(payment_id=payment.id, customer_id=customer.id).state == "succeeded"
    order = checkout.read_order(order_id="ORD-1", customer_id=customer.id)
    assert (order.status, order.payment_status, order.is_payment_window_active) == ("paid", "paid", False)
    assert order.payment is not None
    assert order.payment.id == payment.id
    assert factories.stock_of(item) == (98, 0, 2)


def test_the_four_questions_of_an_open_payment(payment: checkout.Payment, customer: User) -> None:
    asked: dict[str, Any] = {"payment_id": payment.id, "customer_id": customer.id}
    assert checkout.is_payment_expired(**asked) is False
    assert timedelta(minutes=14) < checkout.payment_time_left(**asked) <= timedelta(minutes=15)
    assert checkout.can_retry_payment(**asked) is False
    with pytest.raises(RetryRefused, match="still in progress"):
        checkout.retry_payment(**asked)
    assert PaymentAttempt.objects.count() == 1


def test_the_four_questions_of_an_expired_payment(payment: checkout.Payment, customer: User) -> None:
    age(payment)
    asked: dict[str, Any] = {"payment_id": payment.id, "customer_id": customer.id}
    for _ in range(2):
        assert checkout.is_payment_expired(**asked) is True
        assert checkout.payment_time_left(**asked) == timedelta()
        assert checkout.can_retry_payment(**asked) is False
        with pytest.raises(PaymentExpired):
            checkout.retry_payment(**asked)
        lifecycle.sweep_expired()
    assert Order.objects.get().payment_status == "expired"


def test_the_four_questions_of_a_failed_payment(
    payment: checkout.Payment, customer: User, sandbox: SandboxProcess
) -> None:
    asked: dict[str, Any]
    for number in (1, 2, 3):
        token = "tok_insufficient_funds"
        checkout.submit_payment(payment_id=payment.id, customer_id=customer.id, payment_token=token)
        assert charge(payment) == "failed"
        asked = {"payment_id": payment.id, "customer_id": customer.id}
        assert checkout.is_payment_expired(**asked) is False
        assert checkout.payment_time_left(**asked) == timedelta()
        assert checkout.can_retry_payment(**asked) is (number < 3)
        if number < 3:
            payment = checkout.retry_payment(**asked)
            assert (payment.number, payment.can_pay, payment.attempts_left) == (number + 1, True, 2 - number)
    with pytest.raises(RetryRefused, match="used up"):
        checkout.retry_payment(payment_id=payment.id, customer_id=customer.id)


def test_an_order_is_given_up(payment: checkout.Payment, customer: User, item: StockItem) -> None:
    cancelled = checkout.cancel_payment(payment_id=payment.id, customer_id=customer.id, reason="Changed my mind")
    assert (cancelled.state, cancelled.is_payment_window_active) == ("cancelled", False)
    with pytest.raises(InvalidState):
        checkout.submit_payment(payment_id=payment.id, customer_id=customer.id, payment_token="tok_visa")
    assert factories.stock_of(item) == (100, 0, 0)


@pytest.mark.parametrize("payment_id", [None, "pay_1", "", "ord_0198f0c2e4b27c3a9d1e5f60718293a4"])
def test_a_strangers_payment_is_not_there(payment: checkout.Payment, other: User, payment_id: str | None) -> None:
    asked: dict[str, Any] = {"payment_id": payment.id if payment_id is None else payment_id, "customer_id": other.id}
    for call in (
        checkout.read_payment,
        checkout.is_payment_expired,
        checkout.payment_time_left,
        checkout.can_retry_payment,
        checkout.retry_payment,
        checkout.cancel_payment,
    ):
        with pytest.raises(NotFound, match="There is no such payment"):
            call(**asked)
    with pytest.raises(NotFound, match="There is no such payment"):
        checkout.submit_payment(**asked, payment_token="tok_visa")
    with pytest.raises(NotFound, match="There is no such order"):
        checkout.read_order(order_id="ORD-1", customer_id=other.id)
    assert PaymentAttempt.objects.get().state == "open"


def test_no_call_hides_in_a_transaction_of_the_host(payment: checkout.Payment, customer: User) -> None:
    with transaction(), pytest.raises(RuntimeError):
        checkout.submit_payment(payment_id=payment.id, customer_id=customer.id, payment_token="tok_visa")
    assert PaymentAttempt.objects.get().state == "open"
