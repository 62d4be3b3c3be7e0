"""Rate limits: who meets them, what they say, and that nothing depends on them."""

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django import Settings

from payments import quickstore, ratelimits
from payments.api.urls import api as the_api
from payments.domain.errors import RateLimited
from payments.models import IdempotencyRecord, Order, StockItem
from payments.ratelimits import Act, until_free_seconds
from project.settings import access
from tests import factories
from tests.faults import SilentServer
from tests.integration.api_client import ORDER, Api, problem, untouched
from tests.integration.conftest import NOBODY_LISTENS

pytestmark = pytest.mark.django_db(transaction=True)

Logs = list[MutableMapping[str, Any]]
NOTHING = "/api/orders/payment-status/ORD-NONE/"


@pytest.fixture(autouse=True)
def empty_windows(settings: Settings) -> Iterator[None]:
    """A machine that is busy with tests must not open the gate."""
    settings.PAYMENT_GATE_TIMEOUT_MILLISECONDS = 10_000
    quickstore.close()
    with redis.Redis.from_url(django_settings.REDIS_URL) as client:
        for key in client.scan_iter("paywindow:rate:*"):
            client.delete(key)
    yield
    quickstore.close()


def refused(response: Any) -> None:
    content = problem(response, 429, "rate_limited")
    assert response["Retry-After"] == str(content["retry_after_seconds"])
    assert content["retry_after_seconds"] in range(1, 121)


def test_who_asks_too_often_is_told_when_to_come_back(
    customer: User, other: User, settings: Settings, token_for: Callable[[User], str]
) -> None:
    settings.PAYMENT_RATE_LIMITS = {"status": {"user": "3/minute"}}
    api = Api(token_for(customer))
    assert [api.get(NOTHING).status_code for _ in range(3)] == [404] * 3
    refused(api.get(NOTHING))
    refused(api.get("/api/payments/nonsense/"))
    assert Api(token_for(other)).get(NOTHING).status_code == 404
    # Another thing is counted apart.
    problem(api.get("/api/orders/admin/expired-count/"), 403, "forbidden")


def test_one_payment_is_limited_apart_from_the_others(
    customer: User, other: User, item: StockItem, settings: Settings, token_for: Callable[[User], str]
) -> None:
    settings.PAYMENT_RATE_LIMITS = {"status": {"subject": "2/minute"}}
    first, second = (factories.place_order(customer=customer, item=item).public_id for _ in range(2))
    stranger, api = Api(token_for(other)), Api(token_for(customer))
    for _ in range(3):
        stranger.get(f"/api/payments/{first}/")  # Keeps nobody out but herself.
    for payment_id in (first, second):
        assert [api.get(f"/api/payments/{payment_id}/").status_code for _ in range(2)] == [200, 200]
        refused(api.get(f"/api/payments/{payment_id}/"))


def test_an_order_named_in_the_body_is_limited(customer: User, api: Api, settings: Settings) -> None:
    settings.PAYMENT_RATE_LIMITS = {"retry": {"subject": "1/minute"}}
    problem(api.post("/api/payments/retry/", {"order_id": "ORD-1"}), 404, "not_found")
    refused(api.post("/api/payments/retry/", {"order_id": "ORD-1"}))
    problem(api.post("/api/payments/retry/", {"order_id": "ORD-2"}), 404, "not_found")


def test_a_refused_request_changes_nothing_and_burns_no_key(api: Api, item: StockItem, settings: Settings) -> None:
    settings.PAYMENT_RATE_LIMITS = {"place": {"user": "1/minute"}}
    assert api.post("/api/orders/", {**ORDER, "total_minor": 1}).status_code == 422
    headers = {"Idempotency-Key": "key-1"}
    refused(api.client.post("/api/orders/", ORDER, content_type="application/json", headers=headers))
    assert untouched(item)
    assert not IdempotencyRecord.objects.exists()
    settings.PAYMENT_RATE_LIMITS = {}
    answer = api.client.post("/api/orders/", ORDER, content_type="application/json", headers=headers)
    assert (answer.status_code, Order.objects.count()) == (201, 1)
    assert "Idempotent-Replayed" not in answer


def test_both_limits_are_one_round_trip(
    customer: User, api: Api, item: StockItem, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PAYMENT_RATE_LIMITS = {"status": {"user": "9/minute", "subject": "9/minute"}}
    path = f"/api/payments/{factories.place_order(customer=customer, item=item).public_id}/"
    sent: list[object] = []
    send: Any = redis.connection.Connection.send_packed_command

    def spy(connection: Any, command: object, *args: Any, **kwargs: Any) -> Any:
        sent.append(command)
        return send(connection, command, *args, **kwargs)

    api.get(path)  # Connects, and may load the script.
    monkeypatch.setattr(redis.connection.Connection, "send_packed_command", spy)
    assert api.get(path).status_code == 200
    assert len(sent) == 1
    assert str(sent[0]).count("EVALSHA") == 2


def test_a_script_that_redis_has_forgotten_is_loaded_again(customer: User, settings: Settings) -> None:
    settings.PAYMENT_RATE_LIMITS = {"submit": {"user": "1/minute"}}
    with redis.Redis.from_url(django_settings.REDIS_URL) as client:
        client.script_flush()
    ratelimits.count(act=Act.SUBMIT, user_id=customer.pk, subject=None)
    with pytest.raises(RateLimited):
        ratelimits.count(act=Act.SUBMIT, user_id=customer.pk, subject=None)


@pytest.mark.parametrize("limits", [{}, {"status": {}}, {"status": {"user": "", "subject": ""}}, {"status": None}])
def test_a_limit_is_switched_off_by_leaving_it_out(api: Api, settings: Settings, limits: dict[str, Any]) -> None:
    settings.PAYMENT_RATE_LIMITS = limits
    assert [api.get(NOTHING).status_code for _ in range(5)] == [404] * 5


# Without Redis


def test_without_redis_nothing_is_limited(api: Api, item: StockItem, settings: Settings, captured_logs: Logs) -> None:
    settings.PAYMENT_RATE_LIMITS = {"place": {"user": "1/minute"}, "status": {"user": "1/minute"}}
    settings.REDIS_URL, settings.PAYMENT_GATE_PAUSE_SECONDS = NOBODY_LISTENS, 3600
    quickstore.close()
    assert [api.post("/api/orders/", ORDER).status_code for _ in range(3)] == [201] * 3
    assert [api.get(NOTHING).status_code for _ in range(3)] == [404] * 3
    assert [event["event"] for event in captured_logs].count("redis_left_alone") == 1


def test_a_silent_redis_is_waited_for_once_by_limits_and_gate_together(
    api: Api, customer: User, item: StockItem, settings: Settings, silent_server: SilentServer
) -> None:
    settings.PAYMENT_RATE_LIMITS = {"submit": {"user": "1/minute", "subject": "1/minute"}, "place": {"user": "1/hour"}}
    settings.PAYMENT_GATE_TIMEOUT_MILLISECONDS, settings.PAYMENT_GATE_PAUSE_SECONDS = 50, 3600
    settings.REDIS_URL = f"redis://127.0.0.1:{silent_server.port}/0"
    quickstore.close()
    for _ in range(2):
        payment_id = api.post("/api/orders/", ORDER).json()["payment"]["id"]
        submitted = api.post(f"/api/payments/{payment_id}/submit/", {"payment_token": "tok_visa"})
        assert submitted.status_code == 202
    assert (silent_server.connections, silent_server.is_released) == (1, False)


# The whole API


def test_every_operation_has_a_limit_and_documents_it() -> None:
    operations = [
        (f"{method} {path}", operation)
        for path, methods in the_api.get_openapi_schema()["paths"].items()
        for method, operation in methods.items()
        if operation["security"]  # Gateways are no users; their signature lets them in.
    ]
    assert len(operations) >= 10
    assert [name for name, operation in operations if "x-rate-limit" not in operation] == []
    assert [name for name, operation in operations if "429" not in operation["responses"]] == []
    used = {operation["x-rate-limit"] for _, operation in operations}
    assert used <= set(access.PAYMENT_RATE_LIMITS)


def test_every_act_has_a_limit_as_shipped() -> None:
    assert set(access.PAYMENT_RATE_LIMITS) == set(Act)
    assert all(limits["user"] for limits in access.PAYMENT_RATE_LIMITS.values())


def test_what_people_do_stays_below_the_limits(customer: User, api: Api, item: StockItem, settings: Settings) -> None:
    settings.PAYMENT_RATE_LIMITS = access.PAYMENT_RATE_LIMITS
    payment_id = api.post("/api/orders/", ORDER).json()["payment"]["id"]
    looks = [api.get(f"/api/payments/{payment_id}/").status_code for _ in range(2 * 60)]
    assert set(looks) == {200}
    clicks = [
        api.post(f"/api/payments/{payment_id}/submit/", {"payment_token": "tok_visa"}).status_code for _ in range(200)
    ]
    assert clicks == [202] + [409] * 199


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"pay": {"user": "1/minute"}}, "PAYMENT_RATE_LIMITS names 'pay'; known are ['place', 'submit'"),
        ({"place": {"ip": "1/minute"}}, "PAYMENT_RATE_LIMITS['place']['ip'] is not known"),
        (
            {"place": {"user": "often"}},
            "PAYMENT_RATE_LIMITS['place']['user'] is 'often'; it must read like '60/minute'",
        ),
        ({"place": {"user": "0/minute"}}, "is '0/minute'; it must read like '60/minute'"),
    ],
)
def test_a_limit_that_cannot_be_read_refuses_to_start(settings: Settings, limits: dict[str, Any], named: str) -> None:
    settings.PAYMENT_RATE_LIMITS = limits
    with pytest.raises(SystemCheckError) as found:
        call_command("check")
    assert named in str(found.value)


@pytest.mark.parametrize(
    ("previous", "previous_left", "current", "current_left", "wait"),
    [
        (0, 0, 60, 40, 40),  # This window has to end; one that is full fades at once.
        (60, 60, 0, 0, 0.001),  # 60 x 60/60 is 60 now, and 59 in a moment.
        (60, 30, 30, 30, 0.001),
        (60, 30, 40, 30, 10),
        (60, 10, 59, 10, 9),
        (0, 0, 90, 40, 60),  # The limit was lowered meanwhile.
    ],
)
def test_when_the_next_request_fits(
    previous: int, previous_left: float, current: int, current_left: float, wait: float
) -> None:
    assert until_free_seconds(
        limit=60,
        window_seconds=60,
        previous=previous,
        previous_left_seconds=previous_left,
        current=current,
        current_left_seconds=current_left,
    ) == pytest.approx(wait)
