"""Cancelling beside all else that wants the same order: one of them has it, and money and stock agree."""

from collections.abc import Callable
from functools import partial

import pytest
from django.contrib.auth.models import User

from payments import lifecycle
from payments.domain.errors import InvalidState, PaymentError
from payments.lifecycle.calls import Call
from payments.lifecycle.claim import NotClaimed
from payments.models import Announcement, Order, PaymentAttempt, StockItem
from payments.queries import AttemptView
from tests import factories
from tests.concurrency.test_locks import at_once
from tests.contract.sandbox_server import SandboxProcess

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 15


def cancel(attempt: PaymentAttempt) -> AttemptView:
    return lifecycle.cancel_payment(attempt_id=attempt.id, user_id=attempt.customer_id)


def both(one: Callable[[], object], other: Callable[[], object]) -> list[object]:
    """Do two things at the same instant; a refusal is a result."""
    acts: list[Callable[[], object]] = [one, other]
    return list(at_once(acts))


def test_who_cancels_or_who_claims_has_it(item: StockItem) -> None:
    for _ in range(ROUNDS):
        attempt = factories.submit(factories.place_order(customer=factories.make_user(), item=item))
        claim = partial(lifecycle.claim_attempt, attempt_id=attempt.id)
        cancelled, claimed = both(partial(cancel, attempt), claim)
        attempt.refresh_from_db()
        if isinstance(claimed, Call):
            assert isinstance(cancelled, InvalidState)
            assert (attempt.state, attempt.order.status) == ("charging", "under_paying")
        else:
            assert claimed is NotClaimed.NOT_QUEUED
            assert isinstance(cancelled, AttemptView)
            assert (attempt.state, attempt.order.status) == ("cancelled", "cancelled")


@pytest.mark.parametrize(
    "rival",
    [
        pytest.param(cancel, id="cancel"),
        pytest.param(
            lambda attempt: lifecycle.submit_attempt(
                attempt_id=attempt.id, customer_id=attempt.customer_id, payment_token="tok_visa"
            ),
            id="submit",
        ),
        pytest.param(lambda _: lifecycle.sweep_expired(), id="sweep"),
    ],
)
def test_stock_goes_back_once_whoever_comes_second(rival: Callable[[PaymentAttempt], object], item: StockItem) -> None:
    for seconds_left in [600, -1] * ROUNDS:
        attempt = factories.place_order(customer=factories.make_user(), item=item, quantity=3)
        factories.age_attempt(attempt.id, seconds_left=seconds_left)
        results = both(partial(cancel, attempt), partial(rival, attempt))
        assert not any(isinstance(result, Exception) and not isinstance(result, PaymentError) for result in results)
        lifecycle.sweep_expired()  # What a run stepped over.
        attempt.refresh_from_db()
        assert attempt.state == ("cancelled" if seconds_left > 0 else "expired")
        assert factories.stock_of(item) == (100, 0, 0)
        assert Announcement.objects.filter(order_id=attempt.order_id).count() == 1


def test_an_order_is_given_up_or_tried_again(item: StockItem, customer: User, sandbox: SandboxProcess) -> None:
    for _ in range(3):
        attempt = factories.submit(factories.place_order(customer=customer, item=item), token="tok_declined")
        assert lifecycle.charge_attempt(attempt_id=attempt.id) == "failed"
        retry = partial(lifecycle.retry_order, order_id=attempt.order.order_id, customer_id=customer.id)
        cancelled, retried = both(partial(cancel, attempt), retry)
        assert isinstance(cancelled, PaymentError) is not isinstance(retried, PaymentError)
        order = Order.objects.get(id=attempt.order_id)
        living = PaymentAttempt.objects.filter(order=order, state="open").count()
        assert (order.status, living) == (("under_paying", 1) if isinstance(retried, AttemptView) else ("cancelled", 0))
        if living:
            cancel(PaymentAttempt.objects.get(order=order, state="open"))
        assert factories.stock_of(item) == (100, 0, 0)
