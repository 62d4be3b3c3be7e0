"""The in-flight gate: what it answers by itself, and that nothing depends on it."""

from collections.abc import Callable, Iterator, MutableMapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from pytest_django import DjangoAssertNumQueries, Settings

from payments import clocks, gate, lifecycle, quickstore
from payments.domain.errors import AlreadySubmitted, NotFound, PaymentExpired, PaymentInFlight
from payments.models import PaymentAttempt, StockItem
from tests import factories
from tests.contract.sandbox_server import wait_until
from tests.factories import steps
from tests.faults import SilentServer
from tests.integration.api_client import Api, problem
from tests.integration.conftest import NOBODY_LISTENS
from tests.system import test_database_url

pytestmark = pytest.mark.django_db(transaction=True)

Logs = list[MutableMapping[str, Any]]


@pytest.fixture(autouse=True)
def patient_gate(settings: Settings) -> Iterator[None]:
    """A machine that is busy with tests must not open the gate."""
    settings.PAYMENT_GATE_TIMEOUT_MILLISECONDS = 10_000
    yield
    quickstore.close()


@pytest.fixture
def store() -> Iterator[redis.Redis]:
    with redis.Redis.from_url(django_settings.REDIS_URL, decode_responses=True) as client:
        yield client


def key_of(attempt: PaymentAttempt) -> str:
    return f"paywindow:in-flight:{attempt.id}:{attempt.customer_id}"


def test_a_second_click_is_refused_without_asking_the_database(
    customer: User, item: StockItem, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    with django_assert_num_queries(0), pytest.raises(PaymentInFlight) as refused:
        factories.submit(attempt)
    assert refused.value.facts["retry_after_seconds"] in range(1, 36)
    assert steps(attempt) == [("open", "customer", "opened"), ("queued", "customer", "submitted")]


def test_a_second_click_is_a_409_that_says_when_to_ask_again(
    customer: User, item: StockItem, token_for: Callable[[User], str]
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    response = Api(token_for(customer)).post(
        f"/api/payments/{attempt.public_id}/submit/", {"payment_token": "tok_visa"}
    )
    content = problem(response, 409, "payment_in_flight")
    assert response["Retry-After"] == str(content["retry_after_seconds"])


@pytest.mark.parametrize("total_seconds", [30, 250])
def test_the_gate_is_shut_for_longer_than_the_longest_charge(
    customer: User, item: StockItem, settings: Settings, store: redis.Redis, total_seconds: int
) -> None:
    settings.PAYMENT_GATEWAY_TOTAL_SECONDS, settings.PAYMENT_GATE_MARGIN_SECONDS = total_seconds, 600
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    assert total_seconds < store.ttl(key_of(attempt)) <= total_seconds + 600


def test_a_refused_submit_opens_the_gate_again(
    customer: User, other: User, item: StockItem, store: redis.Redis
) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    with pytest.raises(NotFound):
        lifecycle.submit_attempt(attempt_id=attempt.id, customer_id=other.id, payment_token="tok_visa")
    factories.age_attempt(attempt.id, seconds_left=-1)
    with pytest.raises(PaymentExpired):
        factories.submit(attempt)
    assert store.keys(f"paywindow:in-flight:{attempt.id}:*") == []


def test_a_submit_that_failed_opens_the_gate_again(customer: User, item: StockItem) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    with psycopg.connect(test_database_url()) as holder:
        holder.execute("SELECT id FROM payments_order FOR UPDATE")
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        with pytest.raises(OperationalError):
            factories.submit(attempt)
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")  # The pool gives the connection to somebody else next.
    assert factories.submit(attempt).state == "queued"


def test_a_stranger_neither_learns_of_a_payment_in_flight_nor_keeps_its_owner_out(
    customer: User, other: User, item: StockItem
) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    with gate.passing(attempt_id=attempt.id, customer_id=other.id):
        assert factories.submit(attempt).state == "queued"
    stranger = factories.make_user()
    with pytest.raises(NotFound):
        lifecycle.submit_attempt(attempt_id=attempt.id, customer_id=stranger.id, payment_token="tok_visa")


def test_only_the_owner_of_the_key_opens_the_gate(customer: User, item: StockItem, store: redis.Redis) -> None:
    """The key of a submission that took too long has run out, and the next submission holds it now."""
    attempt = factories.place_order(customer=customer, item=item)

    def take_too_long_and_fail() -> None:
        with gate.passing(attempt_id=attempt.id, customer_id=customer.id) as passage:
            store.set(key_of(attempt), "the next submission's", px=3_600_000)
            passage.end_with_window(left=timedelta(0))
            message = "it failed"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="it failed"):
        take_too_long_and_fail()
    assert store.get(key_of(attempt)) == "the next submission's"
    assert store.pttl(key_of(attempt)) > 1_800_000
    with pytest.raises(PaymentInFlight):
        factories.submit(attempt)


def test_after_the_deadline_the_answer_is_expired_and_not_in_flight(
    customer: User, item: StockItem, store: redis.Redis, token_for: Callable[[User], str]
) -> None:
    api = Api(token_for(customer))
    attempt = factories.place_order(customer=customer, item=item)
    factories.age_attempt(attempt.id, seconds_left=3)
    submit_path = f"/api/payments/{attempt.public_id}/submit/"
    assert api.post(submit_path, {"payment_token": "tok_visa"}).status_code == 202
    assert 0 < store.pttl(key_of(attempt)) <= 3000
    problem(api.post(submit_path, {"payment_token": "tok_visa"}), 409, "payment_in_flight")
    attempt.refresh_from_db()
    wait_until(lambda: clocks.database_now() >= attempt.expires_at, what="the window has closed")
    problem(api.post(submit_path, {"payment_token": "tok_visa"}), 410, "payment_expired")
    assert steps(attempt)[-1] == ("expired", "customer", "window_closed")


def test_a_long_window_does_not_keep_the_gate_shut(customer: User, store: redis.Redis) -> None:
    with gate.passing(attempt_id=uuid4(), customer_id=customer.id) as passage:
        passage.end_with_window(left=timedelta(hours=24))
        (key,) = store.keys(f"paywindow:in-flight:*:{customer.id}")
        assert 0 < store.pttl(key) <= 35_000


# Without Redis


def test_without_redis_the_state_refuses_the_second_click(
    customer: User, item: StockItem, captured_logs: Logs, without_redis: None
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    for _ in range(2):
        with pytest.raises(AlreadySubmitted):
            factories.submit(attempt)
    assert len(steps(attempt)) == 2
    assert [event["event"] for event in captured_logs].count("redis_left_alone") == 1


def test_a_silent_redis_is_waited_for_once_in_a_while_and_stops_nobody(
    customer: User, item: StockItem, settings: Settings, captured_logs: Logs, silent_server: SilentServer
) -> None:
    settings.PAYMENT_GATE_TIMEOUT_MILLISECONDS, settings.PAYMENT_GATE_PAUSE_SECONDS = 50, 3600
    settings.REDIS_URL = f"redis://127.0.0.1:{silent_server.port}/0"
    quickstore.close()
    attempts = [factories.place_order(customer=customer, item=item) for _ in range(3)]
    assert [factories.submit(attempt).state for attempt in attempts] == ["queued"] * 3
    assert (silent_server.connections, silent_server.is_released) == (1, False)
    assert [event["event"] for event in captured_logs].count("redis_left_alone") == 1


def test_when_the_pause_is_over_the_gate_is_back(customer: User, item: StockItem, settings: Settings) -> None:
    own, settings.PAYMENT_GATE_PAUSE_SECONDS = settings.REDIS_URL, 0
    settings.REDIS_URL = NOBODY_LISTENS
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    with pytest.raises(AlreadySubmitted):
        factories.submit(attempt)
    settings.REDIS_URL = own
    with gate.passing(attempt_id=attempt.id, customer_id=customer.id), pytest.raises(PaymentInFlight):
        factories.submit(attempt)
