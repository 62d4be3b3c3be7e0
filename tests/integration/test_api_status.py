"""Where a payment stands, over HTTP: the countdown contract, on every answer that says so."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import RequestFactory

from payments import lifecycle, queries
from payments.api import answers
from payments.api.schemas import AttemptOut
from payments.models import PaymentAttempt, StockItem
from payments.queries import AttemptView
from payments.standing import Payment
from tests import factories
from tests.contract.sandbox_server import SandboxProcess
from tests.factories import steps
from tests.integration.api_client import Api, problem
from tests.overdue import due_order

pytestmark = pytest.mark.django_db(transaction=True)

COUNTDOWN = {
    "server_now",
    "expires_at",
    "time_remaining_seconds",
    "is_payment_window_active",
    "can_pay",
    "can_retry",
    "attempts_left",
    "retry_after_seconds",
    "message",
}
ORDER_ID = "ORD-ABC123"


def paths(attempt: PaymentAttempt) -> list[str]:
    """Every address that says where this payment stands."""
    return [
        f"/api/payments/{attempt.public_id}/",
        f"/api/payments/status/?payment_id={attempt.public_id}",
        f"/api/payments/status/?order_id={ORDER_ID}",
        f"/api/orders/payment-status/{ORDER_ID}/",
    ]


def read(api: Api, path: str) -> dict[str, Any]:
    answer = api.get(path)
    assert answer.status_code == 200, answer.content
    content: dict[str, Any] = answer.json()
    assert content.keys() >= COUNTDOWN
    assert answer["Cache-Control"] == "no-store"
    hint = content["retry_after_seconds"]
    assert answer.get("Retry-After") == (None if hint is None else str(hint))
    return content


def may(content: dict[str, Any]) -> tuple[bool, bool, bool, int]:
    return (
        content["is_payment_window_active"],
        content["can_pay"],
        content["can_retry"],
        content["attempts_left"],
    )


@pytest.fixture
def attempt(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.place_order(customer=customer, item=item, order_id=ORDER_ID)


def test_an_open_payment_counts_down(api: Api, attempt: PaymentAttempt) -> None:
    for path in paths(attempt):
        content = read(api, path)
        assert may(content) == (True, True, False, 2)
        left = datetime.fromisoformat(content["expires_at"]) - datetime.fromisoformat(content["server_now"])
        assert content["time_remaining_seconds"] == int(left.total_seconds())
        assert timedelta(minutes=5) < left <= timedelta(minutes=15)
        assert datetime.fromisoformat(content["expires_at"]) == attempt.expires_at
        assert content["retry_after_seconds"] == 5


def test_a_payment_that_is_being_made_cannot_be_paid_again(api: Api, attempt: PaymentAttempt) -> None:
    factories.submit(attempt)
    for path in paths(attempt):
        content = read(api, path)
        assert may(content) == (True, False, False, 2)
        assert content["retry_after_seconds"] == 1


def test_a_declined_payment_can_be_tried_again(api: Api, attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    factories.submit(attempt, token="tok_insufficient_funds")
    lifecycle.charge_attempt(attempt_id=attempt.id)
    *payments, order = (read(api, path) for path in paths(attempt))
    for content in payments:
        assert may(content) == (False, False, True, 2)
        assert (content["time_remaining_seconds"], content["retry_after_seconds"]) == (0, None)
    # The order still waits, for another payment.
    assert may(order) == (True, False, True, 2)
    assert (order["payment_status"], order["retry_after_seconds"]) == ("failed", 5)


def test_a_paid_order_has_nothing_to_wait_for(api: Api, attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    factories.submit(attempt)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "succeeded"
    for path in paths(attempt):
        content = read(api, path)
        assert may(content) == (False, False, False, 0)
        assert (content["time_remaining_seconds"], content["retry_after_seconds"]) == (0, None)


def test_past_the_deadline_all_say_the_same_before_and_after_the_sweep(api: Api, attempt: PaymentAttempt) -> None:
    factories.age_attempt(attempt.id, seconds_left=-1)
    for hint in (1, None):
        for path in paths(attempt):
            content = read(api, path)
            assert may(content) == (False, False, False, 0)
            assert (content["time_remaining_seconds"], content["retry_after_seconds"]) == (0, hint)
        lifecycle.sweep_expired()


def test_the_latest_payment_of_an_order_is_found_by_its_number(
    api: Api, attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    factories.submit(attempt, token="tok_insufficient_funds")
    lifecycle.charge_attempt(attempt_id=attempt.id)
    retried = api.post("/api/payments/retry/", {"payment_id": attempt.public_id}).json()
    assert retried["number"] == 2
    by_number, by_order = (read(api, path) for path in paths(attempt)[2:])
    assert by_number["id"] == by_order["payment_id"] == retried["id"]
    assert may(by_number) == may(by_order) == (True, True, False, 1)


@pytest.mark.parametrize(
    "asked", ["", "?payment_id=pay_1&order_id=ORD-1", "?order=ORD-1", "?order_id=", "?order_id=a%00b"]
)
def test_a_question_about_nothing_or_two_things_is_refused(api: Api, asked: str) -> None:
    problem(api.get(f"/api/payments/status/{asked}"), 422, "invalid_request")


@pytest.mark.parametrize("number", ["a%00b", "%00", "x" * 500])
def test_a_number_that_no_order_can_have_is_404(api: Api, number: str) -> None:
    nothing = api.get("/api/orders/payment-status/ORD-NONE/").content
    read = api.get(f"/api/orders/payment-status/{number}/")
    checked = api.post(f"/api/orders/check-payment/{number}/", "")
    for answer in (read, checked):
        problem(answer, 404, "not_found")
        assert answer.content == nothing


@pytest.mark.parametrize("asked", ["payment_id=pay_1", "order_id=ORD-NONE"])
def test_a_question_about_what_is_not_there_is_404(api: Api, asked: str) -> None:
    problem(api.get(f"/api/payments/status/?{asked}"), 404, "not_found")


# The payment timer's own fields


def test_the_payment_timer_answers_with_the_fields_that_its_front_ends_know(api: Api, attempt: PaymentAttempt) -> None:
    path = paths(attempt)[3]
    active = read(api, path)
    assert datetime.fromisoformat(active.pop("payment_expires_at")) == attempt.expires_at
    known = {
        "order_id": ORDER_ID,
        "status": "under_paying",
        "payment_status": "pending",
        "is_payment_window_active": True,
        "message": "Payment window is still active",
    }
    assert {name: active[name] for name in known} == known
    factories.age_attempt(attempt.id, seconds_left=-1)
    over = read(api, path)
    assert "payment_expires_at" not in over
    known |= {
        "is_payment_window_active": False,
        "time_remaining_seconds": 0,
        "message": "Payment window has expired. Order will be cancelled automatically.",
    }
    assert {name: over[name] for name in known} == known


# ETags


def test_nothing_new_is_304_and_anything_new_is_not(api: Api, attempt: PaymentAttempt) -> None:
    for path in paths(attempt):
        first, second = api.get(path), api.get(path)
        assert first["ETag"] == second["ETag"]
        assert first.json()["server_now"] != second.json()["server_now"]
        same = api.client.get(path, headers={"If-None-Match": f'"other", {first["ETag"]}'})
        assert (same.status_code, same.content, same["ETag"]) == (304, b"", first["ETag"])
        assert (same["Cache-Control"], same["Retry-After"]) == ("no-store", "5")
    etags = {path: api.get(path)["ETag"] for path in paths(attempt)}
    factories.submit(attempt)
    for path, etag in etags.items():
        changed = api.client.get(path, headers={"If-None-Match": etag})
        assert (changed.status_code, changed.json()["can_pay"]) == (200, False)


@pytest.mark.parametrize(("header", "status"), [("*", 304), ('"x"', 200), ("nonsense", 200), ("", 200)])
def test_other_tags_than_ours(api: Api, attempt: PaymentAttempt, header: str, status: int) -> None:
    path = paths(attempt)[0]
    assert api.client.get(path, headers={"If-None-Match": header}).status_code == status
    assert api.client.get(path, headers={"If-Match": header}).status_code == 200


def etag_of(view: AttemptView, *, seconds_later: float) -> str:
    """The tag of the same row, when every clock has moved on."""
    reading = view.reading._replace(
        now=view.reading.now + timedelta(seconds=seconds_later),
        boottime_seconds=view.reading.boottime_seconds + seconds_later,
        wall=view.reading.wall + seconds_later,
    )
    later = AttemptView(attempt=view.attempt, reading=reading)
    return str(answers.send_status(RequestFactory().get("/"), AttemptOut.of(Payment.of(later)))["ETag"])


def test_the_end_of_the_window_is_news_although_nothing_was_written(attempt: PaymentAttempt) -> None:
    view = queries.attempt_for(attempt_id=attempt.id, customer_id=None)
    now, a_minute_later, over = (etag_of(view, seconds_later=seconds) for seconds in (0, 60, 901))
    assert now == a_minute_later != over


def test_that_nothing_is_going_to_change_is_news_too(api: Api, attempt: PaymentAttempt) -> None:
    """Or whoever asked between the deadline and the sweep would go on asking for ever."""
    factories.age_attempt(attempt.id, seconds_left=-1)
    etags = {path: api.get(path)["ETag"] for path in paths(attempt)}
    assert lifecycle.sweep_expired().expired_orders == 1
    for path, etag in etags.items():
        ended = api.client.get(path, headers={"If-None-Match": etag})
        assert (ended.status_code, ended.json()["retry_after_seconds"]) == (200, None)


def test_an_etag_opens_nobodys_payment(
    api: Api, attempt: PaymentAttempt, other: User, token_for: Callable[[User], str]
) -> None:
    for path in paths(attempt):
        etag = api.get(path)["ETag"]
        stranger = Api(token_for(other)).client.get(path, headers={"If-None-Match": etag})
        problem(stranger, 404, "not_found")


# Having somebody find out


def check(api: Api) -> dict[str, Any]:
    answer = api.post(f"/api/orders/check-payment/{ORDER_ID}/", "")
    assert answer.status_code == 202, answer.content
    content: dict[str, Any] = answer.json()
    assert content.keys() >= COUNTDOWN
    return content


@pytest.mark.parametrize("body", ["", "{}"])
def test_a_payment_whose_end_is_known_is_not_asked_about(api: Api, attempt: PaymentAttempt, body: str) -> None:
    answer = api.post(f"/api/orders/check-payment/{ORDER_ID}/", body).json()
    assert (answer["is_asking"], answer["can_pay"]) == (False, True)
    assert steps(attempt)[-1][0] == "open"


def test_a_payment_in_doubt_is_asked_about_soon_and_not_twice(
    api: Api, attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    factories.submit(attempt, token="tok_reset_after")
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    assert check(api)["is_asking"] is False  # Its call has just ended.
    factories.age_attempt(attempt.id, seconds_left=600)
    PaymentAttempt.objects.filter(id=attempt.id).update(due_at=attempt.expires_at)
    asked = check(api)
    assert (asked["is_asking"], asked["can_pay"]) == (True, False)
    assert check(api)["is_asking"] is False
    assert lifecycle.resolve_attempt(attempt_id=attempt.id) == "succeeded"
    assert check(api)["status"] == "paid"


def test_a_stranger_has_nothing_found_out(
    attempt: PaymentAttempt, other: User, token_for: Callable[[User], str]
) -> None:
    stranger = Api(token_for(other))
    theirs, nothing = (stranger.post(f"/api/orders/check-payment/{number}/", "") for number in (ORDER_ID, "ORD-NONE"))
    problem(theirs, 404, "not_found")
    assert theirs.content == nothing.content


def test_a_late_order_is_still_to_be_checked(api: Api, customer: User, item: StockItem) -> None:
    due_order(customer, item, ORDER_ID)
    assert may(check(api)) == (False, False, False, 0)
