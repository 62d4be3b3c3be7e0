"""The main job on real input: web, worker, beat and gateway as processes, spoken to over HTTP."""

import json
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from kombu import Queue

from payments import queries
from payments.domain.ids import Prefix, parse_public_id
from payments.models import GatewayCall, PaymentMethodPolicy, StockItem
from project.celery import app
from tests import factories
from tests.contract.sandbox_server import wait_until
from tests.system import System

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]

ORDER: dict[str, Any] = {"lines": [{"sku": "MUG-BLUE", "quantity": 2}], "total_minor": 2500, "currency": "USD"}


class Shopper:
    """A customer at the API."""

    def __init__(self, system: System, token: str) -> None:
        self.http = system.http(token)

    def order(self, **changes: Any) -> dict[str, Any]:
        response = self.http.post("/api/orders/", json=ORDER | changes)
        assert response.status_code == 201, response.text
        return dict(response.json())

    def submit(self, payment_id: str, token: str = "tok_visa") -> None:
        response = self.http.post(f"/api/payments/{payment_id}/submit/", json={"payment_token": token})
        assert response.status_code == 202, response.text

    def payment(self, payment_id: str) -> dict[str, Any]:
        return dict(self.http.get(f"/api/payments/{payment_id}/").json())

    def status(self, order_id: str) -> dict[str, Any]:
        return dict(self.http.get(f"/api/orders/payment-status/{order_id}/").json())

    def wait_for(self, payment_id: str, state: str) -> dict[str, Any]:
        wait_until(
            lambda: self.payment(payment_id)["state"] == state, what=f"{payment_id} is {state}", deadline_seconds=30
        )
        return self.payment(payment_id)


@pytest.fixture
def shopper(system: System, customer: User, item: StockItem, token_for: Callable[[User], str]) -> Shopper:
    return Shopper(system, token_for(customer))


def attempt_id(payment_id: str) -> UUID:
    value = parse_public_id(Prefix.PAYMENT, payment_id)
    assert value is not None
    return value


def purge(queue: str) -> int:
    """Lose every message of a queue, as a broker that is flushed does; returns how many."""
    with app.connection_for_write() as broker, broker.channel() as channel:
        return Queue(queue, channel=channel).purge() or 0


def events(system: System, name: str, payment_id: str) -> list[dict[str, Any]]:
    lines = system.log_lines(rf'"event": "{name}"')
    return [event for event in map(json.loads, lines) if event.get("payment_id") == payment_id]


def test_an_order_goes_from_the_shop_to_paid(system: System, shopper: Shopper, item: StockItem) -> None:
    order = shopper.order(order_id="ORD-ABC123")
    payment_id = order["payment"]["id"]
    assert factories.stock_of(item) == (100, 2, 0)
    shopper.submit(payment_id)
    paid = shopper.wait_for(payment_id, "succeeded")
    assert paid["message"] == "Your payment was received. Thank you."
    assert shopper.status("ORD-ABC123")["status"] == "paid"
    assert shopper.status("ORD-ABC123")["is_payment_window_active"] is False
    assert factories.stock_of(item) == (98, 0, 2)
    assert system.sandbox.operations(reference=payment_id) == [("authorize", 2500), ("capture", 2500)]
    history = [(row.from_state, row.to_state) for row in queries.history_of(attempt_id=attempt_id(payment_id))]
    assert history == [("", "open"), ("open", "queued"), ("queued", "charging"), ("charging", "succeeded")]
    (submitted,) = events(system, "payment_submitted", payment_id)
    _, recorded = events(system, "call_recorded", payment_id)
    assert (recorded["order_id"], recorded["state"]) == ("ORD-ABC123", "succeeded")
    assert recorded["request_id"] == submitted["request_id"]  # From the web request to the worker.


def test_a_policy_holds_for_the_next_order_in_a_process_that_has_run_all_along(
    system: System, shopper: Shopper, item: StockItem
) -> None:
    def window(order: dict[str, Any]) -> float:
        payment = order["payment"]
        opened_at, expires_at = (datetime.fromisoformat(payment[name]) for name in ("opened_at", "expires_at"))
        return (expires_at - opened_at).total_seconds()

    first = shopper.order()
    PaymentMethodPolicy.objects.create(method="card", window_minutes=45)
    second = shopper.order()
    PaymentMethodPolicy.objects.update(window_minutes=3)
    third = shopper.order()
    assert [window(order) for order in (first, second, third)] == [15 * 60, 45 * 60, 5 * 60]
    assert window({"payment": shopper.payment(first["payment"]["id"])}) == 15 * 60


def test_an_order_that_is_left_alone_expires_by_itself(system: System, shopper: Shopper, item: StockItem) -> None:
    order = shopper.order(order_id="ORD-IDLE")
    payment = order["payment"]
    factories.age_attempt(attempt_id(payment["id"]), seconds_left=3)
    assert shopper.status("ORD-IDLE")["is_payment_window_active"] is True
    wait_until(lambda: shopper.status("ORD-IDLE")["status"] == "cancelled", what="the sweep", deadline_seconds=30)
    assert shopper.status("ORD-IDLE")["payment_status"] == "expired"
    assert factories.stock_of(item) == (100, 0, 0)
    assert shopper.payment(payment["id"])["failure"]["code"] == "payment_expired"
    wait_until(lambda: bool(events(system, "payment_expired", payment["id"])), what="its log line")
    (line,) = events(system, "payment_expired", payment["id"])
    assert (line["order_id"], line["actor"]) == ("ORD-IDLE", "sweep")
    assert line["expires_at"]
    late = shopper.http.post(f"/api/payments/{payment['id']}/submit/", json={"payment_token": "tok_visa"})
    assert (late.status_code, late.json()["code"]) == (410, "payment_expired")
    assert system.sandbox.ledger()["requests"] == []


def test_a_window_that_closes_while_the_job_waits_is_refused_under_the_lock(
    system: System, shopper: Shopper, item: StockItem
) -> None:
    system.beat.stop()  # Nobody sweeps: the claim itself has to refuse.
    system.worker.stop()
    purge("expiry")
    payment_id = shopper.order(order_id="ORD-QUEUED")["payment"]["id"]
    shopper.submit(payment_id)
    factories.age_attempt(attempt_id(payment_id), seconds_left=-0.1)
    assert shopper.payment(payment_id)["failure"]["code"] == "payment_expired"
    system.worker.start()
    wait_until(lambda: shopper.status("ORD-QUEUED")["status"] == "cancelled", what="the claim", deadline_seconds=30)
    assert queries.history_of(attempt_id=attempt_id(payment_id))[-1].actor == "worker"
    assert system.sandbox.ledger()["requests"] == []
    assert GatewayCall.objects.count() == 0
    assert factories.stock_of(item) == (100, 0, 0)
    wait_until(lambda: bool(events(system, "payment_expired", payment_id)), what="its log line")
    (line,) = events(system, "payment_expired", payment_id)
    assert line["order_id"] == "ORD-QUEUED"
    recorded = queries.history_of(attempt_id=attempt_id(payment_id))[-1].evidence["expires_at"]
    assert datetime.fromisoformat(line["expires_at"]) == datetime.fromisoformat(recorded)


def test_a_declined_card_says_why_and_that_nothing_was_charged(system: System, shopper: Shopper) -> None:
    payment_id = shopper.order()["payment"]["id"]
    shopper.submit(payment_id, token="tok_insufficient_funds")
    failed = shopper.wait_for(payment_id, "failed")
    assert failed["failure"]["code"] == "insufficient_funds"
    assert "not been charged" in failed["message"]
    assert system.sandbox.operations() == []


def test_forty_customers_at_once_pay_once_each(
    system: System, item: StockItem, token_for: Callable[[User], str]
) -> None:
    tokens = [token_for(factories.make_user()) for _ in range(40)]

    def buy(token: str) -> str:
        shopper = Shopper(system, token)
        payment_id = str(shopper.order()["payment"]["id"])
        shopper.submit(payment_id)
        return payment_id

    with ThreadPoolExecutor(max_workers=20) as pool:
        bought = list(pool.map(buy, tokens))
    first = Shopper(system, tokens[0])
    first.wait_for(bought[0], "succeeded")
    wait_until(lambda: factories.stock_of(item) == (20, 0, 80), what="all are paid", deadline_seconds=60)
    assert sorted(row["reference"] for row in system.sandbox.ledger()["charges"]) == sorted(bought)
    assert sorted(system.sandbox.operations()) == [("authorize", 2500)] * 40 + [("capture", 2500)] * 40


def test_a_job_that_the_broker_lost_is_found_in_its_row(system: System, shopper: Shopper) -> None:
    system.worker.stop()
    payment_id = shopper.order()["payment"]["id"]
    shopper.submit(payment_id)
    wait_until(lambda: purge("charge") == 1, what="the web process has published the job, and the broker has lost it")
    system.worker.start()
    assert shopper.wait_for(payment_id, "succeeded")


@pytest.mark.parametrize("beat_is", ["dead", "frozen"])
def test_the_workers_go_on_without_beat(
    system: System, shopper: Shopper, item: StockItem, beat_is: str, request: pytest.FixtureRequest
) -> None:
    """One that is frozen lives, as behind a clock that was set back, and publishes nothing."""
    if beat_is == "dead":
        system.beat.stop()
    else:
        system.beat.signal(signal.SIGSTOP)
        request.addfinalizer(lambda: system.beat.signal(signal.SIGCONT))
    system.worker.stop()
    idle, paid = (shopper.order()["payment"]["id"] for _ in range(2))
    shopper.submit(paid)
    wait_until(lambda: purge("charge") == 1, what="the web process has published the job, and the broker has lost it")
    purge("expiry")
    purge("upkeep")
    factories.age_attempt(attempt_id(idle), seconds_left=-0.1)
    system.worker.start()
    shopper.wait_for(paid, "succeeded")
    wait_until(lambda: factories.stock_of(item) == (98, 0, 2), what="the watchdog's sweep", deadline_seconds=30)
    assert {json.loads(line)["duty"] for line in system.log_lines('"event": "duty_taken_over"')} == {
        "sweep",
        "rescue",
        "announce",
    }


def test_a_megabyte_is_refused_by_the_real_server(system: System, shopper: Shopper) -> None:
    response = shopper.http.post("/api/orders/", content=b" " * 1_000_000, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
