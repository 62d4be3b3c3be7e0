"""Staff over HTTP: what is over is counted, ended, or left to a worker; nobody else gets in."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import ProgrammingError
from django.test import Client

from payments import dispatch, lifecycle
from payments.lifecycle import COUNTED_UP_TO
from payments.models import ExpiryFailure, Order, PaymentAttempt, StaffAction, StockItem
from tests import bulk, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.factories import steps
from tests.integration.api_client import Api, problem
from tests.integration.conftest import NOBODY_LISTENS
from tests.integration.test_clock_guard import step_database
from tests.integration.test_dispatch import messages
from tests.overdue import due_order, held

pytestmark = pytest.mark.django_db(transaction=True)

COUNT = "/api/orders/admin/expired-count/"
ORDERS = "/api/orders/admin/cleanup/expired/"
TRIGGER = "/api/orders/admin/trigger-cleanup-task/"
PAYMENTS = "/api/payments/cleanup/"
WHY = "Stock is short before noon"
BOTH = pytest.mark.parametrize("path", [ORDERS, PAYMENTS])


def clean_up(desk: Api, path: str, **asked: Any) -> dict[str, Any]:
    answer = desk.post(path, {"reason": WHY, **asked})
    assert answer.status_code == 200, answer.content
    content: dict[str, Any] = answer.json()
    assert content.pop("duration_seconds") >= 0
    return content


def counts(content: dict[str, Any]) -> dict[str, int]:
    """The counts that are not zero."""
    return {name.removesuffix("_count"): n for name, n in content.items() if name.endswith("_count") and n}


def expired_count(desk: Api) -> int:
    return int(desk.get(COUNT).json()["expired_count"])


# Who may


@pytest.mark.parametrize("path", [COUNT, ORDERS, TRIGGER, PAYMENTS])
def test_only_staff_may(path: str, api: Api, customer: User, item: StockItem) -> None:
    attempt = due_order(customer, item)
    messages("expiry")
    for client, status, code in ((api, 403, "forbidden"), (Api(None), 401, "not_authenticated")):
        problem(client.get(path) if path == COUNT else client.post(path, {}), status, code)
    assert steps(attempt)[-1][0] == "open"
    assert messages("expiry") == []


@pytest.mark.parametrize("path", [ORDERS, TRIGGER, PAYMENTS])
def test_a_session_of_staff_needs_its_csrf_token(path: str, staff: User, customer: User, item: StockItem) -> None:
    attempt = due_order(customer, item)
    messages("expiry")
    client = Client(enforce_csrf_checks=True)
    client.force_login(staff)
    problem(client.post(path, json.dumps({"reason": WHY}), content_type="application/json"), 403, "forbidden")
    assert steps(attempt)[-1][0] == "open"
    assert messages("expiry") == []
    client.cookies["csrftoken"] = "t" * 32
    body = json.dumps({"reason": WHY})
    response = client.post(path, body, content_type="application/json", headers={"X-CSRFToken": "t" * 32})
    assert response.status_code in {200, 202}
    assert client.get(COUNT).status_code == 200


# The count


def test_nothing_is_over(desk: Api, customer: User, item: StockItem) -> None:
    factories.place_order(customer=customer, item=item)
    answer = desk.get(COUNT).json()
    assert datetime.fromisoformat(answer.pop("server_now")).tzinfo is not None
    assert answer == {"expired_count": 0, "is_capped": False, "failed_count": 0, "oldest_expires_at": None}


def test_what_is_over_is_counted_until_it_ends(
    desk: Api, customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    declined = factories.place_order(customer=factories.make_user(), item=item)
    factories.submit(declined, token="tok_insufficient_funds")
    assert lifecycle.charge_attempt(attempt_id=declined.id) == "failed"
    factories.age_attempt(declined.id, seconds_left=-5)
    for _ in range(3):
        due_order(customer, item)
    factories.place_order(customer=customer, item=item)
    answer = desk.get(COUNT).json()
    assert (answer["expired_count"], answer["is_capped"], answer["failed_count"]) == (4, False, 0)
    oldest = Order.objects.order_by("payment_expires_at").values_list("payment_expires_at", flat=True)[0]
    assert datetime.fromisoformat(answer["oldest_expires_at"]) == oldest.replace(
        microsecond=oldest.microsecond // 1000 * 1000
    )
    assert counts(clean_up(desk, ORDERS, limit=3)) == {"ended": 3, "more_due": 1}
    assert expired_count(desk) == 1
    clean_up(desk, ORDERS)
    assert expired_count(desk) == 0


def test_what_could_not_be_ended_is_counted_wherever_its_next_try_is(
    desk: Api, customer: User, item: StockItem, poisoned: str
) -> None:
    due_order(customer, item, poisoned)
    assert counts(clean_up(desk, ORDERS)) == {"failed": 1}
    ExpiryFailure.objects.update(due_at=ExpiryFailure.objects.get().due_at + timedelta(minutes=5))
    answer = desk.get(COUNT).json()
    assert (answer["expired_count"], answer["failed_count"]) == (1, 1)
    assert counts(clean_up(desk, ORDERS)) == {"waiting": 1}


def test_a_count_ends_somewhere(desk: Api, customer: User) -> None:
    item = factories.make_item("MANY", on_hand=20_000)
    for prefix, orders, expected in (("A", COUNTED_UP_TO, (10_000, False)), ("B", 1, (10_000, True))):
        bulk.make_orders(
            orders,
            prefix=prefix,
            customers=[customer.pk],
            items=[item.pk],
            first_deadline_in=timedelta(minutes=-1),
            spread=timedelta(seconds=59),
        )
        bulk.count_stock()
        answer = desk.get(COUNT).json()
        assert (answer["expired_count"], answer["is_capped"]) == expected


# The cleanup


@BOTH
def test_a_cleanup_ends_what_is_over_in_the_name_of_who_asked(
    path: str, desk: Api, staff: User, customer: User, item: StockItem
) -> None:
    attempt, living = due_order(customer, item, "ORD-1"), factories.place_order(customer=customer, item=item)
    expires_at = PaymentAttempt.objects.get(id=attempt.id).expires_at
    content = clean_up(desk, path)
    [row] = content.pop("rows")
    assert content == {
        "dry_run": False,
        "ended_count": 1,
        "held_count": 0,
        "failed_count": 0,
        "left_count": 0,
        "waiting_count": 0,
        "more_due_count": 0,
    }
    assert abs(datetime.fromisoformat(row.pop("expires_at")) - expires_at) < timedelta(milliseconds=1)
    assert row == {
        "order_id": "ORD-1",
        "payment_id": attempt.public_id,
        "fate": "expire",
        "reason": "the boot clock proves that the window is over",
        "last_failure": None,
    }
    assert attempt.history.get(to_state="expired").actor == f"staff:{staff.pk}"
    assert steps(living)[-1][0] == "open"
    assert factories.stock_of(item) == (100, 1, 0)
    assert clean_up(desk, path)["rows"] == []


@BOTH
def test_a_dry_run_changes_nothing_and_gives_the_rows_of_the_run(
    path: str, desk: Api, customer: User, item: StockItem
) -> None:
    disputed = factories.place_order(customer=customer, item=item)
    attempts = [due_order(customer, item) for _ in range(3)]
    step_database(disputed, by=timedelta(hours=1))
    dry = clean_up(desk, path, dry_run=True)
    assert [steps(attempt)[-1][0] for attempt in attempts] == ["open"] * 3
    assert (factories.stock_of(item), expired_count(desk)) == ((100, 4, 0), 4)
    done = clean_up(desk, path, dry_run=False)
    assert (dry.pop("dry_run"), done.pop("dry_run")) == (True, False)
    assert dry == done
    assert [row["fate"] for row in done["rows"]] == ["held", "expire", "expire", "expire"]
    assert expired_count(desk) == 1  # The one that the clocks disagree about.


@BOTH
def test_what_somebody_holds_is_left(path: str, desk: Api, customer: User, item: StockItem) -> None:
    attempt = due_order(customer, item)
    with held("SELECT id FROM payments_order WHERE id = %s FOR UPDATE", attempt.order_id):
        content = clean_up(desk, path)
    assert counts(content) == {"left": 1}
    assert [(row["fate"], row["reason"]) for row in content["rows"]] == [("left", "somebody else is at it")]


def test_the_payments_cleanup_takes_no_order_after_a_failure(
    desk: Api, customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item), token="tok_insufficient_funds")
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "failed"
    factories.age_attempt(attempt.id, seconds_left=-1)
    assert clean_up(desk, PAYMENTS)["rows"] == []
    assert counts(clean_up(desk, ORDERS)) == {"ended": 1}


@BOTH
@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": "5"}, "limit"),
        ({"dry_run": "yes"}, "dry_run"),
        ({"dryrun": True}, "dryrun"),
        ({"reason": None}, "reason"),
        ({"reason": "no"}, "reason"),
        ([], "body"),
    ],
)
def test_a_wrong_body_is_refused_by_name(
    path: str, body: Any, named: str, desk: Api, customer: User, item: StockItem
) -> None:
    attempt = due_order(customer, item)
    asked = {"reason": WHY, **body} if isinstance(body, dict) else body
    content = problem(desk.post(path, asked), 422, "invalid_request")
    assert [entry["field"] for entry in content["errors"]] == [named]
    assert steps(attempt)[-1][0] == "open"


# On record


@pytest.mark.parametrize(
    ("path", "action", "evidence"),
    [(ORDERS, "clean_up_orders", {"limit": 7}), (PAYMENTS, "clean_up_payments", {"limit": 7})],
)
def test_who_has_it_done_is_on_record_with_the_reason(
    path: str, action: str, evidence: dict[str, int], desk: Api, staff: User, customer: User, item: StockItem
) -> None:
    attempt = due_order(customer, item)
    clean_up(desk, path, limit=7)
    row = StaffAction.objects.get()
    assert (row.actor, row.action, row.reason) == (f"staff:{staff.id}", action, WHY)
    assert row.evidence == evidence
    assert attempt.history.latest("number").actor == row.actor


@BOTH
def test_a_dry_run_needs_no_reason_and_leaves_no_record(path: str, desk: Api, customer: User, item: StockItem) -> None:
    due_order(customer, item)
    assert len(desk.post(path, {"dry_run": True}).json()["rows"]) == 1
    assert not StaffAction.objects.exists()


def test_the_record_is_never_changed(desk: Api) -> None:
    assert desk.post(TRIGGER, {"reason": WHY}).status_code == 202
    assert StaffAction.objects.get().action == "trigger_sweep"
    with pytest.raises(ProgrammingError, match="staffaction"):
        StaffAction.objects.update(reason="another")
    with pytest.raises(ProgrammingError, match="staffaction"):
        StaffAction.objects.all().delete()


# The task


def test_the_task_is_published_and_nothing_else_is_done(desk: Api, customer: User, item: StockItem) -> None:
    attempt = due_order(customer, item)
    messages("expiry")
    answer = desk.post(TRIGGER, {"reason": WHY})
    assert (answer.status_code, answer.json()["task"]) == (202, "payments.sweep_expired")
    [message] = messages("expiry")
    assert (message.headers["task"], message.payload[:2]) == ("payments.sweep_expired", [[], {}])
    assert steps(attempt)[-1][0] == "open"


def test_a_broker_that_does_not_take_the_task_is_said(desk: Api, use_broker: Callable[[str | None], None]) -> None:
    messages("expiry")
    use_broker(NOBODY_LISTENS)
    answer = desk.post(TRIGGER, {"reason": WHY})
    assert answer["Retry-After"] == "2"
    content = problem(answer, 503, "unavailable")
    assert "The broker did not take the task" in content["detail"]
    use_broker(None)
    assert dispatch.publish(jobs=[]) == 0
    assert desk.post(TRIGGER, {"reason": WHY}).status_code == 202
    assert len(messages("expiry")) == 1


def test_the_documentation_says_what_each_field_is(client: Client, db: None) -> None:
    described = json.loads(client.get("/api/openapi.json").content)
    for path, method in ((COUNT, "get"), (ORDERS, "post"), (TRIGGER, "post"), (PAYMENTS, "post")):
        operation = described["paths"][path][method]
        assert operation["summary"].startswith("Staff: ")
        assert operation["description"]
        assert {"401", "403"} <= operation["responses"].keys()
        assert operation.get("requestBody", {}).get("required", False) is (method == "post")
