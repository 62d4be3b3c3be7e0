"""Orders whose time is over, and what keeps them from ending."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
from django.contrib.auth.models import User
from django.db import connection

from payments import clocks
from payments.models import ExpiryFailure, PaymentAttempt, StockItem
from tests import factories
from tests.system import test_database_url

POISONED = "POISON-1"


def due_order(customer: User, item: StockItem, order_id: str | None = None) -> PaymentAttempt:
    attempt = factories.place_order(customer=customer, item=item, order_id=order_id)
    factories.age_attempt(attempt.id, seconds_left=-1)
    return attempt


def poison() -> None:
    """Have the database raise when an order whose number begins with POISON is closed, whatever the reason may be."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'order % is poisoned', NEW.order_id; END $$;
            CREATE TRIGGER poison BEFORE UPDATE ON payments_order FOR EACH ROW
            WHEN (NEW.order_id LIKE 'POISON%%' AND NEW.status = 'cancelled') EXECUTE FUNCTION poison()
            """
        )


def heal() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION IF EXISTS poison() CASCADE")


def put_off() -> None:
    """Let every next try be far away, so that a slow machine does not come to it."""
    ExpiryFailure.objects.update(due_at=clocks.database_now() + timedelta(minutes=30))


def make_due_again(failure: ExpiryFailure) -> None:
    ExpiryFailure.objects.filter(pk=failure.pk).update(due_at=clocks.database_now())


@contextmanager
def held(sql: str, *parameters: Any) -> Iterator[psycopg.Connection[Any]]:
    """Another session that holds a lock."""
    with psycopg.connect(test_database_url()) as session:
        session.execute(sql, parameters)
        yield session
