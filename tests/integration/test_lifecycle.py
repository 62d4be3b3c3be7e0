"""One attempt's life against a real gateway process, up to the ledger that says what happened to the money."""

import json
from collections.abc import MutableMapping
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from pytest_django import Settings

from payments import lifecycle, queries
from payments.domain.errors import (
    AlreadySubmitted,
    AmountMismatch,
    DuplicateOrder,
    InvalidState,
    NotFound,
    OutOfStock,
    PaymentError,
    PaymentExpired,
    UnknownItem,
    UnsupportedCurrency,
    UnsupportedMethod,
)
from payments.gateways import registry
from payments.lifecycle.claim import NotClaimed
from payments.models import GatewayCall, HistoryEntry, Order, OrderLine, PaymentAttempt, Reservation, StockItem
from tests import factories
from tests.contract.sandbox_server import SandboxProcess

pytestmark = pytest.mark.django_db(transaction=True)


def steps(attempt: PaymentAttempt) -> list[tuple[str, str, str]]:
    """(to, actor, reason) of an attempt's history; the numbers have no gap and each step starts where one ended."""
    rows = queries.history_of(attempt_id=attempt.id)
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert [row.from_state for row in rows] == ["", *(row.to_state for row in rows[:-1])]
    assert [row.at for row in rows] == sorted(row.at for row in rows)
    attempt.refresh_from_db()
    assert (rows[-1].to_state, rows[-1].number) == (attempt.state, attempt.version)
    return [(row.to_state, row.actor.partition(":")[0], row.reason) for row in rows]


def nothing_is_stored() -> bool:
    tables = (Order, OrderLine, Reservation, PaymentAttempt, HistoryEntry)
    return not any(table.objects.exists() for table in tables) and not StockItem.objects.exclude(reserved=0).exists()


# Open


def test_an_order_is_placed_with_its_deadline_and_its_stock_held(customer: User, item: StockItem) -> None:
    attempt = factories.place_order(customer=customer, item=item, quantity=3, order_id="ORD-1")
    assert (attempt.expires_at - attempt.opened_at).total_seconds() == 15 * 60
    assert attempt.order.payment_expires_at == attempt.expires_at
    assert attempt.expires_at.tzinfo is not None
    assert factories.stock_of(item) == (100, 3, 0)
    assert Reservation.objects.get().quantity == 3
    assert steps(attempt) == [("open", "customer", "opened")]


def test_the_window_of_a_method_overrides_the_general_one(customer: User, item: StockItem, settings: Settings) -> None:
    settings.PAYMENT_METHODS = {"card": {"gateway": "sandbox", "window_minutes": 60}}
    attempt = factories.place_order(customer=customer, item=item)
    assert (attempt.expires_at - attempt.opened_at).total_seconds() == 3600


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"lines": [lifecycle.RequestedLine("NO-SUCH", 1)]}, UnknownItem),
        ({"lines": [lifecycle.RequestedLine("MUG-BLUE", 101)], "expected_total_minor": 126250}, OutOfStock),
        (
            {"lines": [lifecycle.RequestedLine("MUG-BLUE", 60)] * 2, "expected_total_minor": 150000},
            OutOfStock,
        ),
        ({"expected_total_minor": 1}, AmountMismatch),
        ({"currency": "XTS"}, UnsupportedCurrency),
        ({"currency": "EUR"}, UnsupportedCurrency),
        ({"method": "cheque"}, UnsupportedMethod),
    ],
)
def test_a_refused_order_leaves_nothing_behind(
    customer: User, item: StockItem, changes: dict[str, Any], error: type[PaymentError]
) -> None:
    order: dict[str, Any] = {
        "customer_id": customer.id,
        "lines": [lifecycle.RequestedLine(item.sku, 1)],
        "expected_total_minor": 1250,
        "currency": "USD",
        "method": "card",
    }
    with pytest.raises(error):
        lifecycle.open_order(**(order | changes))
    assert nothing_is_stored()


def test_a_number_that_is_taken_is_refused_and_holds_nothing_more(customer: User, other: User, item: StockItem) -> None:
    factories.place_order(customer=customer, item=item, order_id="ORD-1")
    with pytest.raises(DuplicateOrder):
        factories.place_order(customer=other, item=item, order_id="ORD-1")
    assert factories.stock_of(item) == (100, 1, 0)


# Submit


def test_only_the_owner_submits(customer: User, other: User, item: StockItem) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    with pytest.raises(NotFound):
        lifecycle.submit_attempt(attempt_id=attempt.id, customer_id=other.id, payment_token="tok_visa")
    assert steps(attempt) == [("open", "customer", "opened")]


def test_a_second_submit_is_refused_and_changes_nothing(customer: User, item: StockItem) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    with pytest.raises(AlreadySubmitted):
        lifecycle.submit_attempt(attempt_id=attempt.id, customer_id=customer.id, payment_token="tok_other")
    attempt.refresh_from_db()
    assert (attempt.payment_token, len(steps(attempt))) == ("tok_visa", 2)


def test_a_submit_after_the_deadline_expires_the_order_at_once(
    customer: User, item: StockItem, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    attempt = factories.place_order(customer=customer, item=item, quantity=2)
    factories.age_attempt(attempt.id, seconds_left=-1)
    with pytest.raises(PaymentExpired):
        factories.submit(attempt)
    assert steps(attempt)[-1] == ("expired", "customer", "window_closed")
    assert factories.stock_of(item) == (100, 0, 0)
    assert [event["event"] for event in captured_logs if event["event"] == "payment_expired"] == ["payment_expired"]
    with pytest.raises(PaymentExpired):  # And it stays so, however often it is asked.
        factories.submit(attempt)


# Charge


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


def test_no_call_is_made_inside_a_transaction(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    from django.db import transaction

    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    with pytest.raises(RuntimeError), transaction.atomic():  # noqa: TID251 - on purpose
        lifecycle.charge_attempt(attempt_id=attempt.id)
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


# Expire


def test_the_sweep_ends_what_is_due_and_nothing_else(
    customer: User, item: StockItem, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    due_open, due_queued, living = (factories.place_order(customer=customer, item=item, quantity=2) for _ in range(3))
    factories.submit(due_queued)
    for attempt in (due_open, due_queued):
        factories.age_attempt(attempt.id, seconds_left=-1)
    run = lifecycle.sweep_expired()
    assert (run.expired_orders, run.is_finished) == (2, True)
    assert steps(due_open)[-1] == steps(due_queued)[-1] == ("expired", "sweep", "window_closed")
    assert steps(living) == [("open", "customer", "opened")]
    states = {order.pk: (order.status, order.payment_status) for order in Order.objects.all()}
    assert states[due_open.order_id] == states[due_queued.order_id] == ("cancelled", "expired")
    assert states[living.order_id] == ("under_paying", "pending")
    assert factories.stock_of(item) == (100, 2, 0)
    lines = [event for event in captured_logs if event["event"] == "payment_expired"]
    assert {line["payment_id"] for line in lines} == {due_open.public_id, due_queued.public_id}
    assert all(json.dumps(line) and line["order_id"] and line["expires_at"] for line in lines)
    assert lifecycle.sweep_expired().expired_orders == 0


def test_an_order_whose_attempt_failed_ends_at_its_deadline(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token="tok_declined")
    lifecycle.charge_attempt(attempt_id=attempt.id)
    assert lifecycle.sweep_expired().expired_orders == 0
    factories.age_attempt(attempt.id, seconds_left=-1)
    assert lifecycle.sweep_expired().expired_orders == 1
    order = Order.objects.get()
    assert (order.status, order.payment_status) == ("cancelled", "expired")
    assert factories.stock_of(item) == (100, 0, 0)
    assert steps(attempt)[-1] == ("failed", "worker", "declined")


def test_a_sweep_goes_on_batch_by_batch_until_its_cap(customer: User, item: StockItem, settings: Settings) -> None:
    settings.PAYMENT_SWEEP_BATCH_ROWS, settings.PAYMENT_SWEEP_BATCHES_PER_RUN = 2, 2
    for _ in range(5):
        factories.age_attempt(factories.place_order(customer=customer, item=item).id, seconds_left=-1)
    first, second = lifecycle.sweep_expired(), lifecycle.sweep_expired()
    assert (first.expired_orders, first.is_finished) == (4, False)
    assert (second.expired_orders, second.is_finished) == (1, True)
    assert factories.stock_of(item) == (100, 0, 0)


def test_a_paid_order_is_never_swept(customer: User, item: StockItem, sandbox: SandboxProcess) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    lifecycle.charge_attempt(attempt_id=attempt.id)
    factories.age_attempt(attempt.id, seconds_left=-1)
    assert lifecycle.sweep_expired().expired_orders == 0
    assert factories.stock_of(item) == (99, 0, 1)


# Rescue


def test_a_lost_job_is_published_again_once_it_is_overdue(customer: User, item: StockItem) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    assert lifecycle.publish_owed() == 0
    PaymentAttempt.objects.filter(id=attempt.id).update(due_at=attempt.opened_at)
    assert lifecycle.publish_owed() == 1
    assert lifecycle.publish_owed() == 0
    assert steps(attempt)[-1] == ("queued", "customer", "submitted")


def test_a_broker_that_is_away_does_not_stop_a_submit(
    customer: User, item: StockItem, captured_logs: list[MutableMapping[str, Any]], broker_is_away: None
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    assert attempt.state == "queued"
    assert [event["event"] for event in captured_logs].count("job_not_published") == 1
