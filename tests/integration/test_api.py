"""The HTTP face: what is answered, and that a refusal stores nothing."""

import json
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from payments import lifecycle
from payments.models import PaymentAttempt, StockItem
from tests import factories
from tests.contract.sandbox_server import SandboxProcess
from tests.integration.api_client import ORDER, Api, problem, untouched
from tests.system import test_database_url

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_order_is_placed_paid_for_and_asked_about(api: Api, item: StockItem) -> None:
    placed = api.post("/api/orders/", ORDER | {"order_id": "ORD-ABC123"})
    assert placed.status_code == 201
    order = placed.json()
    payment = order["payment"]
    assert (order["order_id"], order["status"], order["payment_status"]) == ("ORD-ABC123", "under_paying", "pending")
    assert order["id"].startswith("ord_")
    assert payment["id"].startswith("pay_")
    assert (payment["state"], payment["can_pay"], payment["amount_minor"]) == ("open", True, 2500)
    assert 895 <= payment["time_remaining_seconds"] <= 900
    submitted = api.post(f"/api/payments/{payment['id']}/submit/", {"payment_token": "tok_visa"})
    assert (submitted.status_code, submitted.json()["state"]) == (202, "queued")
    read = api.get(f"/api/payments/{payment['id']}/")
    assert (read.status_code, read.json()["state"], read.json()["can_pay"]) == (200, "queued", False)
    assert factories.stock_of(item) == (100, 2, 0)


def test_an_attempt_past_its_deadline_reads_as_expired_before_any_sweep(
    api: Api, customer: User, item: StockItem
) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    factories.age_attempt(attempt.id, seconds_left=-1)
    read = api.get(f"/api/payments/{attempt.public_id}/").json()
    assert (read["state"], read["can_pay"], read["time_remaining_seconds"]) == ("expired", False, 0)
    assert read["failure"]["code"] == "payment_expired"
    attempt.refresh_from_db()
    assert attempt.state == "open"


def test_an_expired_job_that_nobody_ended_yet_promises_nothing_about_the_money(
    api: Api, customer: User, item: StockItem
) -> None:
    """A claim that read its clock in time may be about to commit."""
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    factories.age_attempt(attempt.id, seconds_left=-1)
    read = api.get(f"/api/payments/{attempt.public_id}/").json()
    assert read["state"] == "expired"
    assert "not been charged" not in read["message"]
    lifecycle.sweep_expired()
    assert "not been charged" in api.get(f"/api/payments/{attempt.public_id}/").json()["message"]


def test_an_order_in_doubt_past_its_deadline_is_not_called_cancelled(
    api: Api, customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    attempt = factories.submit(
        factories.place_order(customer=customer, item=item, order_id="ORD-DOUBT"), token="tok_reset_after"
    )
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    factories.age_attempt(attempt.id, seconds_left=-1)
    status = api.get("/api/orders/payment-status/ORD-DOUBT/").json()
    assert status["is_payment_window_active"] is False
    assert "finding out what happened" in status["message"]


def test_a_lock_that_nobody_gives_back_is_a_503_that_changes_nothing(api: Api, customer: User, item: StockItem) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    with psycopg.connect(test_database_url()) as holder:
        holder.execute("SELECT id FROM payments_order FOR UPDATE")
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        response = api.post(f"/api/payments/{attempt.public_id}/submit/", {"payment_token": "tok_visa"})
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")  # The pool gives the connection to somebody else next.
    assert problem(response, 503, "unavailable")["detail"].startswith("Nothing was changed.")
    attempt.refresh_from_db()
    assert attempt.state == "open"


def test_a_late_submit_is_410_payment_expired(api: Api, customer: User, item: StockItem) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    factories.age_attempt(attempt.id, seconds_left=-1)
    response = api.post(f"/api/payments/{attempt.public_id}/submit/", {"payment_token": "tok_visa"})
    content = problem(response, 410, "payment_expired")
    assert content["payment_id"] == attempt.public_id
    assert content["expires_at"]
    assert "not been charged" in content["detail"]


@pytest.mark.usefixtures("without_redis")
def test_a_second_submit_is_409(api: Api, customer: User, item: StockItem) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    response = api.post(f"/api/payments/{attempt.public_id}/submit/", {"payment_token": "tok_visa"})
    problem(response, 409, "already_submitted")


@pytest.mark.parametrize(
    ("changes", "status", "code", "named"),
    [
        ({"lines": [{"sku": "NO-SUCH", "quantity": 1}]}, 422, "unknown_item", "NO-SUCH"),
        ({"lines": [{"sku": "MUG-BLUE", "quantity": 0}]}, 422, "invalid_request", "lines.0.quantity"),
        ({"lines": [{"sku": "MUG-BLUE", "quantity": -1}]}, 422, "invalid_request", "lines.0.quantity"),
        ({"lines": [{"sku": "MUG-BLUE", "quantity": "2"}]}, 422, "invalid_request", "lines.0.quantity"),
        ({"lines": [{"sku": "MUG-BLUE", "quantity": 1.5}]}, 422, "invalid_request", "lines.0.quantity"),
        ({"lines": [{"sku": "MUG-BLUE", "quantity": True}]}, 422, "invalid_request", "lines.0.quantity"),
        ({"lines": [{"sku": "MUG\u0000", "quantity": 1}]}, 422, "invalid_request", "lines.0.sku"),
        (
            {"lines": [{"sku": "MUG-BLUE", "quantity": 101}], "total_minor": 126250},
            409,
            "out_of_stock",
            "100 are available",
        ),
        ({"lines": []}, 422, "invalid_request", "lines"),
        ({"lines": [{"sku": "MUG-BLUE", "quantity": 1}] * 101}, 422, "invalid_request", "lines"),
        ({"total_minor": 2499}, 422, "amount_mismatch", "2500"),
        ({"total_minor": 0}, 422, "invalid_request", "total_minor"),
        ({"total_minor": 10**20}, 422, "invalid_request", "total_minor"),
        ({"currency": "XTS"}, 422, "unsupported_currency", "XTS"),
        ({"currency": "usd"}, 422, "invalid_request", "currency"),
        ({"payment_method": "cheque"}, 422, "unsupported_method", "cheque"),
        ({"order_id": "../etc"}, 422, "invalid_request", "order_id"),
        ({"order_id": "x" * 65}, 422, "invalid_request", "order_id"),
        ({"status": "paid"}, 422, "invalid_request", "status"),
        ({"expires_at": "2099-01-01T00:00:00Z"}, 422, "invalid_request", "expires_at"),
        ({"customer": 1}, 422, "invalid_request", "customer"),
    ],
)
def test_a_bad_order_is_refused_by_name_and_stores_nothing(
    api: Api, item: StockItem, changes: dict[str, Any], status: int, code: str, named: str
) -> None:
    content = problem(api.post("/api/orders/", ORDER | changes), status, code)
    assert named in content["detail"]
    assert untouched(item)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{", 400, "malformed_request"),
        ("", 422, "invalid_request"),
        (b"\xff\xfe", 400, "malformed_request"),
        ("[]", 422, "invalid_request"),
        ("null", 422, "invalid_request"),
        (json.dumps({"lines": "x" * 1_000_000}), 413, "body_too_large"),
    ],
)
def test_a_body_that_is_no_order_is_refused(
    api: Api, item: StockItem, body: str | bytes, status: int, code: str
) -> None:
    problem(api.post("/api/orders/", body), status, code)
    assert untouched(item)


@pytest.mark.parametrize("token", ["", "x" * 256, "with space", 7])
def test_a_bad_payment_token_is_refused(api: Api, customer: User, item: StockItem, token: object) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    response = api.post(f"/api/payments/{attempt.public_id}/submit/", {"payment_token": token})
    assert "payment_token" in problem(response, 422, "invalid_request")["detail"]
    attempt.refresh_from_db()
    assert attempt.state == "open"


def test_an_unknown_path_below_api_is_a_problem_too(api: Api) -> None:
    problem(api.get("/api/no/such/path/"), 404, "not_found")


def test_a_method_that_is_not_offered_is_a_problem_too(api: Api) -> None:
    response = api.client.delete("/api/orders/")
    problem(response, 405, "method_not_allowed")
    assert "POST" in response["Allow"]


def test_health_says_alive_and_ready(client: Client, db: None) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json()["status"] == "ready"


def test_the_documentation_names_every_path(client: Client, db: None) -> None:
    paths = client.get("/api/openapi.json").json()["paths"]
    assert set(paths) == {
        "/api/orders/",
        "/api/orders/admin/cleanup/expired/",
        "/api/orders/admin/expired-count/",
        "/api/orders/admin/trigger-cleanup-task/",
        "/api/orders/check-payment/{order_id}/",
        "/api/orders/payment-status/{order_id}/",
        "/api/payments/{payment_id}/",
        "/api/payments/{payment_id}/cancel/",
        "/api/payments/{payment_id}/refund/",
        "/api/payments/{payment_id}/submit/",
        "/api/payments/cleanup/",
        "/api/payments/retry/",
        "/api/payments/status/",
        "/api/webhooks/{gateway}/",
    }
    page = client.get("/api/docs").content.decode()
    assert "swagger" in page
    assert "https://" not in page.replace("https://github.com/", "")  # Nothing is loaded from another host.


def test_the_request_id_reaches_the_row(api: Api, customer: User, item: StockItem) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    assert api.post(f"/api/payments/{attempt.public_id}/submit/", {"payment_token": "tok_visa"}).status_code == 202
    assert str(UUID(PaymentAttempt.objects.get().correlation_id)) == PaymentAttempt.objects.get().correlation_id


def test_the_front_door_of_the_demo_leads_to_its_shop(client: Client, db: None) -> None:
    assert client.get("/", follow=True).redirect_chain == [("/shop/", 302)]
