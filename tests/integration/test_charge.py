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
from payments.domain.outcomes import Authorized, Captured, Declined, InDoubt, NeverSent, Outcome, Pending
from payments.gateways import registry
from payments.lifecycle.claim import NotClaimed
from payments.models import GatewayCall, Order, PaymentAttempt, Reservation, StockItem
from payments.transactions import transaction
from tests import factories
from tests.contract.sandbox_server import SandboxProcess
from tests.factories import steps

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_charge_pays_the_order_and_sells_its_stock(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item, quantity=2))
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "succeeded"
    order = Order.objects.get()
    assert (order.status, order.payment_status) == ("paid", "paid")
    assert factories.stock_of(item) == (98, 0, 2)
    assert Reservation.objects.get().state == "consumed"
    assert sandbox.operations(reference=attempt.public_id) == [("charge", 2500)]
    assert steps(attempt) == [
        ("open", "customer", "opened"),
        ("queued", "customer", "submitted"),
        ("charging", "worker", "claimed"),
        ("succeeded", "worker", "captured"),
    ]
    call = GatewayCall.objects.get()
    assert (call.operation, call.idempotency_key, call.outcome) == ("charge", attempt.public_id, "captured")
    assert (len(call.request_hash), call.reference) == (64, attempt.gateway_reference)


def test_a_job_delivered_twice_charges_once(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    results = [lifecycle.charge_attempt(attempt_id=attempt.id) for _ in range(3)]
    assert results == ["succeeded", NotClaimed.NOT_QUEUED, NotClaimed.NOT_QUEUED]
    assert len(sandbox.ledger()["requests"]) == 1


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
        ("tok_reset_after", "gateway_error", [("charge", 1250)]),
        ("tok_reset_before", "gateway_error", []),
        ("tok_error_after", "gateway_error", [("charge", 1250)]),
        ("tok_error_before", "gateway_error", []),
        ("tok_unavailable", "gateway_error", []),
        ("tok_garbage", "gateway_error", [("charge", 1250)]),
        ("tok_hang_after", "gateway_timeout", [("charge", 1250)]),
        ("tok_hang_before", "gateway_timeout", []),
        ("tok_slow_drip", "gateway_timeout", [("charge", 1250)]),
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
    assert [call.outcome for call in GatewayCall.objects.order_by("id")] == ["never_sent", "captured"]
    assert {call.request_hash for call in GatewayCall.objects.all()} == {GatewayCall.objects.latest("id").request_hash}
    assert sandbox.operations() == [("charge", 1250)]


def test_a_busy_gateway_gets_the_same_request_again(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    sandbox.behave("rate_limited", times=1)
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "queued"
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "succeeded"
    assert sandbox.operations() == [("charge", 1250)]


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
    claim = lifecycle.claim_attempt(attempt_id=first.id)
    assert not isinstance(claim, NotClaimed)
    assert lifecycle.charge_attempt(attempt_id=second.id) is NotClaimed.CUSTOMER_BUSY
    lifecycle.record_outcome(claim=claim, outcome=registry.gateway("sandbox").charge(claim.request, deadline_seconds=5))
    assert lifecycle.charge_attempt(attempt_id=second.id) == "succeeded"
    assert sandbox.operations() == [("charge", 1250)] * 2


def test_an_older_claim_changes_nothing_but_its_observation_is_kept(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    claim = lifecycle.claim_attempt(attempt_id=attempt.id)
    assert not isinstance(claim, NotClaimed)
    outcome = registry.gateway("sandbox").charge(claim.request, deadline_seconds=5)
    PaymentAttempt.objects.filter(id=attempt.id).update(fence=claim.fence + 1)  # Somebody claimed anew meanwhile.
    assert lifecycle.record_outcome(claim=claim, outcome=outcome) == "charging"
    assert GatewayCall.objects.get().outcome == "captured"
    assert Order.objects.get().status == "under_paying"


def test_no_call_is_made_inside_a_transaction(
    customer: User, item: StockItem, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step before the call refuses by itself, should a claim ever leave its transaction open."""
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    claim = lifecycle.claim_attempt(attempt_id=attempt.id)
    monkeypatch.setattr("payments.lifecycle.charge.claim_attempt", lambda **_: claim)
    with transaction(), pytest.raises(RuntimeError, match="network call"):
        lifecycle.charge_attempt(attempt_id=attempt.id)
    assert sandbox.ledger()["requests"] == []


@pytest.mark.parametrize(
    ("outcome", "state", "reason"),
    [
        (Captured("ch_1\x00" + "x" * 300), "succeeded", "captured"),
        (Authorized("ch_1"), "in_doubt", "authorized_not_captured"),
        (Pending("ch_1", "https://gateway.example/" + "x" * 3000), "confirming", "gateway_confirms_later"),
        (Pending("ch_1", None), "confirming", "gateway_confirms_later"),
        (Declined(FailureCode.BLOCKED, "\x00" + "x" * 900, None), "failed", "declined"),
        (NeverSent(FailureCode.RATE_LIMITED, "x" * 900), "queued", "never_sent"),
        (InDoubt(FailureCode.KEY_IN_FLIGHT, "x\x00" * 900), "in_doubt", "key_in_flight"),
    ],
)
def test_every_outcome_is_recorded_whatever_the_gateway_writes(
    customer: User, item: StockItem, outcome: Outcome, state: str, reason: str
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    claim = lifecycle.claim_attempt(attempt_id=attempt.id)
    assert not isinstance(claim, NotClaimed)
    assert lifecycle.record_outcome(claim=claim, outcome=outcome) == state
    assert steps(attempt)[-1] == (state, "worker", reason)
    assert GatewayCall.objects.get().finished_at is not None


def test_time_that_passed_since_the_claim_is_time_that_the_call_no_longer_has(
    customer: User, item: StockItem, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    claim = lifecycle.claim_attempt(attempt_id=attempt.id)
    assert not isinstance(claim, NotClaimed)
    stale = dataclasses.replace(claim, ends_at_monotonic=claim.ends_at_monotonic - 31)
    monkeypatch.setattr("payments.lifecycle.charge.claim_attempt", lambda **_: stale)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "queued"
    assert steps(attempt)[-1] == ("queued", "worker", "never_sent")
    assert sandbox.ledger()["requests"] == []


def test_no_connection_is_held_during_the_call(
    customer: User, item: StockItem, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    gateway = registry.gateway("sandbox")
    held: list[bool] = []
    really_charge = type(gateway).charge

    def watched(self: Any, request: Any, *, deadline_seconds: float) -> Any:
        held.append(connection.connection is not None)
        return really_charge(self, request, deadline_seconds=deadline_seconds)

    monkeypatch.setattr(type(gateway), "charge", watched)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "succeeded"
    assert held == [False]
