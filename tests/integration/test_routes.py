"""Every route with every kind of user: what each is answered is written down here, and a route that is not fails.

The table holds the methods that a route offers; every other method is 405, for everybody.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from payments.messaging import links
from payments.models import HistoryEntry, IdempotencyRecord, Order, PaymentAttempt, StaffAction, StockItem
from tests import factories
from tests.integration.api_client import ORDER

pytestmark = pytest.mark.django_db(transaction=True)

ORDER_ID = "ORD-ABC123"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

# Below it Django's admin has some hundred routes of its own, each behind its own permissions; which of our tables it
# shows, to whom, is in test_admin.py and test_policy_admin.py. That nobody gets in without being staff is here.
ADMIN = "admin/"


@dataclass(frozen=True, slots=True)
class Row:
    """One method of one route: the status for each kind of user, each in a world of their own."""

    route: str
    method: str
    nobody: int
    other: int
    staff: int
    owner: int
    body: dict[str, Any] | None = None
    form: dict[str, str] = field(default_factory=dict)
    query: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.route or '/'}"


PAY = {"payment_token": "tok_visa"}
WHY = {"reason": "The customer changed their mind."}
PLACE = {"sku": "MUG-BLUE", "quantity": "1"}

#   route, method, nobody, other, staff, owner
ROWS = [
    Row("api/", "GET", 404, 404, 404, 404),
    Row("api/docs", "GET", 200, 200, 200, 200),
    Row("api/openapi.json", "GET", 200, 200, 200, 200),
    Row("api/orders/", "POST", 401, 201, 201, 201, body=ORDER),
    Row("api/orders/payment-status/<order_id>/", "GET", 401, 404, 200, 200),
    Row("api/orders/admin/expired-count/", "GET", 401, 403, 200, 403),
    Row("api/orders/check-payment/<order_id>/", "POST", 401, 404, 404, 202),
    Row("api/orders/admin/cleanup/expired/", "POST", 401, 403, 200, 403, body=WHY),
    Row("api/orders/admin/trigger-cleanup-task/", "POST", 401, 403, 202, 403, body=WHY),
    Row("api/payments/cleanup/", "POST", 401, 403, 200, 403, body=WHY),
    Row("api/payments/status/", "GET", 401, 404, 200, 200, query=f"?order_id={ORDER_ID}"),
    Row("api/payments/status/", "GET", 401, 404, 200, 200, query="?payment_id=<payment_id>"),
    Row("api/payments/retry/", "POST", 401, 404, 404, 409, body={"order_id": ORDER_ID}),
    Row("api/payments/<payment_id>/", "GET", 401, 404, 200, 200),
    Row("api/payments/<payment_id>/submit/", "POST", 401, 404, 404, 202, body=PAY),
    Row("api/payments/<payment_id>/cancel/", "POST", 401, 404, 200, 200, body=WHY),
    Row("api/payments/<payment_id>/refund/", "POST", 401, 403, 409, 403, body=WHY),
    # The signature says which gateway speaks, and there is none here.
    Row("api/webhooks/<gateway>/", "POST", 400, 400, 400, 400, body={}),
    Row("healthz", "GET", 200, 200, 200, 200),
    Row("readyz", "GET", 200, 200, 200, 200),
    Row("metrics", "GET", 200, 200, 200, 200),  # Without a password: docs/running.md says to keep it inside.
    # The signature in the link says whose reminders they are, whoever follows it.
    Row("reminders/stop/<str:token>/", "GET", 200, 200, 200, 200),
    Row("reminders/stop/<str:token>/", "POST", 200, 200, 200, 200),
    # Without a signed payment the page can tell nobody anything.
    Row("payments/return/<str:gateway>/", "GET", 404, 404, 404, 404),
    Row("payments/return/<str:gateway>/", "POST", 404, 404, 404, 404),
    # The demo shop.
    Row("", "GET", 302, 302, 302, 302),
    Row("shop/", "GET", 200, 200, 200, 200),
    Row("shop/orders/", "POST", 302, 302, 302, 302, form=PLACE),
    Row("shop/pay/<str:payment_id>/", "GET", 404, 404, 404, 200),
]


# The framework's own: they show the same whatever the method, and change nothing.
BY_ANY_METHOD = {"", "api/", "api/docs", "api/openapi.json"}


def routes_of(resolver: Any, prefix: str = "") -> Iterator[str]:
    """Walk every URL pattern there is; the admin's stand for themselves."""
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver) and path != ADMIN:
            yield from routes_of(pattern, path)
        else:
            assert isinstance(pattern, URLPattern | URLResolver)
            yield path


@dataclass(frozen=True, slots=True)
class World:
    """An order of the owner's, and who else asks for it."""

    attempt: PaymentAttempt
    users: dict[str, User | None]
    token_for: Callable[[User], str]

    def ask(self, row: Row, who: str, *, path: str) -> Any:
        """Ask as an API client with a token, or as a visitor of a page with a session."""
        user, headers = self.users[who], {}
        client = Client()
        if user is not None and path.startswith("/api/"):
            headers = {"Authorization": f"Bearer {self.token_for(user)}"}
        elif user is not None:
            client.force_login(user)
        if row.form:
            return client.generic("POST", path, _encoded(row.form), content_type=FORM, headers=headers)
        body = json.dumps(row.body) if row.body is not None else ""
        query = row.query.replace("<payment_id>", self.attempt.public_id)
        return client.generic(row.method, path + query, body, content_type="application/json", headers=headers)

    def path_of(self, route: str, *, payment_id: str | None = None, order_id: str = ORDER_ID) -> str:
        """Fill in what the route names."""
        owner = self.users["owner"]
        assert owner is not None
        token = links.stop_url(customer_id=owner.pk).rstrip("/").rpartition("/")[2]
        path = route.replace("str:", "").replace("<order_id>", order_id).replace("<token>", token)
        path = path.replace("<gateway>", "sandbox")
        return "/" + path.replace("<payment_id>", payment_id or self.attempt.public_id)


FORM = "application/x-www-form-urlencoded"


def _encoded(form: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in form.items())


@pytest.fixture
def world(customer: User, other: User, staff: User, item: StockItem, token_for: Callable[[User], str]) -> World:
    attempt = factories.place_order(customer=customer, item=item, order_id=ORDER_ID)
    users = {"nobody": None, "other": other, "staff": staff, "owner": customer}
    return World(attempt=attempt, users=users, token_for=token_for)


def test_every_route_has_a_row() -> None:
    found = set(routes_of(get_resolver()))
    assert found == {row.route for row in ROWS} | {ADMIN}


@pytest.mark.parametrize("who", ["nobody", "other", "staff", "owner"])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_each_kind_of_user_is_answered_as_written(row: Row, who: str, world: World) -> None:
    assert world.ask(row, who, path=world.path_of(row.route)).status_code == getattr(row, who)


def facts(item: StockItem) -> list[Any]:
    """What somebody who may not could have changed."""
    kept = (Order, PaymentAttempt, HistoryEntry, StaffAction, IdempotencyRecord)
    return [factories.stock_of(item), *(list(model.objects.order_by("pk").values()) for model in kept)]


@pytest.mark.parametrize("row", [row for row in ROWS if row.other in {401, 403, 404}], ids=str)
def test_who_may_not_changes_nothing(row: Row, world: World, item: StockItem) -> None:
    before = facts(item)
    for who in ("nobody", "other"):
        world.ask(row, who, path=world.path_of(row.route))
    assert facts(item) == before


@pytest.mark.parametrize("row", [row for row in ROWS if row.other == 404 and row.owner != 404], ids=str)
def test_somebody_elses_is_byte_identical_to_nothing_at_all(row: Row, world: World) -> None:
    theirs = world.ask(row, "other", path=world.path_of(row.route))
    body = row.body and {k: "ORD-NONE" if v == ORDER_ID else v for k, v in row.body.items()}
    for payment_id in (f"pay_{uuid4().hex}", "nonsense"):
        query = row.query.replace(ORDER_ID, "ORD-NONE").replace("<payment_id>", payment_id)
        missing = replace(row, body=body, query=query)
        path = world.path_of(row.route, payment_id=payment_id, order_id="ORD-NONE")
        nothing = world.ask(missing, "other", path=path)
        assert (theirs.status_code, theirs.content) == (nothing.status_code, nothing.content)
        assert _told(theirs) == _told(nothing)


def _told(response: Any) -> dict[str, str]:
    return {name: value for name, value in response.items() if name != "X-Request-ID"}


@pytest.mark.parametrize("route", sorted({row.route for row in ROWS}))
def test_no_route_offers_more(route: str, world: World) -> None:
    offered = {row.method for row in ROWS if row.route == route}
    expected = next(row.nobody for row in ROWS if row.route == route) if route in BY_ANY_METHOD else 405
    for method in METHODS:
        if method not in offered:
            for who in world.users:
                response = world.ask(Row(route, method, 0, 0, 0, 0), who, path=world.path_of(route))
                assert (who, method, response.status_code) == (who, method, expected)


@pytest.mark.parametrize("path", ["", "payments/paymentattempt/", "auth/user/", "payments/order/add/", "nothing/"])
def test_the_admin_is_for_staff(path: str, world: World) -> None:
    for who in ("nobody", "other", "owner"):
        response = world.ask(Row(ADMIN, "GET", 0, 0, 0, 0), who, path=f"/admin/{path}")
        assert (response.status_code, response["Location"]) == (302, f"/admin/login/?next=/admin/{path}")
