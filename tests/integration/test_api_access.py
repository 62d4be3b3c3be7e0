"""Who may do what over HTTP: owners, staff, tokens and sessions."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from freezegun import freeze_time
from pytest_django import Settings

from payments import clocks
from payments.api.auth import TokenAuth, issue_token
from payments.models import StockItem
from tests import factories
from tests.integration.api_client import ORDER, Api, problem, untouched

pytestmark = pytest.mark.django_db(transaction=True)


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
