"""A customer who clicks two hundred times at the same instant pays once."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from django.contrib.auth.models import User

from payments.models import StockItem
from tests.contract.sandbox_server import wait_until
from tests.crash.facts import read_facts
from tests.crash.verdict import assert_clean
from tests.system import System

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True)]

CLICKS = 200
TOKEN = {"payment_token": "tok_visa"}


@pytest.fixture
def http(system: System, customer: User, token_for: Callable[[User], str]) -> Iterator[httpx.Client]:
    """The customer, with as many connections as there are clicks."""
    headers = {"Authorization": f"Bearer {token_for(customer)}"}
    limits = httpx.Limits(max_connections=CLICKS, max_keepalive_connections=0)
    with httpx.Client(base_url=system.web_url, headers=headers, limits=limits, timeout=60, trust_env=False) as client:
        yield client


def test_two_hundred_clicks_at_once_charge_once(system: System, http: httpx.Client, item: StockItem) -> None:
    order = {"lines": [{"sku": item.sku, "quantity": 1}], "total_minor": 1250, "currency": "USD"}
    payment_id = http.post("/api/orders/", json=order).json()["payment"]["id"]
    ready = threading.Barrier(CLICKS)

    def click(_: int) -> httpx.Response:
        ready.wait()
        return http.post(f"/api/payments/{payment_id}/submit/", json=TOKEN)

    with ThreadPoolExecutor(max_workers=CLICKS) as pool:
        answers = list(pool.map(click, range(CLICKS)))
    assert Counter(answer.status_code for answer in answers) == {202: 1, 409: CLICKS - 1}
    refused = [answer.json() for answer in answers if answer.status_code == 409]
    # Most of them at the gate; one that comes when Redis is slow, at the lock.
    assert {problem["code"] for problem in refused} <= {"payment_in_flight", "already_submitted"}
    assert all("submitted" in problem["detail"] for problem in refused), refused[0]

    wait_until(
        lambda: http.get(f"/api/payments/{payment_id}/").json()["state"] == "succeeded",
        what="it is charged",
        deadline_seconds=30,
    )
    assert system.sandbox.operations() == [("authorize", 1250), ("capture", 1250)]
    assert_clean(read_facts(database_url=system.env["DATABASE_URL"], ledger=system.sandbox.ledger()))
