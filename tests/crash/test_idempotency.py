"""A web process is killed with an idempotency key in its hands, before or after the commit of its work.

A trigger of this test makes PostgreSQL wait at one statement. There the process gets SIGKILL, and then its session is
ended, as the kernel of a dead host would end it.
"""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest
import redis
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from payments.models import IdempotencyRecord, Order, PaymentAttempt, StockItem
from tests import factories
from tests.contract.sandbox_server import free_port, wait_until
from tests.system import ManagedProcess, test_database_url

pytestmark = pytest.mark.django_db(transaction=True)

ORDER: dict[str, Any] = {"lines": [{"sku": "MUG-BLUE", "quantity": 2}], "total_minor": 2500, "currency": "USD"}
KEY = "8e03978e-40d5-43e8-bc93-6894a57f9324"
BEFORE_THE_COMMIT = "NEW.attempt_id IS NOT NULL AND OLD.attempt_id IS NULL"  # The last statement of the work.
AFTER_THE_COMMIT = "NEW.state = 'finished'"  # The answer is about to be kept.


class Web:
    """A web server that is killed while it works on a request."""

    def __init__(self, process: ManagedProcess, *, url: str, token: str) -> None:
        self.process, self.url, self.token = process, url, token

    def die_during(self, path: str, body: dict[str, Any], *, at: str) -> None:
        """Send a keyed POST and kill the server when it comes to the statement that `at` describes."""
        request = threading.Thread(target=self._send_in_vain, args=(path, body))
        with statement_that_waits(at) as waiting:
            request.start()
            wait_until(lambda: len(waiting()) == 1, what="the request comes to the statement")
            self.process.kill()
            end_sessions(waiting())
            wait_until(lambda: waiting() == [], what="its session has ended")
            request.join()

    def send(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Send a keyed POST to the server."""
        headers = self._headers | {"Content-Type": "application/json"}
        with httpx.Client(trust_env=False) as client:
            return client.post(self.url + path, content=json.dumps(body), headers=headers, timeout=60)

    def _send_in_vain(self, path: str, body: dict[str, Any]) -> None:
        with pytest.raises(httpx.TransportError):
            self.send(path, body)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", "Idempotency-Key": KEY}

    def repeat(self, path: str, body: dict[str, Any]) -> Any:
        """Send the same request to a process that lives."""
        return Client(headers=self._headers).post(path, json.dumps(body), content_type="application/json")


@contextmanager
def statement_that_waits(condition: str) -> Iterator[Callable[[], list[int]]]:
    """Let every change of a record that fits `condition` wait; gives the sessions that do."""

    def waiting() -> list[int]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
            )
            return [pid for (pid,) in cursor.fetchall()]

    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END';
            CREATE TRIGGER wait_here BEFORE UPDATE ON payments_idempotencyrecord
            FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION wait_here()
            """
        )
    try:
        with psycopg.connect(test_database_url()) as holder:
            holder.execute("SELECT pg_advisory_xact_lock(4711)")
            yield waiting
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION wait_here CASCADE")


def end_sessions(sessions: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", [sessions])


@pytest.fixture
def web(customer: User, token_for: Callable[[User], str], tmp_path: Any) -> Iterator[Web]:
    port = free_port()
    process = ManagedProcess(
        "web",
        [sys.executable, "-m", "gunicorn", "project.wsgi", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"],
        env={
            "DATABASE_URL": test_database_url(),
            "REDIS_URL": django_settings.REDIS_URL,
            "CELERY_BROKER_URL": django_settings.CELERY_BROKER_URL,
            "DJANGO_SETTINGS_MODULE": "project.settings.test",
        },
        folder=tmp_path,
    )
    process.start()
    try:
        wait_until(lambda: "Booting worker" in process.log, what="the web server", deadline_seconds=30)
        yield Web(process, url=f"http://127.0.0.1:{port}", token=token_for(customer))
    finally:
        process.stop()


def let_the_lease_end() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE payments_idempotencyrecord SET lease_expires_at = clock_timestamp()")
        assert cursor.rowcount == 1


def is_replayed(response: Any) -> bool:
    return bool(response.get("Idempotent-Replayed") == "true")


def check_repeats_until_answered(web: Web, path: str, body: dict[str, Any], *, status: int, is_done: bool) -> Any:
    """Repeat a request whose process died: refused during its lease, answered after it, and the same ever after."""
    assert IdempotencyRecord.objects.get().state == "running"
    assert (IdempotencyRecord.objects.get().attempt_id is not None) == is_done
    refused = web.repeat(path, body)
    assert (refused.status_code, refused.json()["code"]) == (409, "idempotency_key_in_use")
    let_the_lease_end()
    answered, again = web.repeat(path, body), web.repeat(path, body)
    assert (answered.status_code, is_replayed(answered)) == (status, is_done)
    assert (again.status_code, again.content, is_replayed(again)) == (status, answered.content, True)
    return answered.json()


def test_an_order_whose_process_died_after_the_commit_is_answered_and_not_placed_again(
    web: Web, item: StockItem
) -> None:
    web.die_during("/api/orders/", ORDER, at=AFTER_THE_COMMIT)
    placed = Order.objects.get()
    answered = check_repeats_until_answered(web, "/api/orders/", ORDER, status=201, is_done=True)
    assert answered["order_id"] == placed.order_id
    assert Order.objects.count() == 1
    assert factories.stock_of(item) == (100, 2, 0)


def test_an_order_whose_process_died_before_the_commit_is_placed_by_the_repeat(web: Web, item: StockItem) -> None:
    web.die_during("/api/orders/", ORDER, at=BEFORE_THE_COMMIT)
    assert not Order.objects.exists()
    answered = check_repeats_until_answered(web, "/api/orders/", ORDER, status=201, is_done=False)
    assert answered["order_id"] == Order.objects.get().order_id
    assert factories.stock_of(item) == (100, 2, 0)


def test_an_answer_that_cannot_be_kept_is_given_all_the_same(web: Web, item: StockItem) -> None:
    with statement_that_waits(AFTER_THE_COMMIT) as waiting:
        answers: list[httpx.Response] = []
        request = threading.Thread(target=lambda: answers.append(web.send("/api/orders/", ORDER)))
        request.start()
        wait_until(lambda: len(waiting()) == 1, what="the request comes to the statement")
        end_sessions(waiting())
        request.join()
    (answer,) = answers
    assert (answer.status_code, answer.json()["order_id"]) == (201, Order.objects.get().order_id)
    repeated = check_repeats_until_answered(web, "/api/orders/", ORDER, status=201, is_done=True)
    assert repeated["id"] == answer.json()["id"]
    assert Order.objects.count() == 1


@pytest.fixture
def attempt(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.place_order(customer=customer, item=item)


def test_a_submit_whose_process_died_after_the_commit_is_answered_and_not_made_again(
    web: Web, attempt: PaymentAttempt
) -> None:
    path, body = f"/api/payments/{attempt.public_id}/submit/", {"payment_token": "tok_visa"}
    web.die_during(path, body, at=AFTER_THE_COMMIT)
    answered = check_repeats_until_answered(web, path, body, status=202, is_done=True)
    assert (answered["id"], answered["state"]) == (attempt.public_id, "queued")
    assert [step[0] for step in factories.steps(attempt)] == ["open", "queued"]


def test_a_submit_whose_process_died_before_the_commit_is_made_by_the_repeat(web: Web, attempt: PaymentAttempt) -> None:
    path, body = f"/api/payments/{attempt.public_id}/submit/", {"payment_token": "tok_visa"}
    web.die_during(path, body, at=BEFORE_THE_COMMIT)
    with redis.Redis.from_url(django_settings.REDIS_URL) as store:
        # The dead process holds the gate too, until its key runs out: then the repeat passes.
        assert store.delete(f"paywindow:in-flight:{attempt.id}:{attempt.customer_id}") == 1
    answered = check_repeats_until_answered(web, path, body, status=202, is_done=False)
    assert (answered["id"], answered["state"]) == (attempt.public_id, "queued")
    assert [step[0] for step in factories.steps(attempt)] == ["open", "queued"]
