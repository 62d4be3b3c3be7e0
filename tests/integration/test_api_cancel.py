"""Cancel: an order is given up before anything was charged, and never after a worker has it."""

from typing import Any

import pytest
from django.contrib.auth.models import User

from payments import lifecycle
from payments.lifecycle.claim import NotClaimed
from payments.models import Announcement, GatewayCall, Order, PaymentAttempt, StaffAction, StockItem
from tests import factories
from tests.contract.sandbox_server import SandboxProcess
from tests.factories import steps
from tests.integration.api_client import Api, problem
from tests.overdue import due_order

pytestmark = pytest.mark.django_db(transaction=True)


def cancel(api: Api, attempt: PaymentAttempt, body: Any = "") -> Any:
    return api.post(f"/api/payments/{attempt.public_id}/cancel/", body)


def sides(attempt: PaymentAttempt) -> tuple[str, str]:
    order = Order.objects.get(id=attempt.order_id)
    return order.status, order.payment_status


def told(attempt: PaymentAttempt) -> list[str]:
    return list(
        Announcement.objects.filter(order_id=attempt.order_id).order_by("number").values_list("kind", flat=True)
    )


def is_untouched(attempt: PaymentAttempt) -> bool:
    """No step, no announcement, no record beside those that there were."""
    before = attempt.version
    attempt.refresh_from_db()
    return attempt.version == before and told(attempt) == [] and not StaffAction.objects.exists()


@pytest.mark.parametrize("is_submitted", [False, True])
def test_an_order_is_given_up_and_its_stock_with_it(
    api: Api, customer: User, item: StockItem, is_submitted: bool
) -> None:
    attempt = factories.place_order(customer=customer, item=item, quantity=3)
    if is_submitted:
        factories.submit(attempt)
    answer = cancel(api, attempt, {"reason": "Ordered the wrong size"})
    assert (answer.status_code, answer.json()["state"], answer.json()["can_pay"]) == (200, "cancelled", False)
    assert answer.json()["retry_refused"] == "order_closed"
    assert answer.json()["retry_after_seconds"] is None
    assert sides(attempt) == ("cancelled", "cancelled")
    assert factories.stock_of(item) == (100, 0, 0)
    assert steps(attempt)[-1] == ("cancelled", "customer", "cancelled")
    assert attempt.history.latest("number").evidence == {"reason": "Ordered the wrong size"}
    assert told(attempt) == ["payment_cancelled"]
    assert lifecycle.charge_attempt(attempt_id=attempt.id) is NotClaimed.NOT_QUEUED
    assert not GatewayCall.objects.exists()
    assert not StaffAction.objects.exists()


def test_cancelling_twice_does_nothing_the_second_time(api: Api, customer: User, item: StockItem) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    first, second = cancel(api, attempt), cancel(api, attempt, {})
    assert (first.status_code, second.status_code, second.json()["state"]) == (200, 200, "cancelled")
    assert len(steps(attempt)) == 2
    assert told(attempt) == ["payment_cancelled"]
    assert factories.stock_of(item) == (100, 0, 0)


def test_what_is_cancelled_is_not_paid_for(api: Api, customer: User, item: StockItem) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    cancel(api, attempt)
    response = api.post(f"/api/payments/{attempt.public_id}/submit/", {"payment_token": "tok_visa"})
    problem(response, 409, "invalid_state")
    refused = api.post("/api/payments/retry/", {"order_id": attempt.order.order_id})
    assert problem(refused, 409, "retry_refused")["reason"] == "order_closed"


@pytest.mark.parametrize(
    ("token", "state"), [("tok_visa", "succeeded"), ("tok_reset_after", "in_doubt"), ("tok_hosted", "confirming")]
)
def test_what_a_worker_had_is_not_cancelled(
    api: Api, customer: User, item: StockItem, sandbox: SandboxProcess, token: str, state: str
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token=token)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == state
    before = (steps(attempt), sides(attempt), factories.stock_of(item), told(attempt))
    assert problem(cancel(api, attempt), 409, "invalid_state")["state"] == state
    assert (steps(attempt), sides(attempt), factories.stock_of(item), told(attempt)) == before


def test_what_is_being_charged_is_not_cancelled(api: Api, customer: User, item: StockItem) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    assert not isinstance(lifecycle.claim_attempt(attempt_id=attempt.id), NotClaimed)
    assert problem(cancel(api, attempt), 409, "invalid_state")["state"] == "charging"
    assert sides(attempt) == ("under_paying", "pending")


def test_a_late_cancellation_expires_the_order(api: Api, customer: User, item: StockItem) -> None:
    attempt = due_order(customer, item)
    assert problem(cancel(api, attempt), 410, "payment_expired")["payment_id"] == attempt.public_id
    assert sides(attempt) == ("cancelled", "expired")
    assert steps(attempt)[-1] == ("expired", "customer", "window_closed")
    assert factories.stock_of(item) == (100, 0, 0)
    problem(cancel(api, attempt), 410, "payment_expired")
    assert told(attempt) == ["payment_expired"]


@pytest.fixture
def failed(customer: User, item: StockItem, sandbox: SandboxProcess) -> PaymentAttempt:
    """An attempt that was declined; its order waits for another."""
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token="tok_insufficient_funds")
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "failed"
    return attempt


def test_an_order_that_waits_for_another_attempt_is_given_up(api: Api, failed: PaymentAttempt, item: StockItem) -> None:
    before = steps(failed)
    for _ in range(2):
        answer = cancel(api, failed).json()
        assert (answer["state"], answer["can_retry"]) == ("failed", False)
    assert steps(failed) == before
    assert sides(failed) == ("cancelled", "cancelled")
    assert factories.stock_of(item) == (100, 0, 0)
    assert told(failed) == ["payment_failed", "payment_cancelled"]
    latest = Announcement.objects.get(order_id=failed.order_id, kind="payment_cancelled")
    assert (latest.attempt, latest.payload["payment_id"]) == (None, None)


def test_the_window_of_a_failed_payment_ends_the_order_first(api: Api, failed: PaymentAttempt) -> None:
    factories.age_attempt(failed.id, seconds_left=-1)
    problem(cancel(api, failed), 410, "payment_expired")
    assert sides(failed) == ("cancelled", "expired")


def test_an_attempt_that_was_followed_by_another_ends_nothing(api: Api, failed: PaymentAttempt) -> None:
    retried = api.post("/api/payments/retry/", {"payment_id": failed.public_id})
    assert retried.status_code == 201
    problem(cancel(api, failed), 409, "invalid_state")
    assert sides(failed) == ("under_paying", "pending")
    living = PaymentAttempt.objects.get(order_id=failed.order_id, number=2)
    assert cancel(api, living).json()["state"] == "cancelled"


# Staff


def test_staff_cancel_anybodys_order_with_a_reason(desk: Api, customer: User, item: StockItem) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    assert "reason" in problem(cancel(desk, attempt), 422, "reason_required")["detail"]
    assert is_untouched(attempt)
    answer = cancel(desk, attempt, {"reason": "The customer called"})
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert steps(attempt)[-1] == ("cancelled", "staff", "cancelled")
    entry = attempt.history.latest("number")
    assert entry.actor.startswith("staff:")
    assert entry.evidence == {"reason": "The customer called"}


def test_staff_that_give_up_an_order_after_a_failure_are_on_record(
    desk: Api, staff: User, failed: PaymentAttempt
) -> None:
    for _ in range(2):
        assert cancel(desk, failed, {"reason": "The customer called"}).status_code == 200
    row = StaffAction.objects.get()
    assert (row.actor, row.action, row.reason) == (f"staff:{staff.id}", "cancel_order", "The customer called")
    assert row.order_id == failed.order_id


def test_staff_that_come_too_late_are_on_record(desk: Api, customer: User, item: StockItem) -> None:
    attempt = due_order(customer, item)
    problem(cancel(desk, attempt, {"reason": "The customer called"}), 410, "payment_expired")
    assert steps(attempt)[-1] == ("expired", "staff", "window_closed")
    assert StaffAction.objects.get().reason == "The customer called"


def test_an_order_that_expired_after_a_failure_says_so(api: Api, failed: PaymentAttempt) -> None:
    factories.age_attempt(failed.id, seconds_left=-1)
    assert lifecycle.sweep_expired().expired_orders == 1
    problem(cancel(api, failed), 410, "payment_expired")


@pytest.mark.parametrize("reason", ["", "   ", "no", " no ", "x" * 501, "two\nlines", "rub\x7fout", 7])
def test_a_reason_that_nobody_can_read_is_refused(desk: Api, customer: User, item: StockItem, reason: object) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    assert "reason" in problem(cancel(desk, attempt, {"reason": reason}), 422, "invalid_request")["detail"]
    assert is_untouched(attempt)
