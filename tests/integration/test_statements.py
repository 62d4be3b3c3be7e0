"""What each request of the API asks the database, statement by statement: one more has to be wanted.

A statement is told by its verbs and tables, in their order. `clock` is the database's clock; where it follows a `lock`
in a line of its own, it was read after the lock was granted.
"""

import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from payments import lifecycle
from payments.models import PaymentAttempt, StockItem
from tests import factories
from tests.contract.sandbox_server import SandboxProcess
from tests.integration.api_client import ORDER, Api
from tests.integration.test_idempotency import KeyedApi

pytestmark = pytest.mark.django_db(transaction=True)

WORDS = re.compile(
    r"(?P<clock>clock_timestamp\(\))"
    r"|\b(?P<verb>UPDATE|INSERT INTO|DELETE FROM|FROM|JOIN) \"?(?P<table>[a-z_]+\b)(?!\()"
    r"|^(?P<frame>BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b"
)
VERBS = {"UPDATE": "update", "INSERT INTO": "insert", "DELETE FROM": "delete", "FROM": "select", "JOIN": "select"}
WHO = "select auth_user"


def told(sql: str) -> str:
    """Name what a statement does: `lock order, attempt`, `update attempt, insert historyentry`, `COMMIT`."""
    is_lock = " FOR UPDATE" in sql
    words: list[str] = []
    for found in WORDS.finditer(re.sub(r"\s+", " ", sql).replace(" FOR UPDATE", "").strip()):
        if found["frame"] or found["clock"]:
            words.append(found["frame"] or "clock")
        elif found["table"] != "moved":  # What a transition's own statement calls its first part.
            verb = "lock" if is_lock else VERBS[found["verb"]]
            words.append(f"{verb} {found['table'].removeprefix('payments_')}")
    assert words, sql
    return ", ".join(words)


class Told(CaptureQueriesContext):
    """The statements of a block."""

    def __init__(self) -> None:
        super().__init__(connection)

    def assert_are(self, *expected: str) -> None:
        """Compare as texts, a statement a line: pytest shows how these differ."""
        assert "\n".join(told(query["sql"]) for query in self.captured_queries) == "\n".join(expected)


@pytest.fixture
def attempt(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.place_order(customer=customer, item=item, order_id="ORD-1")


OPENED = [
    "select paymentmethodpolicy",
    "BEGIN",
    "lock stockitem",
    "clock",
    "insert order",
    "update stockitem",
    "insert orderline",
    "insert reservation",
    "insert paymentattempt",
    "insert historyentry",
    "COMMIT",
]

SUBMITTED = [
    "BEGIN",
    "lock order, lock paymentattempt",
    "clock, select paymentattempt",
    "update paymentattempt, insert historyentry",
    "COMMIT",
]


def test_placing_an_order(api: Api, item: StockItem) -> None:
    with Told() as made:
        assert api.post("/api/orders/", ORDER).status_code == 201
    made.assert_are(WHO, *OPENED)


def test_submitting(api: Api, attempt: PaymentAttempt) -> None:
    with Told() as made:
        assert api.post(f"/api/payments/{attempt.public_id}/submit/", {"payment_token": "tok_visa"}).status_code == 202
    made.assert_are(WHO, *SUBMITTED)


def test_submitting_under_a_key(customer: User, attempt: PaymentAttempt, token_for: Callable[[User], str]) -> None:
    keyed = KeyedApi(token_for(customer))
    path, body = f"/api/payments/{attempt.public_id}/submit/", {"payment_token": "tok_visa"}
    with Told() as made:
        assert keyed.post(path, body).status_code == 202
    claim = ["BEGIN", "clock", "insert idempotencyrecord", "lock idempotencyrecord", "COMMIT"]
    keep = "update idempotencyrecord"
    made.assert_are(WHO, *claim, *SUBMITTED[:-1], keep, "COMMIT", keep)
    with Told() as repeated:
        assert keyed.post(path, body).status_code == 202
    repeated.assert_are(WHO, *claim[:-1], "clock", "COMMIT")


def test_submitting_twice(api: Api, attempt: PaymentAttempt) -> None:
    path, body = f"/api/payments/{attempt.public_id}/submit/", {"payment_token": "tok_visa"}
    api.post(path, body)
    with Told() as made:
        assert api.post(path, body).status_code == 409
    made.assert_are(WHO)  # The in-flight gate answers.


def test_asking_where_a_payment_stands(api: Api, attempt: PaymentAttempt) -> None:
    with Told() as made:
        assert api.get(f"/api/payments/{attempt.public_id}/").status_code == 200
    made.assert_are(WHO, "clock, select paymentattempt, select paymentattempt, select order")


def test_asking_how_long_an_order_can_be_paid(api: Api, attempt: PaymentAttempt) -> None:
    with Told() as made:
        assert api.get(f"/api/orders/payment-status/{attempt.order.order_id}/").status_code == 200
    made.assert_are(WHO, "clock, select order, select paymentattempt")


def test_trying_again(api: Api, attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    factories.submit(attempt, token="tok_insufficient_funds")
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "failed"
    with Told() as made:
        assert api.post("/api/payments/retry/", {"order_id": "ORD-1"}).status_code == 201
    made.assert_are(
        WHO,
        "BEGIN",
        "lock order",
        "clock",
        "select paymentattempt",
        "select paymentmethodpolicy",
        "insert paymentattempt",
        "insert historyentry",
        "update order",
        "COMMIT",
    )
