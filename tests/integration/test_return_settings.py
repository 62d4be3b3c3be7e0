"""Kinds of orders, and where they may send customers: what refuses to start, and what an order may be."""

import json

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import DatabaseError
from pytest_django import Settings

from payments import checkout
from payments.domain.errors import UnknownKind
from payments.models import Order, StockItem
from project.settings import environment
from tests import factories
from tests.integration.api_client import ORDER, Api, problem, untouched

SUCCESS = "https://www.okpuja.com/astro-booking-success?astro_book_id={order_id}"
FAILURE = "https://www.okpuja.com/astro-booking-failed"
ASTROLOGY = {"astrology": {"success_url": SUCCESS, "failure_url": FAILURE}}


@pytest.fixture(autouse=True)
def astrology(settings: Settings) -> None:
    settings.PAYMENT_ORDER_KINDS = ASTROLOGY
    settings.PAYMENT_RETURN_ORIGINS = ["https://www.okpuja.com"]


def test_the_worked_example_is_accepted() -> None:
    call_command("check")


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        ("PAYMENT_RETURN_ORIGINS", [], "leads to https://www.okpuja.com, which PAYMENT_RETURN_ORIGINS does not list"),
        ("PAYMENT_RETURN_ORIGINS", ["*"], "PAYMENT_RETURN_ORIGINS contains '*'"),
        ("PAYMENT_RETURN_ORIGINS", ["https://*.okpuja.com"], "contains 'https://*.okpuja.com'"),
        ("PAYMENT_RETURN_ORIGINS", ["https://www.okpuja.com/"], "contains 'https://www.okpuja.com/'"),
        ("PAYMENT_RETURN_ORIGINS", ["http://www.okpuja.com"], "contains 'http://www.okpuja.com'"),
        ("PAYMENT_ORDER_KINDS", {"Astro": {}}, "PAYMENT_ORDER_KINDS['Astro'] needs a name"),
        ("PAYMENT_ORDER_KINDS", {"": {}}, "PAYMENT_ORDER_KINDS[''] needs a name"),
        ("PAYMENT_ORDER_KINDS", {"a": {"succes_url": FAILURE}}, "PAYMENT_ORDER_KINDS['a'] has 'succes_url'"),
        ("PAYMENT_ORDER_KINDS", {"a": {"success_url": FAILURE}}, "PAYMENT_ORDER_KINDS['a'] needs both"),
        (
            "PAYMENT_ORDER_KINDS",
            {"a": {"success_url": FAILURE, "failure_url": "https://evil.com/"}},
            "PAYMENT_ORDER_KINDS['a']['failure_url'] leads to https://evil.com",
        ),
        ("PAYMENT_PUBLIC_URL", "", "PAYMENT_PUBLIC_URL is ''"),
        ("PAYMENT_PUBLIC_URL", "ftp://pay.example", "PAYMENT_PUBLIC_URL is 'ftp://pay.example'"),
    ],
)
def test_settings_that_would_send_customers_astray_refuse_to_start(
    settings: Settings, setting: str, value: object, named: str
) -> None:
    setattr(settings, setting, value)
    with pytest.raises(SystemCheckError) as refused:
        call_command("check")
    assert named in str(refused.value)


def test_a_shop_on_this_machine_is_for_development_only(settings: Settings) -> None:
    settings.PAYMENT_RETURN_ORIGINS = ["http://localhost:3000"]
    settings.PAYMENT_ORDER_KINDS = {
        "a": {"success_url": "http://localhost:3000/", "failure_url": "http://localhost:3000/"}
    }
    call_command("check")
    settings.PAYMENT_RETURN_TO_LOCALHOST = False
    with pytest.raises(SystemCheckError, match="leads to http://localhost:3000, which is not https"):
        call_command("check")


def test_the_kinds_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.mapping("PAYMENT_ORDER_KINDS") == {}
    monkeypatch.setenv("PAYMENT_ORDER_KINDS", json.dumps(ASTROLOGY))
    assert environment.mapping("PAYMENT_ORDER_KINDS") == ASTROLOGY


@pytest.mark.parametrize("text", ["{", "[]", "1", '{"a": 1}', '{"a": {"success_url": null}}'])
def test_kinds_that_cannot_be_read_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PAYMENT_ORDER_KINDS", text)
    with pytest.raises(ImproperlyConfigured, match="PAYMENT_ORDER_KINDS must be a JSON object"):
        environment.mapping("PAYMENT_ORDER_KINDS")


@pytest.mark.django_db
def test_an_order_keeps_its_kind(api: Api, item: StockItem) -> None:
    answer = api.post("/api/orders/", {**ORDER, "kind": "astrology", "order_id": "ASTRO_BOOK_1A2B3C4D"})
    assert answer.status_code == 201, answer.content
    assert Order.objects.get().kind == "astrology"


@pytest.mark.django_db
def test_an_order_without_a_kind_is_an_ordinary_one(api: Api, item: StockItem) -> None:
    assert api.post("/api/orders/", ORDER).status_code == 201
    assert Order.objects.get().kind == ""


@pytest.mark.django_db
def test_an_unknown_kind_is_refused_by_name(api: Api, item: StockItem) -> None:
    answer = api.post("/api/orders/", {**ORDER, "kind": "tarot"})
    assert problem(answer, 422, "unknown_kind")["detail"] == "There is no kind of order 'tarot'; known are astrology."
    assert untouched(item)


@pytest.mark.django_db
def test_typed_calls_refuse_an_unknown_kind_too(customer: User, item: StockItem) -> None:
    with pytest.raises(UnknownKind):
        checkout.open_payment(
            customer_id=customer.id,
            lines=[checkout.RequestedLine(sku=item.sku, quantity=1)],
            total_minor=item.unit_price_minor,
            currency="USD",
            kind="tarot",
        )
    assert untouched(item)


@pytest.mark.django_db
def test_the_kind_of_an_order_never_changes(customer: User, item: StockItem) -> None:
    order = factories.place_order(customer=customer, item=item).order
    with pytest.raises(DatabaseError, match="Cannot update rows"):
        Order.objects.filter(id=order.id).update(kind="astrology")
