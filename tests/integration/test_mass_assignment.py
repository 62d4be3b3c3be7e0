"""What is not a client's to set is refused by its name, in every body that the API takes; nothing changes."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from payments.api.urls import api as the_api
from payments.models import Order, PaymentAttempt, StockItem
from tests import factories
from tests.integration.api_client import ORDER, Api, problem

pytestmark = pytest.mark.django_db(transaction=True)

NOT_THEIRS: dict[str, Any] = {
    "amount": 1,
    "amount_minor": 1,
    "currency": "EUR",
    "status": "paid",
    "payment_status": "succeeded",
    "state": "succeeded",
    "expires_at": "2099-01-01T00:00:00Z",
    "window_minutes": 1440,
    "user": 1,
    "user_id": 1,
    "customer": 1,
    "customer_id": 1,
    "is_staff": True,
    "id": "pay_0198f0c2e4b27c3a9d1e5f60718293a4",
    "price": 1,
    "unit_price_minor": 1,
    "attempts_left": 99,
    "__proto__": {"is_staff": True},
}

WHY = {"reason": "The customer changed their mind."}

# A good body for each path that takes one; a new path without one fails.
GOOD: dict[str, dict[str, Any]] = {
    "/api/orders/": ORDER,
    "/api/orders/admin/cleanup/expired/": WHY,
    "/api/orders/admin/trigger-cleanup-task/": WHY,
    "/api/payments/cleanup/": WHY,
    "/api/payments/retry/": {"order_id": "ORD-ABC123"},
    "/api/payments/{payment_id}/cancel/": WHY,
    "/api/payments/{payment_id}/refund/": WHY,
    "/api/payments/{payment_id}/submit/": {"payment_token": "tok_visa"},
}

# Whoever is no staff is refused before the body is read.
FOR_STAFF = {path for path in GOOD if "cleanup" in path or "refund" in path}


def bodies() -> dict[str, dict[str, Any]]:
    """Find every POST that takes a body, with its schema."""
    document = the_api.get_openapi_schema()
    found = {}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                found[path] = _resolved(schema, document)
    return found


def _resolved(schema: dict[str, Any], document: Any) -> dict[str, Any]:
    options = [schema, *schema.get("anyOf", ())]
    (reference,) = [option["$ref"] for option in options if "$ref" in option]
    found: dict[str, Any] = document["components"]["schemas"][reference.rpartition("/")[2]]
    return found


def cases() -> Iterator[tuple[str, str]]:
    for path, schema in bodies().items():
        yield from ((path, name) for name in NOT_THEIRS if name not in schema["properties"])


def facts() -> list[Any]:
    """What a client could have changed."""
    orders = list(Order.objects.order_by("id").values())
    attempts = list(PaymentAttempt.objects.order_by("id").values())
    users = list(User.objects.order_by("id").values("id", "is_staff", "is_superuser", "is_active"))
    return [orders, attempts, users, list(StockItem.objects.values())]


def test_every_body_is_tried() -> None:
    assert set(bodies()) == set(GOOD)
    assert len(list(cases())) > 90


@pytest.mark.parametrize("path", sorted(GOOD))
def test_what_is_not_the_clients_is_refused_by_name(
    path: str, customer: User, staff: User, item: StockItem, token_for: Any
) -> None:
    attempt = factories.place_order(customer=customer, item=item, order_id="ORD-ABC123")
    before, url = facts(), path.replace("{payment_id}", attempt.public_id)
    names = [name for case_path, name in cases() if case_path == path]
    for user in (staff,) if path in FOR_STAFF else (customer, staff):
        api = Api(token_for(user))
        for name in names:
            content = problem(api.post(url, {**GOOD[path], name: NOT_THEIRS[name]}), 422, "invalid_request")
            assert [error["field"] for error in content["errors"]] == [name]
        together = problem(
            api.post(url, GOOD[path] | {name: NOT_THEIRS[name] for name in names}), 422, "invalid_request"
        )
        assert {error["field"] for error in together["errors"]} == set(names)
    assert facts() == before


@pytest.mark.parametrize("name", ["price", "unit_price_minor", "amount_minor", "currency", "id"])
def test_nor_is_a_line_of_an_order(name: str, api: Api, item: StockItem) -> None:
    body = copy.deepcopy(ORDER)
    body["lines"][0][name] = NOT_THEIRS[name]
    content = problem(api.post("/api/orders/", body), 422, "invalid_request")
    assert [error["field"] for error in content["errors"]] == [f"lines.0.{name}"]
    assert not Order.objects.exists()
