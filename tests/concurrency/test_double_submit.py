"""The same click many times at once: each layer stops all but one, with the other layers gone."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from pytest_django import Settings

from payments import dispatch, gate, quickstore
from payments.domain.errors import PaymentInFlight
from payments.models import IdempotencyRecord, Order, PaymentAttempt, StockItem
from tests import factories
from tests.concurrency.test_locks import another_session, at_once, waiting_for_locks
from tests.contract.sandbox_server import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

CLICKS = 30
ORDER: dict[str, Any] = {"lines": [{"sku": "MUG-BLUE", "quantity": 1}], "total_minor": 1250, "currency": "USD"}

Post = Callable[..., Any]


@pytest.fixture
def post(customer: User, token_for: Callable[[User], str]) -> Post:
    """Send one request, as a browser of the customer's of its own."""
    token = token_for(customer)

    def send(path: str, body: dict[str, Any], *, key: str | None = None) -> Any:
        headers = {"Authorization": f"Bearer {token}"} | ({} if key is None else {"Idempotency-Key": key})
        return Client(headers=headers).post(path, json.dumps(body), content_type="application/json")

    return send


@pytest.fixture
def patient_gate(settings: Settings) -> Iterator[None]:
    """A machine that is busy with tests must not open the gate."""
    settings.PAYMENT_GATE_TIMEOUT_MILLISECONDS = 10_000
    yield
    quickstore.close()


def submit_path(attempt: PaymentAttempt) -> str:
    return f"/api/payments/{attempt.public_id}/submit/"


def answers(responses: list[Any]) -> dict[str, int]:
    """How many answers said what: the state of a success, the code of a refusal."""
    counted: dict[str, int] = {}
    for response in responses:
        content = response.json()
        said = str(content.get("code") or content.get("state"))
        counted[said] = counted.get(said, 0) + 1
    return counted


def queued_once(attempt: PaymentAttempt) -> bool:
    return [step[0] for step in factories.steps(attempt)] == ["open", "queued"]


@pytest.mark.usefixtures("without_redis")
def test_the_lock_and_the_state_alone_let_one_of_many_clicks_through(
    customer: User, item: StockItem, post: Post
) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    clicks = [partial(post, submit_path(attempt), {"payment_token": f"tok_{number}"}) for number in range(CLICKS)]
    assert answers(at_once(clicks)) == {"queued": 1, "already_submitted": CLICKS - 1}
    assert queued_once(attempt)


@pytest.mark.usefixtures("patient_gate")
def test_with_the_gate_the_other_clicks_are_in_flight(customer: User, item: StockItem, post: Post) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    clicks = [partial(post, submit_path(attempt), {"payment_token": f"tok_{number}"}) for number in range(CLICKS)]
    assert answers(at_once(clicks)) == {"queued": 1, "payment_in_flight": CLICKS - 1}
    assert queued_once(attempt)
    assert dispatch.flush(timeout_seconds=10)


@pytest.mark.usefixtures("patient_gate")
def test_the_gate_alone_lets_one_of_many_pass() -> None:
    attempt_id, everybody_tried = uuid4(), threading.Barrier(CLICKS)

    def enter(_: int) -> str:
        try:
            with gate.passing(attempt_id=attempt_id, customer_id=1) as passage:
                everybody_tried.wait(30)
                passage.give_back()
                return "passed"
        except PaymentInFlight:
            everybody_tried.wait(30)
            return "in flight"

    with ThreadPoolExecutor(CLICKS) as pool:
        results = list(pool.map(enter, range(CLICKS)))
    assert sorted(results) == ["in flight"] * (CLICKS - 1) + ["passed"]


@pytest.mark.usefixtures("without_redis")
def test_one_of_many_equal_submits_under_one_key_does_the_work(customer: User, item: StockItem, post: Post) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    click = partial(post, submit_path(attempt), {"payment_token": "tok_visa"}, key="the click")
    check_one_effect(at_once([click] * CLICKS), status=202)
    assert queued_once(attempt)


@pytest.mark.usefixtures("without_redis", "item")
def test_one_of_many_equal_orders_under_one_key_is_placed(post: Post) -> None:
    """Nothing else stops this one: without a key each request is an order."""
    check_one_effect(at_once([partial(post, "/api/orders/", ORDER, key="the order")] * CLICKS), status=201)
    assert Order.objects.count() == 1


def check_one_effect(responses: list[Any], *, status: int) -> None:
    succeeded = [response for response in responses if response.status_code == status]
    others = [response for response in responses if response.status_code != status]
    assert [response.get("Idempotent-Replayed") for response in succeeded].count(None) == 1
    assert len({response.content for response in succeeded}) == 1
    assert {response.json()["code"] for response in others} <= {"idempotency_key_in_use"}
    assert {response["Retry-After"] for response in others} <= {"1"}


@pytest.mark.usefixtures("without_redis")
def test_a_request_that_is_slower_than_its_lease_changes_nothing_once_a_repeat_took_over(
    item: StockItem, post: Post
) -> None:
    place = partial(post, "/api/orders/", ORDER, key="the order")
    slow, repeat = Request(place), Request(place)
    with another_session() as holder, another_session() as observer:
        observer.autocommit = True
        holder.execute("SELECT id FROM payments_stockitem FOR UPDATE")
        slow.start()
        wait_until(lambda: waiting_for_locks(observer) == 1, what="the slow one waits for the stock")
        assert place().json()["code"] == "idempotency_key_in_use"
        observer.execute("UPDATE payments_idempotencyrecord SET lease_expires_at = clock_timestamp()")
        repeat.start()
        wait_until(lambda: waiting_for_locks(observer) == 2, what="its repeat has taken over and waits too")
        holder.rollback()
        slow.join()
        repeat.join()
    assert (slow.response.status_code, slow.response.json()["code"]) == (409, "idempotency_key_in_use")
    assert repeat.response.status_code == 201
    assert Order.objects.get().order_id == repeat.response.json()["order_id"]
    assert factories.stock_of(item) == (100, 1, 0)
    record = IdempotencyRecord.objects.get()
    assert (record.status, bytes(record.body or b"")) == (201, repeat.response.content)


@pytest.mark.usefixtures("without_redis")
def test_a_repeat_that_takes_over_during_the_commit_waits_for_it_and_only_answers(
    item: StockItem, post: Post, settings: Settings
) -> None:
    settings.PAYMENT_IDEMPOTENCY_LEASE_SECONDS = 0
    place = partial(post, "/api/orders/", ORDER, key="the order")
    slow, repeat = Request(place), Request(place)
    with another_session() as holder, another_session() as observer:
        observer.autocommit = True
        observer.execute(
            """
            CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END';
            CREATE CONSTRAINT TRIGGER wait_here AFTER UPDATE ON payments_idempotencyrecord
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.attempt_id IS NULL AND NEW.attempt_id IS NOT NULL)
            EXECUTE FUNCTION wait_here()
            """
        )
        try:
            holder.execute("SELECT pg_advisory_xact_lock(4711)")
            slow.start()
            wait_until(lambda: waiting_for_locks(observer) == 1, what="the first one is about to commit")
            repeat.start()
            wait_until(lambda: waiting_for_locks(observer) == 2, what="its repeat waits for the record")
            holder.rollback()
            slow.join()
            repeat.join()
        finally:
            observer.execute("DROP FUNCTION wait_here CASCADE")
    assert (slow.response.status_code, repeat.response.status_code) == (201, 201)
    assert repeat.response["Idempotent-Replayed"] == "true"
    assert slow.response.json()["id"] == repeat.response.json()["id"]
    assert Order.objects.count() == 1
    assert factories.stock_of(item) == (100, 1, 0)


class Request(threading.Thread):
    """A request in a thread of its own."""

    def __init__(self, send: Callable[[], Any]) -> None:
        super().__init__()
        self._send = send
        self.response: Any = None

    def run(self) -> None:
        try:
            self.response = self._send()
        finally:
            connection.close()
