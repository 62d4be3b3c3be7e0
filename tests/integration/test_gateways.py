"""One payment through each gateway, from the order to the refund, on a real database and its face of the sandbox."""

from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from payments import lifecycle
from payments.gateways import registry
from payments.models import PaymentAttempt, StockItem, WebhookEvent
from tests import doubts, factories
from tests.contract.sandbox_server import WEBHOOK_SECRET, SandboxProcess, wait_until
from tests.contract.suite.benches import BENCHES
from tests.doubts import close_window, give_back, resolve
from tests.receiver import Request, listening

pytestmark = pytest.mark.django_db(transaction=True)

TAKEN = {"charge", "capture"}


@dataclass(frozen=True)
class Way:
    """One way to pay."""

    gateway: str
    is_hosted: bool

    @property
    def name(self) -> str:
        return f"{self.gateway}_page" if self.is_hosted else self.gateway

    @property
    def currency(self) -> str:
        return BENCHES[self.gateway].currency

    @property
    def options(self) -> dict[str, object]:
        hosted = {"hosted": True} if self.is_hosted else {}
        return {"gateway": self.gateway, "currencies": [self.currency], **hosted}


TOKENS = [Way(name, is_hosted=False) for name in ("sandbox", "stripe", "paypal", "square")]
PAGES = [Way(name, is_hosted=True) for name in BENCHES]
WAYS = TOKENS + PAGES


@pytest.fixture(autouse=True)
def gateways(sandbox: SandboxProcess, settings: Settings, broker_is_away: None) -> None:
    """Every gateway is on; each test does the workers' part by itself."""
    settings.PAYMENT_GATEWAYS = {
        name: bench.settings(sandbox.url, f"http://testserver{path(name)}") for name, bench in BENCHES.items()
    }
    settings.PAYMENT_METHODS = {way.name: way.options for way in WAYS}
    registry.close_gateways()


def path(gateway: str) -> str:
    return f"/api/webhooks/{gateway}/"


def begin(way: Way, *, customer: User, token: str = "tok_ok") -> PaymentAttempt:
    """An order that was submitted and charged, as far as that goes without its customer."""
    item = factories.make_item(f"MUG-{way.currency}", currency=way.currency)
    attempt = factories.place_order(customer=customer, item=item, method=way.name)
    factories.submit(attempt, token="" if way.is_hosted else token)
    lifecycle.charge_attempt(attempt_id=attempt.id)
    attempt.refresh_from_db()
    return attempt


def decide(sandbox: SandboxProcess, action: str) -> None:
    """What the customer does on the gateway's page."""
    (charge,) = sandbox.ledger()["charges"]
    sandbox.settle(charge["id"], action)


def pay(way: Way, *, customer: User, sandbox: SandboxProcess) -> PaymentAttempt:
    attempt = begin(way, customer=customer)
    if way.is_hosted:
        assert attempt.state == "confirming"
        assert attempt.redirect_url
        decide(sandbox, "pay")
        resolve(attempt)
        attempt.refresh_from_db()
    assert attempt.state == "succeeded"
    return attempt


def taken(sandbox: SandboxProcess) -> list[int]:
    return [amount for operation, amount in sandbox.operations() if operation in TAKEN]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_an_order_is_paid_once_and_given_back(way: Way, customer: User, staff: User, sandbox: SandboxProcess) -> None:
    attempt = pay(way, customer=customer, sandbox=sandbox)
    assert taken(sandbox) == [1250]
    (charge,) = sandbox.ledger()["charges"]
    assert (charge["reference"], charge["dialect"]) == (attempt.public_id, way.gateway)
    assert factories.stock_of(StockItem.objects.get()) == (99, 0, 1)
    refund = lifecycle.refund_payment(attempt_id=attempt.id, amount_minor=None, staff_id=staff.id, reason="it broke")
    assert give_back(refund) == "done"
    attempt.order.refresh_from_db()
    assert attempt.order.payment_status == "refunded"
    assert sandbox.operations()[-1] == ("refund", 1250)


@pytest.mark.parametrize("way", TOKENS, ids=lambda way: way.name)
def test_a_decline_is_told_and_takes_nothing(way: Way, customer: User, sandbox: SandboxProcess) -> None:
    attempt = begin(way, customer=customer, token="tok_insufficient_funds")
    assert (attempt.state, attempt.failure_code) == ("failed", "insufficient_funds")
    assert sandbox.operations() == []


@pytest.mark.parametrize("fault", ["reset_after", "error_after", "garbage"])
@pytest.mark.parametrize("way", TOKENS, ids=lambda way: way.name)
def test_an_answer_that_was_lost_is_found_and_the_order_is_paid_once(
    way: Way, customer: User, sandbox: SandboxProcess, fault: str
) -> None:
    sandbox.behave(fault, times=1)
    attempt = begin(way, customer=customer)
    assert attempt.state == "in_doubt"
    assert resolve(attempt) == "succeeded"
    assert taken(sandbox) == [1250]


@pytest.mark.parametrize("fault", ["reset_before", "unavailable"])
@pytest.mark.parametrize("way", TOKENS, ids=lambda way: way.name)
def test_a_call_that_did_nothing_never_ends_in_two(
    way: Way, customer: User, sandbox: SandboxProcess, fault: str
) -> None:
    sandbox.behave(fault, times=1)
    attempt = begin(way, customer=customer)
    assert attempt.state in {"in_doubt", "confirming"}
    for _ in range(3):
        resolve(attempt)
    attempt.refresh_from_db()
    # Where a key may be repeated the payment comes through; where not, it is asked about until that proves something.
    assert attempt.state in {"succeeded", "in_doubt"}
    assert taken(sandbox) == ([1250] if attempt.state == "succeeded" else [])


@pytest.mark.parametrize("way", PAGES, ids=lambda way: way.name)
def test_nothing_is_taken_on_a_page_whose_window_has_closed(way: Way, customer: User, sandbox: SandboxProcess) -> None:
    attempt = begin(way, customer=customer)
    close_window(attempt.id, seconds_ago=0)
    assert resolve(attempt) == "expired"
    row = doubts.the_compensation(attempt)
    for _ in range(2):
        give_back(row)
    # Whatever the customer does now.
    pending = [charge for charge in sandbox.ledger()["charges"] if charge["status"] in {"pending", "approved"}]
    for charge in pending:
        sandbox.settle(charge["id"], "pay")
    doubts.give_everything_back()
    net = sum(amount for operation, amount in sandbox.operations() if operation in TAKEN)
    net -= sum(amount for operation, amount in sandbox.operations() if operation == "refund")
    assert net == 0
    assert factories.stock_of(StockItem.objects.get()) == (100, 0, 0)


# Events


@pytest.mark.parametrize("way", PAGES, ids=lambda way: way.name)
def test_an_event_has_the_gateway_asked_and_pays_the_order(
    way: Way, customer: User, sandbox: SandboxProcess, settings: Settings
) -> None:
    with listening() as shop:
        # A gateway that signs where it sends to was told this address.
        bench = BENCHES[way.gateway]
        settings.PAYMENT_GATEWAYS = {way.gateway: bench.settings(sandbox.url, shop.url)}
        registry.close_gateways()
        attempt = begin(way, customer=customer)
        doubts.age_calls(attempt, hours=0.01)
        sandbox.settings(webhook={"url": shop.url, "secrets": [WEBHOOK_SECRET]})
        decide(sandbox, "pay")
        wait_until(lambda: len(shop.requests) >= 1, what="an event came")
        sandbox.settings(webhook={"url": None})
        requests = list(shop.requests)
    answers = [send(way, request) for request in requests for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["is_new"] for answer in answers) == len(requests)
    for row in WebhookEvent.objects.order_by("-received_at"):  # The latest first.
        WebhookEvent.objects.filter(id=row.id).update(due_at=row.received_at)
        lifecycle.apply_event(event_id=row.id)
    attempt.refresh_from_db()
    assert attempt.state == "succeeded"
    assert taken(sandbox) == [1250]


def send(way: Way, request: Request) -> Any:
    headers = {name: value for name, value in request.headers.items() if name not in {"host", "content-length"}}
    client = Client(enforce_csrf_checks=True, headers=headers)
    return client.post(path(way.gateway), request.body, content_type="application/json")
