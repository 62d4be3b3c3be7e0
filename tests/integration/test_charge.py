"""One attempt against a real gateway process, up to the ledger that says what happened to the money."""

import dataclasses
from collections.abc import MutableMapping
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from pytest_django import Settings

from payments import config, lifecycle
from payments.domain.errors import (
    InvalidState,
)
from payments.domain.failures import FailureCode
from payments.domain.outcomes import Captured, Declined, InDoubt, NeverSent, Outcome, Pending
from payments.gateways import registry
from payments.lifecycle.calls import Call
from payments.lifecycle.charge import run_calls
from payments.lifecycle.claim import NotClaimed
from payments.models import GatewayCall, Order, Reservation, StockItem
from payments.transactions import transaction
from tests import factories
from tests.contract.sandbox_server import SandboxProcess
from tests.factories import steps

pytestmark = pytest.mark.django_db(transaction=True)

HELD = [("authorize", 1250)]
PAID = [("authorize", 1250), ("capture", 1250)]


def test_a_charge_pays_the_order_and_sells_its_stock(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item, quantity=2))
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "succeeded"
    order = Order.objects.get()
    assert (order.status, order.payment_status) == ("paid", "paid")
    assert factories.stock_of(item) == (98, 0, 2)
    assert Reservation.objects.get().state == "consumed"
    assert sandbox.operations(reference=attempt.public_id) == [("authorize", 2500), ("capture", 2500)]
    assert steps(attempt) == [
        ("open", "customer", "opened"),
        ("queued", "customer", "submitted"),
        ("charging", "worker", "claimed"),
        ("succeeded", "worker", "captured"),
    ]
    authorize, capture = GatewayCall.objects.order_by("id")
    assert (authorize.operation, authorize.outcome) == ("authorize", "authorized")
    assert (capture.operation, capture.outcome) == ("capture", "captured")
    assert authorize.idempotency_key == attempt.public_id
    assert capture.idempotency_key == f"{attempt.public_id}:capture"
    for call in (authorize, capture):
        assert (len(call.request_hash), call.reference) == (64, attempt.gateway_reference)


def test_a_method_may_charge_in_one_call(
    customer: User, item: StockItem, sandbox: SandboxProcess, settings: Settings
) -> None:
    settings.PAYMENT_METHODS = {"card": {"gateway": "sandbox", "authorizes_first": False}}
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "succeeded"
    assert sandbox.operations() == [("charge", 1250)]
    assert GatewayCall.objects.get().operation == "charge"


def test_a_job_delivered_twice_charges_once(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    results = [lifecycle.charge_attempt(attempt_id=attempt.id) for _ in range(3)]
    assert results == ["succeeded", NotClaimed.NOT_QUEUED, NotClaimed.NOT_QUEUED]
    assert [row["operation"] for row in sandbox.ledger()["requests"]] == ["authorize", "capture"]


@pytest.mark.usefixtures("without_redis")
@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("tok_insufficient_funds", "insufficient_funds"),
        ("tok_expired_card", "expired_card"),
        ("tok_limit_exceeded", "limit_exceeded"),
        ("tok_incorrect_cvc", "invalid_card_data"),
        ("tok_stolen_card", "blocked"),
        ("tok_authentication_required", "authentication_required"),
        ("tok_issuer_unavailable", "issuer_unavailable"),
        ("tok_declined", "declined"),
        ("tok_unknown_code", "declined"),
    ],
)
def test_a_decline_fails_the_attempt_with_its_code_and_keeps_the_stock_held(
    customer: User, item: StockItem, sandbox: SandboxProcess, token: str, code: str
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token=token)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "failed"
    attempt.refresh_from_db()
    order = Order.objects.get()
    assert attempt.failure_code == code
    assert (order.status, order.payment_status) == ("under_paying", "failed")
    assert factories.stock_of(item) == (100, 1, 0)
    assert sandbox.operations() == []
    with pytest.raises(InvalidState):
        factories.submit(attempt)


@pytest.mark.parametrize(
    ("token", "reason", "moved"),
    [
        ("tok_reset_after", "gateway_error", HELD),
        ("tok_reset_before", "gateway_error", []),
        ("tok_error_after", "gateway_error", HELD),
        ("tok_error_before", "gateway_error", []),
        ("tok_unavailable", "gateway_error", []),
        ("tok_garbage", "gateway_error", HELD),
        ("tok_hang_after", "gateway_timeout", HELD),
        ("tok_hang_before", "gateway_timeout", []),
        ("tok_slow_drip", "gateway_timeout", HELD),
    ],
)
def test_an_unknown_ending_is_a_doubt_whatever_really_happened(
    customer: User,
    item: StockItem,
    sandbox: SandboxProcess,
    settings: Settings,
    token: str,
    reason: str,
    moved: list[tuple[str, int]],
) -> None:
    settings.PAYMENT_GATEWAY_TOTAL_SECONDS = 1
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token=token)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    assert steps(attempt)[-1] == ("in_doubt", "worker", reason)
    assert sandbox.operations() == moved
    assert Order.objects.get().status == "under_paying"
    assert factories.stock_of(item) == (100, 1, 0)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) is NotClaimed.NOT_QUEUED
    factories.age_attempt(attempt.id, seconds_left=-1)
    assert lifecycle.sweep_expired().expired_orders == 0  # A doubt is resolved, never swept.
    sandbox.release()


def test_a_gateway_that_is_not_there_was_never_asked(
    customer: User, item: StockItem, sandbox: SandboxProcess, settings: Settings
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    url = settings.PAYMENT_GATEWAYS["sandbox"]["url"]
    settings.PAYMENT_GATEWAYS = {"sandbox": {"url": "http://127.0.0.1:9", "api_key": "x"}}
    registry.close_gateways()
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "queued"
    assert steps(attempt)[-1] == ("queued", "worker", "never_sent")
    settings.PAYMENT_GATEWAYS = {"sandbox": {"url": url, "api_key": "sk_sandbox"}}
    registry.close_gateways()
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "succeeded"
    calls = list(GatewayCall.objects.order_by("id"))
    assert [call.outcome for call in calls] == ["never_sent", "authorized", "captured"]
    assert calls[0].request_hash == calls[1].request_hash
    assert sandbox.operations() == PAID


def test_a_busy_gateway_gets_the_same_request_again(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    sandbox.behave("rate_limited", times=1)
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "queued"
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "succeeded"
    assert sandbox.operations() == PAID


def test_a_payment_that_is_confirmed_later_keeps_its_order(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token="tok_hosted")
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "confirming"
    attempt.refresh_from_db()
    assert attempt.redirect_url.startswith(sandbox.url)
    factories.age_attempt(attempt.id, seconds_left=-1)
    assert lifecycle.sweep_expired().expired_orders == 0


def test_an_expired_attempt_is_refused_at_the_claim_and_the_gateway_never_hears_of_it(
    customer: User, item: StockItem, sandbox: SandboxProcess, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item, order_id="ORD-LATE"))
    factories.age_attempt(attempt.id, seconds_left=0)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) is NotClaimed.EXPIRED
    assert sandbox.ledger()["requests"] == []
    assert GatewayCall.objects.count() == 0
    assert steps(attempt)[-1] == ("expired", "worker", "window_closed")
    assert factories.stock_of(item) == (100, 0, 0)
    (event,) = [event for event in captured_logs if event["event"] == "payment_expired"]
    assert event["order_id"] == "ORD-LATE"
    assert event["payment_id"] == attempt.public_id
    assert event["expires_at"] == attempt.expires_at.isoformat()


def test_a_customers_second_charge_waits_for_the_first(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    first, second = (factories.submit(factories.place_order(customer=customer, item=item)) for _ in range(2))
    assert not isinstance(lifecycle.claim_attempt(attempt_id=first.id), NotClaimed)
    assert lifecycle.charge_attempt(attempt_id=second.id) is NotClaimed.CUSTOMER_BUSY
    second.refresh_from_db()
    assert second.state == "queued"
    assert sandbox.ledger()["requests"] == []
    assert second.due_at is not None
    assert (second.due_at - second.opened_at).total_seconds() < config.limits().redispatch_seconds


def test_the_customers_second_charge_is_made_after_the_first(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    first, second = (factories.submit(factories.place_order(customer=customer, item=item)) for _ in range(2))
    call = lifecycle.claim_attempt(attempt_id=first.id)
    assert isinstance(call, Call)
    assert lifecycle.charge_attempt(attempt_id=second.id) is NotClaimed.CUSTOMER_BUSY
    assert run_calls(call) == "succeeded"
    assert lifecycle.charge_attempt(attempt_id=second.id) == "succeeded"
    assert sandbox.operations() == PAID * 2


def test_no_call_is_made_inside_a_transaction(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    """The step before the call refuses by itself, should a claim ever leave its transaction open."""
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    call = lifecycle.claim_attempt(attempt_id=attempt.id)
    assert isinstance(call, Call)
    with transaction(), pytest.raises(RuntimeError, match="network call"):
        run_calls(call)
    assert sandbox.ledger()["requests"] == []


@pytest.mark.parametrize(
    ("outcome", "state", "reason"),
    [
        (Captured("ch_1\x00" + "x" * 300), "succeeded", "captured"),
        (Pending("ch_1", "https://gateway.example/" + "x" * 3000), "confirming", "gateway_confirms_later"),
        (Pending("ch_1", None), "confirming", "gateway_confirms_later"),
        (Declined(FailureCode.BLOCKED, "\x00" + "x" * 900, None), "failed", "blocked"),
        (NeverSent(FailureCode.RATE_LIMITED, "x" * 900), "queued", "never_sent"),
        (InDoubt(FailureCode.KEY_IN_FLIGHT, "x\x00" * 900), "in_doubt", "key_in_flight"),
    ],
)
def test_every_outcome_is_recorded_whatever_the_gateway_writes(
    customer: User, item: StockItem, outcome: Outcome, state: str, reason: str
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    call = lifecycle.claim_attempt(attempt_id=attempt.id)
    assert isinstance(call, Call)
    assert lifecycle.record_outcome(call=call, outcome=outcome).state == state
    assert steps(attempt)[-1] == (state, "worker", reason)
    assert GatewayCall.objects.get().finished_at is not None


def test_time_that_passed_since_the_claim_is_time_that_the_call_no_longer_has(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    call = lifecycle.claim_attempt(attempt_id=attempt.id)
    assert isinstance(call, Call)
    late = dataclasses.replace(call, ends_at_boottime=call.ends_at_boottime - 31)
    assert run_calls(late) == "queued"
    assert steps(attempt)[-1] == ("queued", "worker", "never_sent")
    assert sandbox.ledger()["requests"] == []


def test_a_claim_whose_look_at_the_clock_is_stale_is_given_back_unsent(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    call = lifecycle.claim_attempt(attempt_id=attempt.id)
    assert isinstance(call, Call)
    slept = dataclasses.replace(call, checked_at_boottime=call.checked_at_boottime - 2.5)
    assert run_calls(slept) == "queued"
    assert (GatewayCall.objects.get().outcome, GatewayCall.objects.get().code) == ("never_sent", "stale_check")
    assert sandbox.ledger()["requests"] == []
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "succeeded"
    assert sandbox.operations() == PAID


def test_no_connection_is_held_during_the_call(
    customer: User, item: StockItem, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    gateway = registry.gateway("sandbox")
    held: list[bool] = []
    really_authorize = type(gateway).authorize

    def watched(self: Any, request: Any, *, deadline_seconds: float) -> Any:
        held.append(connection.connection is not None)
        return really_authorize(self, request, deadline_seconds=deadline_seconds)

    monkeypatch.setattr(type(gateway), "authorize", watched)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "succeeded"
    assert held == [False]
