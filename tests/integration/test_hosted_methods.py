"""Methods that are paid on the gateway's own page: submitted without a token, which the others cannot be."""

from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client
from pytest_django import Settings

from payments import checkout, lifecycle
from payments.domain.errors import PaymentError, TokenRefused, TokenRequired, UnsupportedCurrency
from payments.gateways.protocol import Capabilities
from payments.gateways.sandbox.adapter import SandboxGateway
from payments.models import PaymentAttempt, StockItem
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.factories import steps
from tests.integration.api_client import Api, problem

pytestmark = pytest.mark.django_db(transaction=True)

METHODS = {"card": {"gateway": "sandbox"}, "bank_page": {"gateway": "sandbox", "hosted": True}}


@pytest.fixture(autouse=True)
def methods(settings: Settings) -> None:
    settings.PAYMENT_METHODS = METHODS


@pytest.fixture
def hosted(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.place_order(customer=customer, item=item, method="bank_page")


def test_a_hosted_method_is_submitted_without_a_token_and_paid_on_the_page(
    api: Api, hosted: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    answer = api.post(f"/api/payments/{hosted.public_id}/submit/", {})
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert str(lifecycle.charge_attempt(attempt_id=hosted.id)) == "confirming"
    read = api.get(f"/api/payments/{hosted.public_id}/").json()
    assert read["redirect_url"].startswith(f"{sandbox.url}/pay/")


@pytest.mark.parametrize(
    ("method", "body", "code"),
    [
        ("card", {}, "payment_token_required"),
        ("card", {"payment_token": None}, "payment_token_required"),
        ("bank_page", {"payment_token": "tok_visa"}, "payment_token_refused"),
    ],
)
def test_a_token_that_is_missing_or_too_much_is_refused_and_can_be_put_right_at_once(
    api: Api, customer: User, item: StockItem, method: str, body: dict[str, object], code: str
) -> None:
    attempt = factories.place_order(customer=customer, item=item, method=method)
    refused = problem(api.post(f"/api/payments/{attempt.public_id}/submit/", body), 422, code)
    assert (refused["method"], refused["field"]) == (method, "payment_token")
    assert method in refused["detail"]
    assert steps(attempt) == [("open", "customer", "opened")]
    right = {"payment_token": "tok_visa"} if method == "card" else {}
    assert api.post(f"/api/payments/{attempt.public_id}/submit/", right).status_code == 202


@pytest.mark.parametrize(("method", "token", "error"), [("card", "", TokenRequired), ("bank_page", "t", TokenRefused)])
def test_the_typed_calls_refuse_the_same(
    customer: User, item: StockItem, method: str, token: str, error: type[PaymentError]
) -> None:
    attempt = factories.place_order(customer=customer, item=item, method=method)
    with pytest.raises(error):
        checkout.submit_payment(payment_id=attempt.public_id, customer_id=customer.id, payment_token=token)


@pytest.mark.parametrize(("method", "offers_cards"), [("card", True), ("bank_page", False)])
def test_the_shop_offers_cards_only_where_one_is_paid_with(
    customer: User, item: StockItem, method: str, offers_cards: bool
) -> None:
    attempt = factories.place_order(customer=customer, item=item, method=method)
    visitor = Client()
    visitor.force_login(customer)
    page = visitor.get(f"/shop/pay/{attempt.public_id}/").content.decode()
    assert ('name="payment_token"' in page) == offers_cards
    assert 'id="pay-button"' in page


def test_a_payment_that_is_over_says_so_whether_a_token_came_or_not(api: Api, hosted: PaymentAttempt) -> None:
    factories.age_attempt(hosted.id, seconds_left=-1)
    problem(api.post(f"/api/payments/{hosted.public_id}/submit/", {"payment_token": "t"}), 410, "payment_expired")


def test_a_method_is_neither_opened_nor_retried_in_a_currency_that_it_does_not_take(
    customer: User, item: StockItem, sandbox: SandboxProcess, settings: Settings
) -> None:
    settings.PAYMENT_METHODS = METHODS | {"upi": {"gateway": "sandbox", "currencies": ["INR"]}}
    with pytest.raises(UnsupportedCurrency, match=r"'upi' takes INR, not USD\."):
        factories.place_order(customer=customer, item=item, method="upi")
    failed = factories.submit(factories.place_order(customer=customer, item=item), token="tok_declined")
    assert str(lifecycle.charge_attempt(attempt_id=failed.id)) == "failed"
    with pytest.raises(UnsupportedCurrency):
        lifecycle.retry_order(order_id=failed.order.order_id, customer_id=customer.id, method="upi")
    assert PaymentAttempt.objects.count() == 1


CAPABILITIES = SandboxGateway.capabilities


@pytest.mark.parametrize(
    ("options", "capabilities", "named"),
    [
        ({"hosted": True}, {"hosts_pages": False}, "['hosted'] is True, and the gateway 'sandbox' has no page"),
        ({}, {"takes_tokens": False}, "needs 'hosted': True, as the gateway 'sandbox' takes no payment tokens"),
        ({}, {"currencies": frozenset({"INR"})}, "would take EUR, GBP, JPY, USD by PAYMENT_CURRENCIES"),
        ({"currencies": ["INR", "USD"]}, {"currencies": frozenset({"INR"})}, "would take USD by PAYMENT_METHODS['it']"),
        ({"currencies": ["XTS"]}, {}, "['currencies'] (XTS) has to be some of PAYMENT_CURRENCIES"),
        ({"currencies": []}, {}, "['currencies'] () has to be some of PAYMENT_CURRENCIES"),
        ({"currencies": ["INR"]}, {"currencies": frozenset({"INR"})}, None),
        ({"hosted": True}, {"takes_tokens": False}, None),
    ],
)
def test_a_method_that_its_gateway_cannot_do_refuses_to_start(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    sandbox: SandboxProcess,
    options: dict[str, object],
    capabilities: dict[str, object],
    named: str | None,
) -> None:
    changed: Capabilities = replace(CAPABILITIES, **capabilities)  # type: ignore[arg-type]  # of one table of cases
    monkeypatch.setattr(SandboxGateway, "capabilities", changed)
    settings.PAYMENT_METHODS = {"it": {"gateway": "sandbox", **options}}
    if named is None:
        call_command("check")
        return
    with pytest.raises(SystemCheckError) as refused:
        call_command("check")
    assert named in str(refused.value)


def test_a_hosted_method_needs_a_way_back(settings: Settings, sandbox: SandboxProcess) -> None:
    settings.PAYMENT_METHODS = {"it": {"gateway": "sandbox", "hosted": True}}
    settings.PAYMENT_PUBLIC_URL = ""
    with pytest.raises(SystemCheckError, match="nobody would come back"):
        call_command("check")


def test_stripes_library_must_not_print_requests(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, sandbox: SandboxProcess
) -> None:
    settings.PAYMENT_GATEWAYS = {**settings.PAYMENT_GATEWAYS, "stripe": {"api_key": "sk_test_1"}}
    settings.PAYMENT_METHODS = {"it": {"gateway": "stripe"}}
    call_command("check")
    monkeypatch.setenv("STRIPE_LOG", "debug")
    with pytest.raises(SystemCheckError, match="STRIPE_LOG is set"):
        call_command("check")


def test_the_address_of_a_page_where_somebody_pays_is_in_no_log(
    customer: User, item: StockItem, sandbox: SandboxProcess, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    attempt = doubts.confirming(customer=customer, item=item)
    (answered,) = [entry for entry in captured_logs if entry["event"] == "gateway_answered"]
    assert answered["redirect_url"] == urlsplit(sandbox.url).netloc
    assert attempt.redirect_url not in str(captured_logs)


@pytest.mark.parametrize("number", ["4242424242424242", "4242-4242-4242-4242", "4242424242424241"])
def test_a_card_number_is_refused_and_not_repeated(api: Api, customer: User, item: StockItem, number: str) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    answer = api.post(f"/api/payments/{attempt.public_id}/submit/", {"payment_token": number})
    assert "card number" in problem(answer, 422, "payment_token_refused")["detail"]
    assert number not in answer.content.decode()
    attempt.refresh_from_db()
    assert (attempt.state, attempt.payment_token) == ("open", "")
