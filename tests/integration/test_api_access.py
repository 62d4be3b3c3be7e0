"""Who may do what over HTTP: owners, staff and sessions."""

import json
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from payments.models import StockItem
from tests import factories
from tests.integration.api_client import ORDER, Api, problem, untouched

pytestmark = pytest.mark.django_db(transaction=True)


def test_staff_see_everybodys(staff: User, customer: User, item: StockItem, token_for: Callable[[User], str]) -> None:
    attempt = factories.place_order(customer=customer, item=item, order_id="ORD-ABC123")
    api = Api(token_for(staff))
    assert api.get(f"/api/payments/{attempt.public_id}/").status_code == 200
    assert api.get("/api/orders/payment-status/ORD-ABC123/").status_code == 200


def test_a_session_needs_its_csrf_token(customer: User, item: StockItem) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(customer)
    response = client.post("/api/orders/", json.dumps(ORDER), content_type="application/json")
    problem(response, 403, "forbidden")
    assert untouched(item)
