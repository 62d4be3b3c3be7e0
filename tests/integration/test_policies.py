"""Policies of payment methods: what an opening and a retry make of them, and what a change leaves alone."""

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, ProgrammingError
from pytest_django import Settings

from payments import config, invariants, lifecycle, policies
from payments.domain.errors import RetryRefused
from payments.domain.outcomes import Authorized
from payments.gateways import registry
from payments.lifecycle.calls import make_call
from payments.lifecycle.charge import run_calls
from payments.lifecycle.claim import NotClaimed
from payments.models import GatewayCall, HistoryEntry, Order, PaymentAttempt, PaymentMethodPolicy, StockItem
from tests import doubts, factories
from tests.contract.sandbox_server import API_KEY, SandboxProcess
from tests.doubts import GIVEN_BACK, HELD, LET_GO, PAID, claim, close_window

pytestmark = pytest.mark.django_db(transaction=True)


def policy(**wishes: int | None) -> PaymentMethodPolicy:
    return PaymentMethodPolicy.objects.update_or_create(method="card", defaults=wishes)[0]


def window_minutes(attempt: PaymentAttempt) -> float:
    return (attempt.expires_at - attempt.opened_at).total_seconds() / 60


def stamped(attempt: PaymentAttempt) -> tuple[float, int, int]:
    attempt.refresh_from_db()
    return window_minutes(attempt), attempt.grace_seconds, attempt.late_allowance_seconds


# What an opening makes of it.


def test_an_attempt_is_opened_as_the_policy_says_from_the_next_opening_on(customer: User, item: StockItem) -> None:
    before = factories.place_order(customer=customer, item=item)
    policy(window_minutes=40, grace_seconds=0, late_allowance_seconds=60)
    after = factories.place_order(customer=customer, item=item)
    PaymentMethodPolicy.objects.all().delete()
    last = factories.place_order(customer=customer, item=item)
    assert [stamped(each) for each in (before, after, last)] == [(15, 30, 300), (40, 0, 60), (15, 30, 300)]
    assert after.order.payment_expires_at == after.expires_at


def test_the_history_says_under_which_terms_it_was_opened(customer: User, item: StockItem) -> None:
    policy(window_minutes=2000, grace_seconds=10)
    attempt = factories.place_order(customer=customer, item=item)
    assert HistoryEntry.objects.get(attempt=attempt).evidence == {
        "expires_at": attempt.expires_at.isoformat(),
        "window_minutes": 1440,
        "grace_seconds": 10,
        "late_allowance_seconds": 300,
        "clamped": [
            {
                "name": "window_minutes",
                "wished": 2000,
                "holds": 1440,
                "reason": "stock is not held longer than a day",
            }
        ],
    }


def test_the_gateway_has_a_say_in_the_window(
    customer: User, item: StockItem, sandbox: SandboxProcess, settings: Settings
) -> None:
    settings.PAYMENT_GATEWAYS = {
        "sandbox": {"url": sandbox.url, "api_key": API_KEY, "longest_window_seconds": "1200"},
    }
    registry.close_gateways()
    policy(window_minutes=60)
    attempt = factories.place_order(customer=customer, item=item)
    assert window_minutes(attempt) == 20
    (clamp,) = HistoryEntry.objects.get(attempt=attempt).evidence["clamped"]
    assert clamp["reason"] == "the gateway takes no payment that lives longer than 1200 s"


def test_a_policy_of_another_method_is_none_of_its_business(customer: User, item: StockItem) -> None:
    PaymentMethodPolicy.objects.create(method="upi", window_minutes=60)
    assert stamped(factories.place_order(customer=customer, item=item)) == (15, 30, 300)


def test_the_lead_of_a_reminder_stays_inside_the_window() -> None:
    def lead_minutes() -> int:
        return policies.in_force(config.payment_method("card")).method.reminder_lead_minutes

    assert lead_minutes() == 5
    policy(window_minutes=5)
    assert lead_minutes() == 4
    policy(window_minutes=10, reminder_lead_minutes=0)
    assert lead_minutes() == 0


# What a retry makes of it.


@pytest.fixture
def declined(customer: User, item: StockItem, sandbox: SandboxProcess) -> PaymentAttempt:
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token="tok_declined")
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "failed"
    return attempt


def retry(attempt: PaymentAttempt) -> PaymentAttempt:
    order = attempt.order
    return lifecycle.retry_order(order_id=order.order_id, customer_id=order.customer_id).attempt


def test_a_retry_is_opened_as_the_policy_says_by_then(declined: PaymentAttempt) -> None:
    policy(window_minutes=30, grace_seconds=5, late_allowance_seconds=7)
    second = retry(declined)
    assert (stamped(declined), stamped(second)) == ((15, 30, 300), (30, 5, 7))
    assert Order.objects.get().payment_expires_at == second.expires_at


def test_a_retry_whose_window_would_hold_the_stock_for_more_than_a_day_is_refused(
    declined: PaymentAttempt, customer: User
) -> None:
    """Three whole holds of a policy may be more than a day; each retry is asked whether it still fits."""
    policy(window_minutes=1440)
    with pytest.raises(RetryRefused) as refused:
        retry(declined)
    assert refused.value.facts["reason"] == "held_too_long"
    policy(window_minutes=1400)
    assert window_minutes(retry(declined)) == 1400


# What a change leaves alone.


def test_a_change_leaves_what_lives_alone(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    """Opened with 60 s of grace, and captured within them although nothing of it is left now."""
    policy(grace_seconds=60)
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    call = claim(attempt)
    outcome = make_call(call)
    policy(grace_seconds=0, late_allowance_seconds=0, window_minutes=5)
    close_window(attempt.id, seconds_ago=59)
    recorded = lifecycle.record_outcome(call=call, outcome=outcome)
    assert recorded.following is not None
    assert run_calls(recorded.following) == "succeeded"
    assert sandbox.operations() == PAID


def test_the_allowance_that_was_stamped_is_the_one_that_holds(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    policy(grace_seconds=10, late_allowance_seconds=20)
    attempts = [factories.submit(factories.place_order(customer=factories.make_user(), item=item)) for _ in range(2)]
    sandbox.behave("reset_after", operation="capture", times=2)
    for attempt in attempts:
        assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    policy(grace_seconds=300, late_allowance_seconds=3000)
    for attempt, seconds_ago, end in zip(attempts, (29, 30), ("succeeded", "expired"), strict=True):
        close_window(attempt.id, seconds_ago=seconds_ago)
        assert doubts.resolve(attempt) == end
    doubts.give_everything_back()
    assert sandbox.operations(reference=attempts[0].public_id) == PAID
    assert sandbox.operations(reference=attempts[1].public_id) == GIVEN_BACK


def test_what_was_stamped_is_not_changed(customer: User, item: StockItem) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    for column in ("grace_seconds", "late_allowance_seconds"):
        with pytest.raises(ProgrammingError, match="Cannot update rows"):
            PaymentAttempt.objects.filter(id=attempt.id).update(**{column: 299})


# Grace is for what began inside the window: with the longest there is, nothing begins in it.


@pytest.fixture
def gracious(customer: User, item: StockItem, sandbox: SandboxProcess) -> PaymentAttempt:
    policy(grace_seconds=300)
    return factories.submit(factories.place_order(customer=customer, item=item))


@pytest.mark.parametrize("seconds_ago", [0, 1, 299])
def test_no_claim_is_made_in_the_grace(gracious: PaymentAttempt, sandbox: SandboxProcess, seconds_ago: int) -> None:
    close_window(gracious.id, seconds_ago=seconds_ago)
    assert lifecycle.claim_attempt(attempt_id=gracious.id) is NotClaimed.EXPIRED
    gracious.refresh_from_db()
    assert gracious.state == "expired"
    assert not GatewayCall.objects.exists()
    assert doubts.operations_asked(sandbox) == []


@pytest.mark.parametrize(("seconds_ago", "end", "moved"), [(299, "succeeded", PAID), (300, "expired", LET_GO)])
def test_what_was_authorised_in_time_is_taken_in_the_grace_and_let_go_after_it(
    gracious: PaymentAttempt,
    sandbox: SandboxProcess,
    seconds_ago: int,
    end: str,
    moved: list[tuple[str, int]],
) -> None:
    call = claim(gracious)
    outcome = make_call(call)
    assert isinstance(outcome, Authorized)
    assert sandbox.operations() == HELD
    close_window(gracious.id, seconds_ago=seconds_ago)
    recorded = lifecycle.record_outcome(call=call, outcome=outcome)
    assert (recorded.state if recorded.following is None else run_calls(recorded.following)) == end
    doubts.give_everything_back()
    assert sandbox.operations() == moved


def test_each_capture_is_held_to_the_grace_of_its_own_attempt(
    gracious: PaymentAttempt, sandbox: SandboxProcess, settings: Settings
) -> None:
    """Taken 200 s after its window, which is late by what the settings and the policy say now, and was not then."""
    call = claim(gracious)
    outcome = make_call(call)
    close_window(gracious.id, seconds_ago=200)
    recorded = lifecycle.record_outcome(call=call, outcome=outcome)
    assert recorded.following is not None
    assert run_calls(recorded.following) == "succeeded"
    policy(grace_seconds=0)
    settings.PAYMENT_GRACE_SECONDS = 0
    assert list(invariants.broken()) == []


# What the database keeps.


@pytest.mark.parametrize(
    ("wishes", "constraint"),
    [
        ({"window_minutes": 0}, "policy_window_positive"),
        ({"window_minutes": -1}, "window_minutes_check"),
        ({"grace_seconds": -1}, "grace_seconds_check"),
        ({"late_allowance_seconds": -1}, "late_allowance_seconds_check"),
        ({"reminder_lead_minutes": -1}, "reminder_lead_minutes_check"),
        ({"method": ""}, "policy_method_not_empty"),
        ({"method": "card"}, "already exists"),
    ],
)
def test_a_wish_that_is_no_wish_is_refused(wishes: dict[str, object], constraint: str) -> None:
    PaymentMethodPolicy.objects.create(method="card")
    with pytest.raises(IntegrityError, match=constraint):
        PaymentMethodPolicy.objects.create(**{"method": "upi", **wishes})
    assert PaymentMethodPolicy.objects.count() == 1


def test_a_policy_stays_with_its_method() -> None:
    policy(window_minutes=30)
    with pytest.raises(ProgrammingError, match="Cannot update rows"):
        PaymentMethodPolicy.objects.update(method="upi")
