"""Refunds that a person asks for: of a payment, whole or in part, once."""

from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from payments import lifecycle
from payments.domain.errors import NotFound, RefundRefused, RetryRefused
from payments.domain.outcomes import Captured
from payments.lifecycle.charge import run_calls
from payments.models import Compensation, Order, PaymentAttempt, StockItem
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.doubts import GIVEN_BACK, PAID, claim, give_back

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def submitted(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.submit(factories.place_order(customer=customer, item=item))


@pytest.fixture
def paid(submitted: PaymentAttempt, sandbox: SandboxProcess) -> PaymentAttempt:
    assert run_calls(claim(submitted)) == "succeeded"
    submitted.refresh_from_db()
    return submitted


def refund(attempt: PaymentAttempt, staff: User, *, amount_minor: int | None = None) -> Compensation:
    return lifecycle.refund_payment(
        attempt_id=attempt.id, amount_minor=amount_minor, staff_id=staff.id, reason="returned"
    )


def test_a_whole_refund_marks_the_order_and_leaves_its_sale_alone(
    paid: PaymentAttempt, item: StockItem, sandbox: SandboxProcess, staff: User
) -> None:
    row = refund(paid, staff)
    assert (row.kind, row.reason, row.amount_minor, row.charge_reference) == (
        "refund",
        "staff",
        1250,
        paid.gateway_reference,
    )
    first = row.history.get()
    assert (first.actor, first.evidence["reason"]) == (f"staff:{staff.id}", "returned")
    assert Order.objects.get().payment_status == "paid"  # Until the gateway has made it.
    assert give_back(row) == "done"
    order = Order.objects.get()
    assert (order.status, order.payment_status) == ("paid", "refunded")
    assert sandbox.operations() == GIVEN_BACK
    assert factories.stock_of(item) == (99, 0, 1)  # Whether the goods come back, the shop knows.


def test_a_partial_refund_gives_back_that_much_and_the_order_stays_paid(
    paid: PaymentAttempt, sandbox: SandboxProcess, staff: User
) -> None:
    row = refund(paid, staff, amount_minor=300)
    sandbox.behave("reset_after", operation="refund", times=1)
    assert [give_back(row) for _ in range(2)] == ["in_doubt", "done"]
    assert sandbox.operations() == [*PAID, ("refund", 300)]
    assert Order.objects.get().payment_status == "paid"


def test_a_refund_that_is_asked_for_twice_is_made_once(
    paid: PaymentAttempt, sandbox: SandboxProcess, staff: User
) -> None:
    row = refund(paid, staff)
    assert refund(paid, staff, amount_minor=1250).id == row.id
    assert give_back(row) == "done"
    assert refund(paid, staff).id == row.id
    doubts.give_everything_back()
    assert sandbox.operations() == GIVEN_BACK


def test_a_refund_of_another_amount_is_refused(paid: PaymentAttempt, sandbox: SandboxProcess, staff: User) -> None:
    row = refund(paid, staff, amount_minor=300)
    for amount_minor in (299, 301, None):
        with pytest.raises(RefundRefused, match="300"):
            refund(paid, staff, amount_minor=amount_minor)
    assert Compensation.objects.get().id == row.id


@pytest.mark.parametrize("amount_minor", [0, -1, 1251])
def test_an_amount_that_was_not_paid_is_refused(
    paid: PaymentAttempt, sandbox: SandboxProcess, staff: User, amount_minor: int
) -> None:
    with pytest.raises(RefundRefused, match=str(amount_minor)):
        refund(paid, staff, amount_minor=amount_minor)
    assert Compensation.objects.count() == 0


def test_a_payment_that_did_not_succeed_has_nothing_to_refund(
    submitted: PaymentAttempt, sandbox: SandboxProcess, staff: User
) -> None:
    with pytest.raises(RefundRefused, match="queued"):
        refund(submitted, staff)
    with pytest.raises(NotFound):
        lifecycle.refund_payment(attempt_id=uuid4(), staff_id=staff.id, reason="x")
    sandbox.behave("declined", operation="authorize")
    lifecycle.charge_attempt(attempt_id=submitted.id)
    with pytest.raises(RefundRefused, match="failed"):
        refund(submitted, staff)
    assert Compensation.objects.count() == 0


def test_a_refunded_order_is_never_revived(
    customer: User, paid: PaymentAttempt, item: StockItem, sandbox: SandboxProcess, staff: User
) -> None:
    call = doubts.call_of(paid)
    assert give_back(refund(paid, staff)) == "done"
    with pytest.raises(RetryRefused) as refused:
        lifecycle.retry_order(order_id=paid.order.order_id, customer_id=customer.id)
    assert refused.value.facts["reason"] == "order_paid"
    lifecycle.record_outcome(call=call, outcome=Captured(paid.gateway_reference))
    assert Compensation.objects.count() == 1  # The money that was given back, seen once more.
    lifecycle.record_outcome(call=call, outcome=Captured("ch_second"))
    second = Compensation.objects.get(charge_reference="ch_second")
    assert (second.kind, second.reason) == ("refund", "second_success")
    order = Order.objects.get()
    assert (order.status, order.payment_status) == ("paid", "refunded")
    assert lifecycle.sweep_expired().expired_orders == 0
    assert factories.stock_of(item) == (99, 0, 1)
