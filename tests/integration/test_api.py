"""The HTTP face: what is answered, and that a refusal stores nothing."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, RequestFactory
from freezegun import freeze_time
from pytest_django import Settings

from payments import clocks, lifecycle
from payments.api.auth import TokenAuth, issue_token
from payments.models import Order, PaymentAttempt, StockItem
from tests import factories
from tests.contract.sandbox_server import SandboxProcess
from tests.system import test_database_url

pytestmark = pytest.mark.django_db(transaction=True)

ORDER: dict[str, Any] = {"lines": [{"sku": "MUG-BLUE", "quantity": 2}], "total_minor": 2500, "currency": "USD"}


class Api:
    """A client that speaks JSON with a token."""

    def __init__(self, token: str | None) -> None:
        # As on a real server: a refused token must not be answered as a missing CSRF token.
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.client = Client(enforce_csrf_checks=True, headers=headers)

    def get(self, path: str) -> Any:
        return self.client.get(path)

    def post(self, path: str, body: Any) -> Any:
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.client.post(path, content, content_type="application/json")


@pytest.fixture
def api(customer: User, token_for: Callable[[User], str]) -> Api:
    return Api(token_for(customer))


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """Assert that the answer is this problem, complete and with the right media type."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    content: dict[str, Any] = json.loads(response.content)
    assert {"type", "title", "status", "code", "detail"} <= content.keys()
    assert (content["status"], content["code"]) == (status, code)
    return content


def untouched(item: StockItem) -> bool:
    return not Order.objects.exists() and factories.stock_of(item) == (100, 0, 0)


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


def test_the_payment_timer_answers_with_its_exact_fields(api: Api, customer: User, item: StockItem) -> None:
    attempt = factories.place_order(customer=customer, item=item, order_id="ORD-ABC123")
    active = api.get("/api/orders/payment-status/ORD-ABC123/").json()
    assert 895 <= active.pop("time_remaining_seconds") <= 900
    assert active.pop("payment_expires_at") == attempt.expires_at.isoformat(timespec="milliseconds").replace(
        "+00:00", "Z"
    )
    assert active == {
        "order_id": "ORD-ABC123",
        "status": "under_paying",
        "payment_status": "pending",
        "is_payment_window_active": True,
        "message": "Payment window is still active",
    }
    factories.age_attempt(attempt.id, seconds_left=-1)
    assert api.get("/api/orders/payment-status/ORD-ABC123/").json() == {
        "order_id": "ORD-ABC123",
        "status": "under_paying",
        "payment_status": "pending",
        "is_payment_window_active": False,
        "time_remaining_seconds": 0,
        "message": "Payment window has expired. Order will be cancelled automatically.",
    }


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


@pytest.mark.parametrize("token", ["", "x" * 256, "with space", 7, None])
def test_a_bad_payment_token_is_refused(api: Api, customer: User, item: StockItem, token: object) -> None:
    attempt = factories.place_order(customer=customer, item=item)
    response = api.post(f"/api/payments/{attempt.public_id}/submit/", {"payment_token": token})
    assert "payment_token" in problem(response, 422, "invalid_request")["detail"]
    attempt.refresh_from_db()
    assert attempt.state == "open"


def test_somebody_elses_is_byte_identical_to_nothing_at_all(
    other: User, customer: User, item: StockItem, token_for: Callable[[User], str]
) -> None:
    attempt = factories.place_order(customer=customer, item=item, order_id="ORD-ABC123")
    stranger = Api(token_for(other))
    pairs = [
        (f"/api/payments/{attempt.public_id}/", f"/api/payments/pay_{uuid4().hex}/", None),
        (f"/api/payments/{attempt.public_id}/", "/api/payments/nonsense/", None),
        (
            f"/api/payments/{attempt.public_id}/submit/",
            f"/api/payments/pay_{uuid4().hex}/submit/",
            {"payment_token": "tok_visa"},
        ),
        ("/api/orders/payment-status/ORD-ABC123/", "/api/orders/payment-status/ORD-NONE/", None),
    ]
    for theirs, nothing, body in pairs:
        a, b = ((stranger.get(p) if body is None else stranger.post(p, body)) for p in (theirs, nothing))
        problem(a, 404, "not_found")
        assert a.content == b.content
    attempt.refresh_from_db()
    assert attempt.state == "open"


def test_staff_see_everybodys(staff: User, customer: User, item: StockItem, token_for: Callable[[User], str]) -> None:
    attempt = factories.place_order(customer=customer, item=item, order_id="ORD-ABC123")
    api = Api(token_for(staff))
    assert api.get(f"/api/payments/{attempt.public_id}/").status_code == 200
    assert api.get("/api/orders/payment-status/ORD-ABC123/").status_code == 200


def claims(user: User, settings: Settings, **changes: Any) -> dict[str, Any]:
    now = clocks.database_now()
    content = {
        "sub": str(user.pk),
        "iat": now,
        "exp": now + timedelta(minutes=5),
        "aud": settings.JWT_AUDIENCE,
        "iss": settings.JWT_ISSUER,
    } | changes
    return {name: value for name, value in content.items() if value is not None}


def test_a_complete_token_is_accepted(customer: User, settings: Settings) -> None:
    token = jwt.encode(claims(customer, settings), settings.JWT_SIGNING_KEY, algorithm="HS256")
    assert Api(token).get("/api/orders/payment-status/ORD-NONE/").status_code == 404


@pytest.mark.parametrize(("seconds", "is_accepted"), [(-1, True), (0, False), (1, False)])
def test_a_token_is_accepted_until_its_time_is_over(customer: User, seconds: int, is_accepted: bool) -> None:
    token = issue_token(user=customer, lifetime=timedelta(minutes=5))
    expires_at = jwt.decode(token, options={"verify_signature": False})["exp"]
    with freeze_time(datetime.fromtimestamp(expires_at + seconds, tz=UTC)):
        user = TokenAuth().authenticate(RequestFactory().get("/"), token)
    assert user == (customer if is_accepted else None)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": 1},
        {"exp": None},
        {"iat": None},
        {"sub": None},
        {"aud": None},
        {"iss": None},
        {"aud": "another-api"},
        {"iss": "somebody"},
        {"sub": "999999"},
        {"sub": "admin"},
        {"sub": "²"},
        {"sub": "-1"},
    ],
)
def test_a_wrong_or_expired_token_is_401(
    customer: User, item: StockItem, settings: Settings, changes: dict[str, Any]
) -> None:
    token = jwt.encode(claims(customer, settings, **changes), settings.JWT_SIGNING_KEY, algorithm="HS256")
    response = Api(token).post("/api/orders/", ORDER)
    problem(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"] == "Bearer"
    assert untouched(item)


def test_a_token_of_another_key_or_algorithm_is_401(customer: User, item: StockItem, settings: Settings) -> None:
    content = claims(customer, settings)
    forged = [
        jwt.encode(content, "another key that is long enough to be used", algorithm="HS256"),
        jwt.encode(content, settings.JWT_SIGNING_KEY + "x" * 64, algorithm="HS512"),
        jwt.encode(content, "", algorithm="none"),
        "nonsense",
    ]
    for token in [*forged, None]:
        problem(Api(token).post("/api/orders/", ORDER), 401, "not_authenticated")
    assert untouched(item)


def test_a_disabled_user_is_401(customer: User, api: Api) -> None:
    customer.is_active = False
    customer.save()
    problem(api.post("/api/orders/", ORDER), 401, "not_authenticated")


def test_a_session_needs_its_csrf_token(customer: User, item: StockItem) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(customer)
    response = client.post("/api/orders/", json.dumps(ORDER), content_type="application/json")
    problem(response, 403, "forbidden")
    assert untouched(item)


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
        "/api/orders/payment-status/{order_id}/",
        "/api/payments/{payment_id}/",
        "/api/payments/{payment_id}/refund/",
        "/api/payments/{payment_id}/submit/",
        "/api/payments/retry/",
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
