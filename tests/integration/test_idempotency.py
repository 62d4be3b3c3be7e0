"""The `Idempotency-Key` header: a request that is repeated is answered the same, and does nothing twice."""

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, connection
from django.test import Client
from pytest_django import Settings

from payments import clocks, gate, idempotency, lifecycle, quickstore
from payments.domain.errors import IdempotencyKeyInUse
from payments.idempotency import Claim, KeyedRequest
from payments.models import IdempotencyRecord, Order, PaymentAttempt, StockItem
from tests import factories
from tests.factories import steps
from tests.integration.api_client import ORDER, Api, problem
from tests.system import test_database_url

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "8e03978e-40d5-43e8-bc93-6894a57f9324"


class KeyedApi(Api):
    """A client that sends an idempotency key."""

    def post(self, path: str, body: Any, *, key: str = KEY) -> Any:
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.client.post(path, content, content_type="application/json", headers={"Idempotency-Key": key})


@pytest.fixture
def api(customer: User, token_for: Callable[[User], str]) -> KeyedApi:
    return KeyedApi(token_for(customer))


def is_replayed(response: Any) -> bool:
    return bool(response.get("Idempotent-Replayed") == "true")


def submit_path(attempt: PaymentAttempt) -> str:
    return f"/api/payments/{attempt.public_id}/submit/"


def age_records(*, minutes: int) -> None:
    """Let the time of every record pass; an answer that is kept can only be aged without its trigger."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE payments_idempotencyrecord DISABLE TRIGGER USER")
        cursor.execute(
            """
            UPDATE payments_idempotencyrecord
            SET created_at = created_at - by, lease_expires_at = lease_expires_at - by
            FROM (SELECT make_interval(mins => %s) AS by) passed
            """,
            [minutes],
        )
        cursor.execute("ALTER TABLE payments_idempotencyrecord ENABLE TRIGGER USER")


def test_a_repeated_order_is_answered_byte_for_byte_and_placed_once(api: KeyedApi, item: StockItem) -> None:
    first, second, third = (api.post("/api/orders/", ORDER) for _ in range(3))
    assert [response.status_code for response in (first, second, third)] == [201] * 3
    assert first.content == second.content == third.content
    assert first["Content-Type"] == second["Content-Type"]
    assert [is_replayed(response) for response in (first, second, third)] == [False, True, True]
    assert Order.objects.count() == 1
    assert factories.stock_of(item) == (100, 2, 0)
    record = IdempotencyRecord.objects.get()
    assert (record.state, record.status, record.attempt) == ("finished", 201, PaymentAttempt.objects.get())


@pytest.mark.parametrize("text", [KEY, 'say \\ "hi" twice'])
def test_a_structured_string_is_the_same_key_as_its_text(api: KeyedApi, item: StockItem, text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    answers = [api.post("/api/orders/", ORDER, key=key) for key in (f'"{quoted}"', text)]
    assert [is_replayed(answer) for answer in answers] == [False, True]
    assert IdempotencyRecord.objects.get().key == text


def test_a_repeated_submit_is_answered_byte_for_byte_and_queued_once(
    api: KeyedApi, customer: User, item: StockItem
) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    first, second = (api.post(submit_path(attempt), {"payment_token": "tok_visa"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.content == second.content
    assert (is_replayed(first), is_replayed(second)) == (False, True)
    assert steps(attempt) == [("open", "customer", "opened"), ("queued", "customer", "submitted")]


def test_an_answer_under_a_key_is_written_as_one_without(
    api: KeyedApi, customer: User, item: StockItem, token_for: Callable[[User], str]
) -> None:
    keyed, plain = api.post("/api/orders/", ORDER), Api(token_for(customer)).post("/api/orders/", ORDER)
    assert (keyed.status_code, keyed["Content-Type"]) == (plain.status_code, plain["Content-Type"])

    def shape(content: bytes) -> Any:
        ids_and_times = {"id", "order_id", "opened_at", "expires_at", "server_now", "time_remaining_seconds"}
        order = json.loads(content)
        for name in ids_and_times:
            order["payment"][name] = len(str(order["payment"][name]))
            order[name] = len(str(order.get(name)))
        return order

    assert shape(keyed.content) == shape(plain.content)
    assert Order.objects.count() == 2


def test_a_refusal_is_repeated_too(api: KeyedApi, item: StockItem) -> None:
    order = ORDER | {"total_minor": 2}
    first = api.post("/api/orders/", order)
    problem(first, 422, "amount_mismatch")
    item.unit_price_minor = 1
    item.save()  # From now on it would be accepted.
    second = api.post("/api/orders/", order)
    assert (second.status_code, second.content, second["Content-Type"]) == (422, first.content, first["Content-Type"])
    assert is_replayed(second)


@pytest.mark.parametrize("change", [{"total_minor": 1250}, {"order_id": "ORD-1"}])
def test_another_body_under_the_same_key_is_refused(api: KeyedApi, item: StockItem, change: dict[str, Any]) -> None:
    assert api.post("/api/orders/", ORDER).status_code == 201
    problem(api.post("/api/orders/", ORDER | change), 422, "idempotency_key_reused")
    assert Order.objects.count() == 1


def test_another_path_under_the_same_key_is_refused(api: KeyedApi, customer: User, item: StockItem) -> None:
    first, second = (factories.place_order(customer=customer, item=item) for _ in range(2))
    body = {"payment_token": "tok_visa"}
    assert api.post(submit_path(first), body).status_code == 202
    problem(api.post(submit_path(second), body), 422, "idempotency_key_reused")
    problem(api.post(submit_path(first) + "?other", body), 422, "idempotency_key_reused")
    assert steps(second) == [("open", "customer", "opened")]


def test_keys_are_each_users_own(
    api: KeyedApi, customer: User, other: User, item: StockItem, token_for: Callable[[User], str]
) -> None:
    first, second = api.post("/api/orders/", ORDER), KeyedApi(token_for(other)).post("/api/orders/", ORDER)
    assert (first.status_code, second.status_code) == (201, 201)
    assert not is_replayed(second)
    assert sorted(Order.objects.values_list("customer_id", flat=True)) == sorted([customer.id, other.id])


def test_the_session_of_a_page_and_a_token_share_the_users_keys(api: KeyedApi, customer: User, item: StockItem) -> None:
    page = Client()
    page.force_login(customer)
    first = page.post(
        "/api/orders/", json.dumps(ORDER), content_type="application/json", headers={"Idempotency-Key": KEY}
    )
    second = api.post("/api/orders/", ORDER)
    assert (first.status_code, second.content, is_replayed(second)) == (201, first.content, True)


def test_without_a_key_nothing_is_remembered(customer: User, item: StockItem, token_for: Callable[[User], str]) -> None:
    api = Api(token_for(customer))
    assert [api.post("/api/orders/", ORDER).status_code for _ in range(2)] == [201, 201]
    assert Order.objects.count() == 2
    assert not IdempotencyRecord.objects.exists()


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "ümlaut", "\x7f"])
def test_a_bad_key_is_refused_by_the_name_of_its_header(api: KeyedApi, item: StockItem, key: str) -> None:
    content = problem(api.post("/api/orders/", ORDER, key=key), 422, "invalid_request")
    assert content["detail"].startswith("Idempotency-Key: ")
    assert [error["field"] for error in content["errors"]] == ["Idempotency-Key"]
    assert not Order.objects.exists()


@pytest.mark.parametrize("key", ["x", "x" * 255, '"quoted, as the draft has it"', "~ !"])
def test_any_printable_key_is_taken(api: KeyedApi, item: StockItem, key: str) -> None:
    assert api.post("/api/orders/", ORDER, key=key).status_code == 201
    assert is_replayed(api.post("/api/orders/", ORDER, key=key))


def test_a_request_that_was_not_understood_does_not_use_its_key_up(api: KeyedApi, item: StockItem) -> None:
    problem(api.post("/api/orders/", "{"), 400, "malformed_request")
    problem(api.post("/api/orders/", ORDER | {"currency": "usd"}), 422, "invalid_request")
    assert api.post("/api/orders/", ORDER).status_code == 201


def test_a_stranger_with_a_key_finds_nothing(
    customer: User, other: User, item: StockItem, token_for: Callable[[User], str]
) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    stranger = KeyedApi(token_for(other))
    answers = [stranger.post(submit_path(attempt), {"payment_token": "tok_visa"}) for _ in range(2)]
    for answer in answers:
        problem(answer, 404, "not_found")
    assert answers[0].content == answers[1].content
    problem(stranger.post("/api/payments/nonsense/submit/", {"payment_token": "tok_visa"}), 404, "not_found")


# What is not kept


def test_a_failure_on_our_side_frees_the_key(api: KeyedApi, customer: User, item: StockItem) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    with psycopg.connect(test_database_url()) as holder:
        holder.execute("SELECT id FROM payments_order FOR UPDATE")
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        problem(api.post(submit_path(attempt), {"payment_token": "tok_visa"}), 503, "unavailable")
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")  # The pool gives the connection to somebody else next.
    assert not IdempotencyRecord.objects.exists()
    answer = api.post(submit_path(attempt), {"payment_token": "tok_visa"})
    assert (answer.status_code, is_replayed(answer)) == (202, False)


def test_in_flight_is_not_kept_as_an_answer(api: KeyedApi, customer: User, item: StockItem, settings: Settings) -> None:
    settings.PAYMENT_GATE_TIMEOUT_MILLISECONDS = 10_000
    attempt = factories.place_order(customer=customer, item=item)
    with gate.passing(attempt_id=attempt.id, customer_id=customer.id) as passage:
        problem(api.post(submit_path(attempt), {"payment_token": "tok_visa"}), 409, "payment_in_flight")
        passage.give_back()
    assert api.post(submit_path(attempt), {"payment_token": "tok_visa"}).status_code == 202
    quickstore.close()


def test_a_key_whose_work_was_done_is_not_given_back(customer: User, item: StockItem) -> None:
    request = KeyedRequest(user_id=customer.id, key=KEY, method="POST", path="/", body_hash="0" * 64)
    claim = idempotency.claim(request=request)
    assert isinstance(claim, Claim)
    view = lifecycle.open_order(
        customer_id=customer.id,
        lines=[lifecycle.RequestedLine(sku=item.sku, quantity=1)],
        expected_total_minor=1250,
        currency="USD",
        method="card",
        idempotency_id=claim.id,
    )
    idempotency.give_back(claim_id=claim.id)  # Something failed after the commit.
    assert IdempotencyRecord.objects.get().attempt_id == view.attempt.id
    with pytest.raises(IdempotencyKeyInUse):
        idempotency.claim(request=request)


# Time


def test_after_a_day_a_key_is_free_again(api: KeyedApi, item: StockItem) -> None:
    assert api.post("/api/orders/", ORDER).status_code == 201
    age_records(minutes=24 * 60 - 1)
    assert is_replayed(api.post("/api/orders/", ORDER))
    age_records(minutes=1)
    answer = api.post("/api/orders/", ORDER | {"order_id": "ORD-NEXT-DAY"})
    assert (answer.status_code, is_replayed(answer)) == (201, False)
    assert Order.objects.count() == 2
    assert IdempotencyRecord.objects.count() == 1


def test_what_is_kept_no_longer_is_deleted_oldest_first_and_a_few_at_a_time(api: KeyedApi, item: StockItem) -> None:
    for number in range(3):
        api.post("/api/orders/", ORDER, key=f"old-{number}")
    age_records(minutes=24 * 60)
    api.post("/api/orders/", ORDER, key="new")
    now = clocks.database_now()
    assert [idempotency.delete_old(now=now, limit=2) for _ in range(3)] == [2, 1, 0]
    assert [record.key for record in IdempotencyRecord.objects.all()] == ["new"]


# What the database refuses


def running_record(customer: User, **columns: Any) -> IdempotencyRecord:
    now = clocks.database_now()
    values = {
        "user": customer,
        "key": KEY,
        "method": "POST",
        "path": "/",
        "body_hash": "0" * 64,
        "created_at": now,
        "state": "running",
        "lease_expires_at": now,
    }
    return IdempotencyRecord.objects.create(**(values | columns))


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"key": ""}, "idempotency_key_not_empty"),
        ({"lease_expires_at": None}, "idempotency_finished_with_an_answer"),
        ({"status": 200}, "idempotency_finished_with_an_answer"),
        ({"state": "finished", "lease_expires_at": None}, "idempotency_finished_with_an_answer"),
        ({"state": "unheard"}, "idempotency_finished_with_an_answer"),
        (
            {"state": "finished", "lease_expires_at": None, "status": 503, "content_type": "x", "body": b"x"},
            "idempotency_finished_with_an_answer",
        ),
    ],
)
def test_a_record_that_contradicts_itself(customer: User, columns: dict[str, Any], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        running_record(customer, **columns)


def test_a_second_record_of_a_users_key(customer: User) -> None:
    running_record(customer)
    with pytest.raises(IntegrityError, match="idempotency_key_once_per_user"):
        running_record(customer)


def test_changing_an_answer_that_was_given(customer: User) -> None:
    record = running_record(
        customer, state="finished", lease_expires_at=None, status=201, content_type="application/json", body=b"{}"
    )
    with pytest.raises(DatabaseError, match="Cannot update"):
        IdempotencyRecord.objects.filter(id=record.id).update(body=b"[]")


def test_the_documentation_names_the_header_at_every_post_that_is_not_safe_without(client: Client) -> None:
    paths = client.get("/api/openapi.json").json()["paths"]
    posts = {path: operations["post"] for path, operations in paths.items() if "post" in operations}
    # Done twice they find less to do, and end nothing twice.
    safe = {path for path, operation in posts.items() if operation["tags"] == ["cleanup"] or "check-payment" in path}
    safe |= {path for path in posts if "webhooks" in path}  # An event has an id of its own.
    assert len(safe) == 5
    posts = {path: operation for path, operation in posts.items() if path not in safe}
    assert len(posts) >= 2
    for path, operation in posts.items():
        headers = [parameter for parameter in operation["parameters"] if parameter["in"] == "header"]
        assert [(header["name"], header["required"]) for header in headers] == [("Idempotency-Key", False)], path
