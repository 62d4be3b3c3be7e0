"""A transaction that takes too long is ended by our own clock, and its locks are free again."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from pytest_django import Settings

from payments import deadlines, lifecycle
from payments.models import PaymentAttempt, StockItem
from payments.transactions import TransactionTooLongError, transaction
from tests import factories
from tests.contract.sandbox_server import ROOT, wait_until
from tests.system import test_database_url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def attempt(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.place_order(customer=customer, item=item, order_id="ORD-1")


@pytest.fixture
def holder() -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(test_database_url()) as session:
        yield session


@pytest.fixture
def without_database_timeouts(settings: Settings) -> Iterator[None]:
    """As after a step back: PostgreSQL's own timeouts do not fire."""
    settings.PAYMENT_TRANSACTION_SECONDS = 0.5
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 0")
    yield
    with connection.cursor() as cursor:
        cursor.execute("RESET lock_timeout")  # The pool gives the connection to somebody else next.


def lock_order(session: psycopg.Connection[Any], attempt: PaymentAttempt) -> None:
    session.execute("SELECT id FROM payments_order WHERE id = %s FOR UPDATE NOWAIT", [attempt.order_id])


@pytest.mark.usefixtures("without_database_timeouts")
def test_whoever_waits_for_a_lock_is_let_go_and_the_next_one_gets_it(
    attempt: PaymentAttempt, holder: psycopg.Connection[Any]
) -> None:
    lock_order(holder, attempt)
    with pytest.raises(TransactionTooLongError):
        lifecycle.submit_attempt(attempt_id=attempt.id, customer_id=attempt.customer_id, payment_token="tok_visa")
    holder.rollback()
    assert factories.steps(attempt)[-1][0] == "open"
    lock_order(holder, attempt)
    holder.rollback()
    assert factories.submit(attempt).state == "queued", "the same connection goes on"


@pytest.mark.usefixtures("without_database_timeouts")
def test_a_claim_that_was_let_go_stays_owed(attempt: PaymentAttempt, holder: psycopg.Connection[Any]) -> None:
    factories.submit(attempt)
    lock_order(holder, attempt)
    with pytest.raises(TransactionTooLongError):
        lifecycle.charge_attempt(attempt_id=attempt.id)
    holder.rollback()
    attempt.refresh_from_db()
    assert (attempt.state, attempt.fence) == ("queued", 0)


@pytest.mark.usefixtures("without_database_timeouts")
def test_the_api_asks_to_try_again(
    client: Client, attempt: PaymentAttempt, holder: psycopg.Connection[Any], customer: User
) -> None:
    client.force_login(customer)
    lock_order(holder, attempt)
    answer = client.post(
        f"/api/payments/{attempt.public_id}/submit/",
        data={"payment_token": "tok_visa"},
        content_type="application/json",
    )
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "2"


def test_one_that_runs_no_statement_is_cut_off_and_its_locks_are_given_back(
    attempt: PaymentAttempt, holder: psycopg.Connection[Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PAYMENT_TRANSACTION_SECONDS = 0.3
    monkeypatch.setattr(deadlines, "SHUT_AFTER_SECONDS", 0.3)

    def is_free() -> bool:
        try:
            lock_order(holder, attempt)
        except psycopg.errors.LockNotAvailable:
            return False
        finally:
            holder.rollback()
        return True

    with pytest.raises(TransactionTooLongError), transaction():  # noqa: PT012 - it is to fail at its end
        PaymentAttempt.objects.filter(id=attempt.id).select_for_update(of=("self", "order")).select_related(
            "order"
        ).get()
        assert not is_free()
        wait_until(is_free, what="the server has given the locks back")
        PaymentAttempt.objects.count()
    assert PaymentAttempt.objects.count() == 1, "a new connection takes over"


def test_a_transaction_in_time_is_left_alone(attempt: PaymentAttempt, settings: Settings) -> None:
    settings.PAYMENT_TRANSACTION_SECONDS = 0.2
    pid = backend()
    with transaction():
        PaymentAttempt.objects.select_for_update().get(id=attempt.id)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.4)")
    assert backend() == pid


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_nothing_is_kept_of_what_has_ended(attempt: PaymentAttempt) -> None:
    for _ in range(50):
        with transaction():
            PaymentAttempt.objects.get(id=attempt.id)
    assert len(deadlines._keeper._heap) <= 1
    assert [thread.name for thread in threading.enumerate()].count("deadlines") == 1


FORKS = """
import os, django
django.setup()
from django.db import connection
from payments.transactions import TransactionTooLongError, transaction
with transaction(), connection.cursor() as cursor:
    cursor.execute("SELECT 1")
connection.close()
child = os.fork()
if child == 0:
    from django.conf import settings
    settings.PAYMENT_TRANSACTION_SECONDS = 0.2
    try:
        with transaction(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(30)")
    except TransactionTooLongError:
        os._exit(7)
    os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_keeps_its_own_deadlines() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": test_database_url(), "DATABASE_POOL_CONNECTIONS": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == ("7", 0), done.stderr
