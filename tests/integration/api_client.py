"""A client of the HTTP API, and what its refusals look like."""

import json
from typing import Any

from django.test import Client

from payments.models import Order, StockItem
from tests import factories

ORDER: dict[str, Any] = {"lines": [{"sku": "MUG-BLUE", "quantity": 2}], "total_minor": 2500, "currency": "USD"}


class Api:
    """A client that speaks JSON with a token."""

    def __init__(self, token: str | None) -> None:
        # As on a real server: a refused token must not be answered as a missing CSRF token.
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.client = Client(enforce_csrf_checks=True, headers=headers)

    def get(self, path: str) -> Any:
        return self.client.get(path)

    def post(self, path: str, body: Any) -> Any:
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.client.post(path, content, content_type="application/json")


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """Assert that the answer is this problem, complete and with the right media type."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    content: dict[str, Any] = json.loads(response.content)
    assert {"type", "title", "status", "code", "detail"} <= content.keys()
    assert (content["status"], content["code"]) == (status, code)
    return content


def untouched(item: StockItem) -> bool:
    return not Order.objects.exists() and factories.stock_of(item) == (100, 0, 0)
