"""Payments on PhonePe's page, from the order to the money: submitted without a token, confirmed, let go, given back."""

import hashlib
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client
from pytest_django import Settings

from payments import lifecycle
from payments.gateways import registry
from payments.models import Compensation, PaymentAttempt, StockItem, WebhookEvent
from tests import doubts, factories
from tests.contract.phonepe.bench import settings_for
from tests.contract.sandbox_server import API_KEY, WEBHOOK_SECRET, SandboxProcess, wait_until
from tests.doubts import close_window, give_back, resolve
from tests.factories import steps
from tests.integration.api_client import Api
from tests.receiver import listening

pytestmark = pytest.mark.django_db(transaction=True)

PAID = [("charge", 1250)]
GIVEN_BACK = [*PAID, ("refund", 1250)]


@pytest.fixture(autouse=True)
def upi(sandbox: SandboxProcess, settings: Settings) -> None:
    """A method that goes through PhonePe, beside the cards of the sandbox."""
    settings.PAYMENT_GATEWAYS = {
        "sandbox": {"url": sandbox.url, "api_key": API_KEY},
        "phonepe": settings_for(sandbox.url),
    }
    upi = {"gateway": "phonepe", "hosted": True, "currencies": ["INR"]}
    settings.PAYMENT_METHODS = {"card": {"gateway": "sandbox"}, "upi": upi}
    registry.close_gateways()


@pytest.fixture
def tea(db: None) -> StockItem:
    return factories.make_item("TEA", currency="INR")


@pytest.fixture
def attempt(customer: User, tea: StockItem) -> PaymentAttempt:
    """One that waits for its customer on PhonePe's page."""
    attempt = factories.submit(factories.place_order(customer=customer, item=tea, method="upi"), token="")
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "confirming"
    attempt.refresh_from_db()
    return attempt


@pytest.fixture
def paid(attempt: PaymentAttempt, sandbox: SandboxProcess) -> PaymentAttempt:
    settle(sandbox, "pay")
    assert resolve(attempt) == "succeeded"
    return attempt


def settle(sandbox: SandboxProcess, action: str) -> None:
    (charge,) = sandbox.ledger()["charges"]
    sandbox.settle(charge["id"], action)


def test_an_order_is_placed_over_the_api_and_paid_on_phonepes_page(
    api: Api, tea: StockItem, sandbox: SandboxProcess
) -> None:
    order = {"lines": [{"sku": "TEA", "quantity": 1}], "total_minor": 1250, "currency": "INR", "payment_method": "upi"}
    payment_id = api.post("/api/orders/", order).json()["payment"]["id"]
    assert api.post(f"/api/payments/{payment_id}/submit/", {}).status_code == 202
    attempt = PaymentAttempt.objects.get()
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "confirming"
    shown = api.get(f"/api/payments/{payment_id}/").json()
    assert shown["redirect_url"].startswith(f"{sandbox.url}/pay/ch_")
    (charge,) = sandbox.ledger()["charges"]
    assert (charge["reference"], charge["amount_minor"], charge["dialect"]) == (payment_id, 1250, "phonepe")
    settle(sandbox, "pay")
    assert resolve(attempt) == "succeeded"
    attempt.refresh_from_db()
    assert (attempt.gateway, attempt.gateway_reference) == ("phonepe", payment_id)
    assert factories.stock_of(tea) == (99, 0, 1)


@pytest.mark.parametrize(("action", "code"), [("decline", "declined"), ("cancel", "declined")])
def test_a_payment_that_was_not_made_on_the_page_has_failed_and_may_be_tried_again(
    attempt: PaymentAttempt, customer: User, sandbox: SandboxProcess, action: str, code: str
) -> None:
    settle(sandbox, action)
    assert resolve(attempt) == "failed"
    assert steps(attempt)[-1] == ("failed", "resolver", code)
    again = lifecycle.retry_order(order_id=attempt.order.order_id, customer_id=customer.id).attempt
    assert (again.method, again.number) == ("upi", 2)
    lifecycle.submit_attempt(attempt_id=again.id, customer_id=customer.id)
    assert lifecycle.charge_attempt(attempt_id=again.id) == "confirming"  # Under an order id of its own.


def test_an_event_has_phonepe_asked_and_a_forged_one_changes_nothing(
    attempt: PaymentAttempt, tea: StockItem, sandbox: SandboxProcess, broker_is_away: None
) -> None:
    doubts.age_calls(attempt, hours=0.01)
    forged = b'{"event": "checkout.order.completed", "payload": {"merchantOrderId": "%s"}}' % attempt.public_id.encode()
    assert send(forged).status_code == 200
    assert apply_all() == ["asked"]
    attempt.refresh_from_db()
    assert attempt.state == "confirming"

    with listening() as shop:
        sandbox.settings(webhook={"url": shop.url})
        settle(sandbox, "pay")
        wait_until(lambda: len(shop.requests) == 1, what="the event came")
        sandbox.settings(webhook={"url": None})
        genuine = shop.requests[0]
    assert send(genuine.body, authorization="0" * 64).status_code == 400
    assert [send(genuine.body).json()["is_new"] for _ in range(2)] == [True, False]
    doubts.age_calls(attempt, hours=0.01)
    assert "asked" in apply_all()
    attempt.refresh_from_db()
    assert attempt.state == "succeeded"
    assert factories.stock_of(tea) == (99, 0, 1)


def send(body: bytes, *, authorization: str = hashlib.sha256(WEBHOOK_SECRET.encode()).hexdigest()) -> Any:
    client = Client(enforce_csrf_checks=True, headers={"Authorization": authorization})
    return client.post("/api/webhooks/phonepe/", body, content_type="application/json")


def apply_all() -> list[str | None]:
    rows = list(WebhookEvent.objects.filter(due_at__isnull=False))
    WebhookEvent.objects.filter(due_at__isnull=False).update(due_at=rows[0].received_at)
    return [lifecycle.apply_event(event_id=row.id) for row in rows]


@pytest.mark.parametrize(("behaviour", "state"), [("reset_after", "confirming"), ("reset_before", "in_doubt")])
def test_a_lost_answer_is_never_asked_for_twice(
    customer: User, tea: StockItem, sandbox: SandboxProcess, behaviour: str, state: str
) -> None:
    sandbox.behave(behaviour, operation="charge", times=1)
    attempt = factories.submit(factories.place_order(customer=customer, item=tea, method="upi"), token="")
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    assert resolve(attempt) == state
    assert [row["operation"] for row in sandbox.ledger()["requests"]] == ["charge", "lookup"]


def test_a_method_of_a_gateway_without_credentials_refuses_to_start(
    settings: Settings, sandbox: SandboxProcess
) -> None:
    call_command("check")
    without = settings_for(sandbox.url, client_secret="")
    settings.PAYMENT_GATEWAYS = {**settings.PAYMENT_GATEWAYS, "phonepe": without}
    registry.close_gateways()
    with pytest.raises(
        SystemCheckError, match=r"PAYMENT_GATEWAYS\['phonepe'\] lacks client_secret: the gateway is off"
    ):
        call_command("check")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hosted": False}, "needs 'hosted': True, as the gateway 'phonepe' takes no payment tokens"),
        ({"currencies": ["INR", "USD"]}, "would take USD by PAYMENT_METHODS['upi']['currencies']"),
        ({"window_minutes": 61}, "(61 minutes) is not what the gateway 'phonepe' takes (300 to 3600 s)"),
    ],
)
def test_a_method_that_phonepe_cannot_do_refuses_to_start(
    settings: Settings, changes: dict[str, object], named: str
) -> None:
    upi: dict[str, object] = {"gateway": "phonepe", "hosted": True, "currencies": ["INR"], **changes}
    settings.PAYMENT_METHODS = {"upi": upi}
    with pytest.raises(SystemCheckError) as refused:
        call_command("check")
    assert named in str(refused.value)


# What goes back


def test_an_unpaid_order_is_let_run_out_when_the_window_closes(
    attempt: PaymentAttempt, tea: StockItem, sandbox: SandboxProcess
) -> None:
    close_window(attempt.id, seconds_ago=0)
    assert resolve(attempt) == "expired"
    row = doubts.the_compensation(attempt)
    assert (row.kind, row.charge_reference) == ("void", attempt.public_id)
    assert [give_back(row) for _ in range(2)] == ["in_doubt", "in_doubt"]
    settle(sandbox, "cancel")
    assert give_back(row) == "done"
    assert sandbox.operations() == []
    assert factories.stock_of(tea) == (100, 0, 0)


def test_money_that_comes_after_the_end_goes_back(
    attempt: PaymentAttempt, tea: StockItem, sandbox: SandboxProcess
) -> None:
    close_window(attempt.id, seconds_ago=1)
    assert resolve(attempt) == "expired"
    settle(sandbox, "pay")
    doubts.give_everything_back()
    kinds = {row.kind: row.state for row in Compensation.objects.all()}
    assert kinds == {"void": "done", "refund": "done"}
    assert sandbox.operations() == GIVEN_BACK
    assert factories.stock_of(tea) == (100, 0, 0)


def test_a_refund_whose_answer_was_lost_is_found_and_not_made_again(
    paid: PaymentAttempt, sandbox: SandboxProcess, staff: User
) -> None:
    row = lifecycle.refund_payment(attempt_id=paid.id, amount_minor=300, staff_id=staff.id, reason="the tea was cold")
    sandbox.behave("reset_after", operation="refund", times=1)
    # The order does not tell of refunds, so it is asked for again, which finds it: once no call can be on its way.
    assert [give_back(row) for _ in range(2)] == ["in_doubt", "in_doubt"]
    doubts.age_compensation(row, hours=0.5)
    assert give_back(row) == "done"
    assert sandbox.operations() == [*PAID, ("refund", 300)]


def test_a_whole_refund_marks_the_order(paid: PaymentAttempt, sandbox: SandboxProcess, staff: User) -> None:
    row = lifecycle.refund_payment(attempt_id=paid.id, amount_minor=None, staff_id=staff.id, reason="the tea was cold")
    assert give_back(row) == "done"
    paid.order.refresh_from_db()
    assert paid.order.payment_status == "refunded"
    assert sandbox.operations() == GIVEN_BACK
