"""Trying again over HTTP: what a status says of it in every state, and every reason for which it is refused."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from payments import lifecycle, queries
from payments.lifecycle.retry import MESSAGES, NoRetry
from payments.models import Order, PaymentAttempt, StockItem
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.integration.api_client import Api, problem
from tests.integration.test_idempotency import KeyedApi, is_replayed

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/api/payments/retry/"
RETRY = {"order_id": "ORD-1"}


@pytest.fixture
def attempt(customer: User, item: StockItem, sandbox: SandboxProcess, settings: Settings) -> PaymentAttempt:
    """The first attempt of ORD-1; calls to the gateway end after a second."""
    settings.PAYMENT_GATEWAY_TOTAL_SECONDS = 1
    return factories.place_order(customer=customer, item=item, order_id="ORD-1")


def charge(attempt: PaymentAttempt, *, token: str) -> PaymentAttempt:
    factories.submit(attempt, token=token)
    lifecycle.charge_attempt(attempt_id=attempt.id)
    attempt.refresh_from_db()
    return attempt


def decline(attempt: PaymentAttempt, *, token: str = "tok_insufficient_funds") -> PaymentAttempt:
    assert charge(attempt, token=token).state == "failed"
    return attempt


def decline_again(api: Api) -> PaymentAttempt:
    """Open the next attempt over HTTP and let the bank decline it too."""
    answer = api.post(PATH, RETRY)
    assert answer.status_code == 201, answer.content
    return decline(PaymentAttempt.objects.get(id=UUID(answer.json()["id"].removeprefix("pay_"))))


def read(api: Api, attempt: PaymentAttempt) -> dict[str, Any]:
    answer = api.get(f"/api/payments/{attempt.public_id}/")
    assert answer.status_code == 200
    return dict(answer.json())


def retry_fields(status: dict[str, Any]) -> tuple[bool, str | None, int]:
    return status["can_retry"], status["retry_refused"], status["attempts_left"]


def states() -> list[str]:
    return list(PaymentAttempt.objects.order_by("number").values_list("state", flat=True))


# Trying again


def test_a_failed_payment_is_tried_again_with_a_full_window_and_paid(
    api: Api, attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    factories.age_attempt(attempt.id, seconds_left=100)
    decline(attempt)
    assert factories.stock_of(item) == (100, 1, 0)
    answer = api.post(PATH, RETRY)
    assert answer.status_code == 201
    again = answer.json()
    assert (again["order_id"], again["number"], again["state"], again["can_pay"]) == ("ORD-1", 2, "open", True)
    assert again["id"] != attempt.public_id
    assert 895 <= again["time_remaining_seconds"] <= 900
    assert retry_fields(again) == (False, "payment_in_progress", 1)
    assert factories.stock_of(item) == (100, 1, 0)
    order = api.get("/api/orders/payment-status/ORD-1/").json()
    assert (order["payment_status"], order["is_payment_window_active"]) == ("pending", True)
    assert order["payment_expires_at"] == again["expires_at"]

    second = PaymentAttempt.objects.get(number=2)
    assert charge(second, token="tok_visa").state == "succeeded"
    assert factories.stock_of(item) == (99, 0, 1)
    assert sandbox.operations() == [("authorize", 1250), ("capture", 1250)]
    assert {row["idempotency_key"] for row in doubts.asked(sandbox, "authorize")} == {
        attempt.public_id,
        second.public_id,
    }


def test_another_method_gives_the_new_attempt_its_own_window(
    api: Api, attempt: PaymentAttempt, settings: Settings
) -> None:
    settings.PAYMENT_METHODS = settings.PAYMENT_METHODS | {"wallet": {"gateway": "sandbox", "window_minutes": 5}}
    decline(attempt)
    answer = api.post(PATH, RETRY | {"payment_method": "wallet"})
    assert (answer.status_code, answer.json()["payment_method"]) == (201, "wallet")
    assert 295 <= answer.json()["time_remaining_seconds"] <= 300


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (RETRY | {"payment_method": "cheque"}, "unsupported_method"),
        (RETRY | {"payment_method": 7}, "invalid_request"),
        (RETRY | {"expires_at": "2099-01-01T00:00:00Z"}, "invalid_request"),
        ({"order_id": "../etc"}, "invalid_request"),
        ({}, "invalid_request"),
    ],
)
def test_a_bad_retry_is_refused_and_opens_nothing(
    api: Api, attempt: PaymentAttempt, body: dict[str, Any], code: str
) -> None:
    decline(attempt)
    problem(api.post(PATH, body), 422, code)
    assert states() == ["failed"]


def test_only_the_customer_tries_again(
    attempt: PaymentAttempt, other: User, staff: User, token_for: Callable[[User], str]
) -> None:
    decline(attempt)
    problem(Api(None).post(PATH, RETRY), 401, "not_authenticated")
    for user in (other, staff):
        api = Api(token_for(user))
        theirs, nothing = api.post(PATH, RETRY), api.post(PATH, {"order_id": "ORD-NONE"})
        problem(theirs, 404, "not_found")
        assert theirs.content == nothing.content
    assert states() == ["failed"]


# Every reason against it


def make_paid(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    assert charge(attempt, token="tok_visa").state == "succeeded"


def make_blocked(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    decline(attempt, token="tok_stolen_card")


def make_doubtful(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    assert charge(attempt, token="tok_reset_after").state == "in_doubt"


def make_doubtful_and_late(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    make_doubtful(attempt, sandbox)
    doubts.close_window(attempt.id, seconds_ago=1)


def make_reviewed(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    make_doubtful(attempt, sandbox)
    doubts.put_under_review(attempt, sandbox)


def leave_open(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    pass


def leave_queued(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    factories.submit(attempt)


Prepare = Callable[[PaymentAttempt, SandboxProcess], None]


@pytest.mark.parametrize(
    ("prepare", "reason", "left"),
    [
        (make_paid, NoRetry.PAID, 0),
        (leave_open, NoRetry.UNRESOLVED, 2),
        (leave_queued, NoRetry.UNRESOLVED, 2),
        (make_doubtful, NoRetry.UNRESOLVED, 2),
        (make_doubtful_and_late, NoRetry.UNRESOLVED, 2),
        (make_reviewed, NoRetry.UNRESOLVED, 2),
        (make_blocked, NoRetry.NOT_RETRYABLE, 0),
    ],
)
def test_a_refused_retry_says_why_and_opens_nothing(
    api: Api, attempt: PaymentAttempt, sandbox: SandboxProcess, prepare: Prepare, reason: NoRetry, left: int
) -> None:
    prepare(attempt, sandbox)
    assert retry_fields(read(api, attempt)) == (False, reason, left)
    content = problem(api.post(PATH, RETRY), 409, "retry_refused")
    assert (content["reason"], content["attempts_left"]) == (reason, left)
    assert content["detail"].startswith(MESSAGES[reason])
    assert len(states()) == 1


def test_the_third_failure_is_the_last(api: Api, attempt: PaymentAttempt, item: StockItem) -> None:
    decline(attempt)
    assert retry_fields(read(api, attempt)) == (True, None, 2)
    second = decline_again(api)
    assert retry_fields(read(api, second)) == (True, None, 1)
    third = decline_again(api)
    assert retry_fields(read(api, third)) == (False, "no_attempts_left", 0)
    content = problem(api.post(PATH, RETRY), 409, "retry_refused")
    assert (content["reason"], content["attempts_left"]) == ("no_attempts_left", 0)
    assert states() == ["failed"] * 3
    assert factories.stock_of(item) == (100, 1, 0)


def test_an_earlier_attempt_tells_what_holds_for_its_order_now(api: Api, attempt: PaymentAttempt) -> None:
    """Somebody reloads the page of the first attempt."""
    decline(attempt)
    second = PaymentAttempt.objects.get(number=api.post(PATH, RETRY).json()["number"])
    assert retry_fields(read(api, attempt)) == (False, "payment_in_progress", 1)
    decline(second)
    assert retry_fields(read(api, attempt)) == (True, None, 1)
    decline_again(api)
    assert retry_fields(read(api, attempt)) == (False, "no_attempts_left", 0)
    assert read(api, attempt)["failure"]["code"] == "insufficient_funds"


def test_a_payment_that_nobody_may_try_again_says_so_of_an_earlier_attempt_too(
    api: Api, attempt: PaymentAttempt
) -> None:
    decline(attempt)
    api.post(PATH, RETRY)
    decline(PaymentAttempt.objects.get(number=2), token="tok_stolen_card")
    assert retry_fields(read(api, attempt)) == (False, "not_retryable", 0)


def test_an_order_is_not_held_for_more_than_a_day_unless_another_method_is_shorter(
    api: Api, attempt: PaymentAttempt, settings: Settings
) -> None:
    wallet = {"gateway": "sandbox", "window_minutes": 5}
    settings.PAYMENT_METHODS = {"card": {"gateway": "sandbox", "window_minutes": 1440}, "wallet": wallet}
    decline(attempt)
    assert retry_fields(read(api, attempt)) == (False, "held_too_long", 2)
    content = problem(api.post(PATH, RETRY), 409, "retry_refused")
    assert (content["reason"], content["attempts_left"]) == ("held_too_long", 2)
    assert api.post(PATH, RETRY | {"payment_method": "wallet"}).status_code == 201


@pytest.mark.breaks_invariants
def test_an_order_that_was_closed_otherwise_is_not_tried_again(api: Api, attempt: PaymentAttempt) -> None:
    decline(attempt)
    Order.objects.update(status="cancelled", payment_status="cancelled", closed_at=attempt.closed_at)
    assert retry_fields(read(api, attempt)) == (False, "order_closed", 0)
    content = problem(api.post(PATH, RETRY), 409, "retry_refused")
    assert (content["reason"], content["attempts_left"]) == ("order_closed", 0)
    assert states() == ["failed"]


def fail_and_run_out(attempt: PaymentAttempt) -> str:
    decline(attempt)
    factories.age_attempt(attempt.id, seconds_left=-1)
    return "failed"


def run_out(attempt: PaymentAttempt) -> str:
    factories.age_attempt(attempt.id, seconds_left=-1)
    return "expired"


def run_out_and_be_swept(attempt: PaymentAttempt) -> str:
    run_out(attempt)
    assert lifecycle.sweep_expired().expired_orders == 1
    return "expired"


def fail_and_be_swept(attempt: PaymentAttempt) -> str:
    fail_and_run_out(attempt)
    assert lifecycle.sweep_expired().expired_orders == 1
    return "failed"


@pytest.mark.parametrize("end", [fail_and_run_out, run_out, run_out_and_be_swept, fail_and_be_swept])
def test_after_the_window_a_retry_is_410_and_the_order_is_cancelled_for_good(
    api: Api, attempt: PaymentAttempt, item: StockItem, end: Callable[[PaymentAttempt], str]
) -> None:
    state = end(attempt)
    assert retry_fields(read(api, attempt)) == (False, "payment_expired", 0)
    content = problem(api.post(PATH, RETRY), 410, "payment_expired")
    assert (content["payment_id"], content["attempts_left"]) == (attempt.public_id, 0)
    assert content["expires_at"]
    assert states() == [state]
    order = Order.objects.get()
    assert (order.status, order.payment_status) == ("cancelled", "expired")
    assert factories.stock_of(item) == (100, 0, 0)
    problem(api.post(PATH, RETRY), 410, "payment_expired")


def test_every_reason_against_a_retry_has_its_sentence_and_its_test() -> None:
    assert set(MESSAGES) == set(NoRetry)
    assert len(set(MESSAGES.values())) == len(NoRetry)
    # A new reason needs a test above.
    tested = {"order_paid", "order_closed", "payment_expired", "payment_in_progress", "not_retryable"}
    assert {reason.value for reason in NoRetry} == tested | {"no_attempts_left", "held_too_long"}


def test_money_that_goes_back_is_not_denied_by_a_refused_retry(
    api: Api, attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    """The gateway took the money and gave it back by itself: neither answer may say that nothing was charged."""
    sandbox.behave("reset_after", operation="capture", times=1)
    assert charge(attempt, token="tok_visa").state == "in_doubt"
    (taken,) = sandbox.ledger()["charges"]
    assert sandbox.post(f"charges/{taken['id']}/refund", key="by-hand").status_code == 200
    assert doubts.resolve(attempt) == "failed"
    status = read(api, attempt)
    assert status["failure"]["code"] == "given_back"
    assert status["message"] == "Your payment could not be accepted. The money has been given back to you."
    content = problem(api.post(PATH, RETRY), 409, "retry_refused")
    assert content["reason"] == "not_retryable"
    assert "goes back" in content["detail"]
    assert "not been charged" not in content["detail"]


# Again under the same key


def test_a_repeated_retry_is_answered_byte_for_byte_and_opens_one_attempt(
    attempt: PaymentAttempt, customer: User, token_for: Callable[[User], str]
) -> None:
    decline(attempt)
    api = KeyedApi(token_for(customer))
    first, second = api.post(PATH, RETRY), api.post(PATH, RETRY)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert (is_replayed(first), is_replayed(second)) == (False, True)
    assert states() == ["failed", "open"]
    problem(api.post(PATH, RETRY, key=str(uuid4())), 409, "retry_refused")


def test_a_refused_retry_is_repeated_too(
    attempt: PaymentAttempt, customer: User, token_for: Callable[[User], str]
) -> None:
    api = KeyedApi(token_for(customer))
    first = api.post(PATH, RETRY)
    assert problem(first, 409, "retry_refused")["reason"] == "payment_in_progress"
    decline(attempt)  # From now on it would be accepted.
    second = api.post(PATH, RETRY)
    assert (second.status_code, second.content, is_replayed(second)) == (409, first.content, True)
    assert states() == ["failed"]
    assert api.post(PATH, RETRY, key=str(uuid4())).status_code == 201


# What a status says


def test_a_doubt_tells_its_code_and_asks_the_customer_to_wait(
    api: Api, attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    make_doubtful(attempt, sandbox)
    status = read(api, attempt)
    assert (status["state"], status["doubt_code"], status["failure"]) == ("in_doubt", "gateway_error", None)
    assert "We are finding out whether you were charged. Please do not pay again" in status["message"]
    doubts.put_under_review(attempt, sandbox)
    reviewed = read(api, attempt)
    assert (reviewed["state"], reviewed["doubt_code"], reviewed["failure"]) == ("needs_review", "gateway_error", None)
    assert "Please do not pay again" in reviewed["message"]


@pytest.mark.parametrize("prepare", [leave_open, leave_queued, make_paid, make_blocked])
def test_where_nothing_is_in_doubt_no_doubt_is_told(
    api: Api, attempt: PaymentAttempt, sandbox: SandboxProcess, prepare: Prepare
) -> None:
    prepare(attempt, sandbox)
    assert read(api, attempt)["doubt_code"] is None


def test_a_resolved_doubt_is_none_any_more(api: Api, attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    make_doubtful(attempt, sandbox)
    assert doubts.resolve(attempt) == "succeeded"
    status = read(api, attempt)
    assert (status["doubt_code"], status["message"]) == (None, "Your payment was received. Thank you.")


def test_a_read_of_the_latest_attempt_costs_few_queries(attempt: PaymentAttempt, customer: User) -> None:
    """Front ends ask every second."""

    def queries_made() -> int:
        with CaptureQueriesContext(connection) as made:
            view = queries.attempt_for(attempt_id=attempt.id, customer_id=customer.id)
            lifecycle.retryability(view)
        return len(made)

    assert queries_made() == 1  # The attempt with its order.
    decline(attempt)
    assert queries_made() == 3  # What goes back of one that has ended, and the policy that a retry would have.
