"""Retries: a new attempt with a new key and a full window, and every reason why there is none."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pgtrigger
import pytest
from django.contrib.auth.models import User
from django.db.models import F
from pytest_django import Settings

from payments import clocks, config, lifecycle
from payments.domain.errors import NotFound, PaymentExpired, RetryRefused, UnsupportedMethod
from payments.domain.failures import REMEDIES, FailureCode, Remedy
from payments.domain.outcomes import Undoing, Undone
from payments.domain.states import AttemptState, OrderStatus, PaymentStatus
from payments.lifecycle import retry as retrying
from payments.lifecycle.retry import MESSAGES, NoRetry, Retryability
from payments.models import Order, PaymentAttempt, StockItem
from tests import doubts, factories
from tests.clocks import reading_at
from tests.contract.sandbox_server import SandboxProcess
from tests.doubts import PAID, asked, claim, close_window
from tests.factories import steps

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def failed(customer: User, item: StockItem, sandbox: SandboxProcess) -> PaymentAttempt:
    """An order's first attempt, declined."""
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token="tok_insufficient_funds")
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "failed"
    attempt.refresh_from_db()
    return attempt


def retry(attempt: PaymentAttempt, *, method: str | None = None) -> PaymentAttempt:
    order = Order.objects.get(id=attempt.order_id)
    return lifecycle.retry_order(order_id=order.order_id, customer_id=order.customer_id, method=method).attempt


def refusal(attempt: PaymentAttempt) -> tuple[object, object]:
    """(reason, attempts left) of a retry that is refused, and that changes nothing."""
    before = list(PaymentAttempt.objects.order_by("id").values())
    with pytest.raises(RetryRefused) as refused:
        retry(attempt)
    assert list(PaymentAttempt.objects.order_by("id").values()) == before
    return refused.value.facts["reason"], refused.value.facts["attempts_left"]


def test_a_failed_order_gets_a_new_attempt_with_a_full_window_and_pays_with_a_new_key(
    failed: PaymentAttempt, customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    factories.age_attempt(failed.id, seconds_left=60)
    second = retry(failed)
    assert (second.number, second.state, second.method) == (2, "open", "card")
    assert second.expires_at - second.opened_at == timedelta(minutes=15)
    order = Order.objects.get()
    assert (order.status, order.payment_status) == ("under_paying", "pending")
    assert order.payment_expires_at == second.expires_at
    assert factories.stock_of(item) == (100, 1, 0)  # Held once, as before.
    assert steps(second) == [("open", "customer", "opened")]
    factories.submit(second)
    assert lifecycle.charge_attempt(attempt_id=second.id) == "succeeded"
    keys = [row["idempotency_key"] for row in asked(sandbox, "authorize")]
    assert keys == [failed.public_id, second.public_id]
    assert sandbox.operations() == PAID
    assert factories.stock_of(item) == (99, 0, 1)
    assert steps(failed)[-1] == ("failed", "worker", "insufficient_funds")


@pytest.mark.breaks_invariants  # The first attempt's window is moved away from under its calls.
def test_the_order_lives_as_long_as_its_latest_attempt(failed: PaymentAttempt, item: StockItem) -> None:
    second = retry(failed)
    with pgtrigger.ignore("payments.PaymentAttempt:attempt_facts"):
        earlier = timedelta(minutes=20)
        PaymentAttempt.objects.filter(id=failed.id).update(
            opened_at=F("opened_at") - earlier, expires_at=F("expires_at") - earlier
        )
    assert lifecycle.sweep_expired().expired_orders == 0
    close_window(second.id, seconds_ago=0)
    assert lifecycle.sweep_expired().expired_orders == 1
    assert factories.stock_of(item) == (100, 0, 0)


def test_a_third_failure_is_the_last(failed: PaymentAttempt, item: StockItem, sandbox: SandboxProcess) -> None:
    attempt = failed
    for number in (2, 3):
        attempt = retry(attempt)
        assert attempt.number == number
        factories.submit(attempt, token="tok_declined")
        assert lifecycle.charge_attempt(attempt_id=attempt.id) == "failed"
    assert refusal(attempt) == ("no_attempts_left", 0)
    assert sandbox.operations() == []
    close_window(attempt.id, seconds_ago=0)
    assert lifecycle.sweep_expired().expired_orders == 1
    assert factories.stock_of(item) == (100, 0, 0)


def test_what_would_only_fail_again_is_not_tried(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token="tok_stolen_card")
    lifecycle.charge_attempt(attempt_id=attempt.id)
    assert refusal(attempt) == ("not_retryable", 0)


@pytest.mark.parametrize("is_swept", [True, False])
@pytest.mark.parametrize("is_failed", [True, False])
def test_an_expired_order_is_never_tried_again(
    customer: User, item: StockItem, sandbox: SandboxProcess, is_swept: bool, is_failed: bool
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token="tok_declined")
    if is_failed:
        lifecycle.charge_attempt(attempt_id=attempt.id)
    close_window(attempt.id, seconds_ago=0)
    if is_swept:
        lifecycle.sweep_expired()
    for _ in range(2):
        with pytest.raises(PaymentExpired) as expired:
            retry(attempt)
        assert expired.value.facts["attempts_left"] == 0
    assert Order.objects.get().payment_status == "expired"  # Nobody has to wait for the sweep.
    assert factories.stock_of(item) == (100, 0, 0)
    assert PaymentAttempt.objects.count() == 1


def test_nothing_is_tried_again_while_an_attempt_lives_or_nobody_knows(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    in_progress = ("payment_in_progress", 2)
    attempt = factories.place_order(customer=customer, item=item)
    assert refusal(attempt) == in_progress
    factories.submit(attempt)
    assert refusal(attempt) == in_progress
    claim(attempt)
    assert refusal(attempt) == in_progress
    sandbox.behave("unavailable", operation="all")
    assert doubts.resolve(attempt) == "in_doubt"
    assert refusal(attempt) == in_progress
    close_window(attempt.id, seconds_ago=1)
    assert refusal(attempt) == in_progress  # Unknown is not expired: no second charge, and no closed order either.
    doubts.age_doubt(attempt, hours=24)
    assert doubts.resolve(attempt) == "needs_review"
    assert refusal(attempt) == in_progress
    hosted = factories.submit(factories.place_order(customer=customer, item=item), token="tok_hosted")
    sandbox.behave_normally()
    assert lifecycle.charge_attempt(attempt_id=hosted.id) == "confirming"
    assert refusal(hosted) == in_progress


def test_a_doubt_that_ended_without_money_may_be_tried_again(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    call = claim(attempt)
    assert lifecycle.record_outcome(call=call, outcome=Undone(Undoing.BARRED, None)).state == "failed"
    assert retry(attempt).number == 2


def test_a_paid_order_is_not_tried_again(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    lifecycle.charge_attempt(attempt_id=attempt.id)
    assert refusal(attempt) == ("order_paid", 0)


def test_stock_is_not_held_for_more_than_a_day(failed: PaymentAttempt, sandbox: SandboxProcess) -> None:
    def age_order(*, to: timedelta) -> None:
        with pgtrigger.ignore("payments.Order:order_facts"):
            Order.objects.update(created_at=clocks.database_now() - to)

    method = config.payment_method("card")
    age_order(to=timedelta(hours=24) - method.window - method.grace + timedelta(seconds=1))
    assert refusal(failed) == ("held_too_long", 2)
    age_order(to=timedelta(hours=24) - method.window - method.grace - timedelta(minutes=1))
    assert retry(failed).number == 2


def test_only_the_customer_retries_and_only_by_a_method_that_is_offered(
    failed: PaymentAttempt, other: User, settings: Settings
) -> None:
    order_id = Order.objects.get().order_id
    with pytest.raises(NotFound):
        lifecycle.retry_order(order_id=order_id, customer_id=other.id)
    with pytest.raises(NotFound):
        lifecycle.retry_order(order_id="ORD-UNKNOWN", customer_id=failed.customer_id)
    with pytest.raises(UnsupportedMethod):
        retry(failed, method="beads")
    assert PaymentAttempt.objects.count() == 1
    settings.PAYMENT_METHODS = {"card": {"gateway": "sandbox"}, "bank": {"gateway": "sandbox", "window_minutes": 30}}
    second = retry(failed, method="bank")
    assert (second.method, second.expires_at - second.opened_at) == ("bank", timedelta(minutes=30))


# The judgement itself, for a reader: every reason, and the order in which they are asked.

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def judged(
    change: Callable[[Order, PaymentAttempt], None] = lambda *_: None, *, number: int = 1, now: datetime = NOW
) -> Retryability:
    """Judge an order whose attempt failed a minute ago, with `change`d columns."""
    order = Order(
        status=OrderStatus.UNDER_PAYING,
        payment_status=PaymentStatus.FAILED,
        payment_expires_at=NOW + timedelta(minutes=14),
        created_at=NOW - timedelta(minutes=1),
    )
    last = PaymentAttempt(
        state=AttemptState.FAILED,
        failure_code=FailureCode.DECLINED,
        number=number,
        opened_at=NOW - timedelta(minutes=1),
        expires_at=NOW + timedelta(minutes=14),
        opened_stamp=reading_at(NOW - timedelta(minutes=1)).as_stamp(),
    )
    change(order, last)
    return retrying._judge(
        order=order, last=last, reading=reading_at(now), method=partial(config.payment_method, "card")
    )


def test_every_failure_code_is_tried_again_unless_it_would_only_fail_again() -> None:
    for code in FailureCode:

        def with_code(_: Order, last: PaymentAttempt, code: FailureCode = code) -> None:
            last.failure_code = code

        is_refused = REMEDIES[code] is Remedy.NEVER
        expected = Retryability(0, NoRetry.NOT_RETRYABLE) if is_refused else Retryability(2, None)
        assert judged(with_code) == expected, code


def test_attempts_are_counted_down() -> None:
    assert [judged(number=number).attempts_left for number in (1, 2, 3)] == [2, 1, 0]
    assert judged(number=3).refused is NoRetry.NO_ATTEMPTS_LEFT


def test_the_window_ends_at_its_deadline() -> None:
    deadline = NOW + timedelta(minutes=14)
    assert judged(now=deadline - timedelta(microseconds=1)).refused is None
    assert judged(now=deadline).refused is NoRetry.EXPIRED


def test_a_cancelled_order_is_closed_and_every_reason_has_its_sentence() -> None:
    def cancel(order: Order, last: PaymentAttempt) -> None:
        order.status, order.payment_status = OrderStatus.CANCELLED, PaymentStatus.CANCELLED
        last.state = AttemptState.CANCELLED

    assert judged(cancel).refused is NoRetry.CLOSED
    assert set(MESSAGES) == set(NoRetry)
