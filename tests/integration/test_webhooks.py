"""A gateway sends word: stored once, believed never, and asked about."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection
from django.test import Client
from pytest_django import Settings

from payments import clocks, lifecycle
from payments.gateways import registry
from payments.gateways.sandbox.webhooks import sign
from payments.models import GatewayCall, PaymentAttempt, StockItem, WebhookEvent
from tests import doubts, factories
from tests.contract.sandbox_server import API_KEY, SandboxProcess
from tests.doubts import PAID, asked, resolve
from tests.integration.api_client import problem

pytestmark = pytest.mark.django_db(transaction=True)

OLD, NEW = "whsec_old", "whsec_new"
PATH = "/api/webhooks/sandbox/"


@pytest.fixture(autouse=True)
def secrets(sandbox: SandboxProcess, settings: Settings, broker_is_away: None) -> None:
    """Two secrets at once; each test does the workers' part by itself."""
    both = f"{NEW}, {OLD}"
    settings.PAYMENT_GATEWAYS = {"sandbox": {"url": sandbox.url, "api_key": API_KEY, "webhook_secrets": both}}
    registry.close_gateways()


@pytest.fixture
def attempt(customer: User, item: StockItem, sandbox: SandboxProcess) -> PaymentAttempt:
    """A payment that waits on the hosted page; its only call was made a while ago."""
    return doubts.confirming(customer=customer, item=item, hours_ago=0.01)


def event(attempt: PaymentAttempt, *, kind: str = "charge.captured", event_id: str = "evt_1") -> bytes:
    charge = {"id": attempt.gateway_reference, "reference": attempt.public_id, "status": "captured"}
    return json.dumps({"id": event_id, "type": kind, "created": 1, "data": {"charge": charge}}).encode()


def send(body: bytes, *, secret: str = NEW, seconds_ago: int = 0, signature: str | None = None) -> Any:
    unix_seconds = int(clocks.database_now().timestamp()) - seconds_ago
    signature = sign(body, secrets=[secret], unix_seconds=unix_seconds) if signature is None else signature
    client = Client(enforce_csrf_checks=True, headers={"Sandbox-Signature": signature})
    return client.post(PATH, body, content_type="application/json")


def the_event() -> WebhookEvent:
    return WebhookEvent.objects.get()


def apply(row: WebhookEvent) -> str | None:
    WebhookEvent.objects.filter(id=row.id, due_at__isnull=False).update(due_at=row.received_at)
    return lifecycle.apply_event(event_id=row.id)


def is_heard(answer: Any, *, is_new: bool = True) -> bool:
    return (answer.status_code, answer.json()) == (200, {"is_new": is_new})


def test_an_event_has_the_gateway_asked_and_pays_the_order(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    sandbox.settle(attempt.gateway_reference, "pay")
    body = event(attempt)
    assert is_heard(send(body))
    assert bytes(the_event().body) == body
    assert apply(the_event()) == "asked"
    attempt.refresh_from_db()
    assert attempt.state == "succeeded"
    assert sandbox.operations() == PAID
    assert factories.stock_of(item) == (99, 0, 1)
    assert apply(the_event()) is None


def test_what_an_event_says_is_not_believed(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    assert is_heard(send(event(attempt)))  # It says "captured", and nobody has paid.
    assert apply(the_event()) == "asked"
    attempt.refresh_from_db()
    assert attempt.state == "confirming"
    assert sandbox.operations() == []


def test_an_event_that_comes_a_thousand_times_has_one_effect(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    sandbox.settle(attempt.gateway_reference, "pay")
    body = event(attempt)
    assert is_heard(send(body))
    assert all(is_heard(send(body), is_new=False) for _ in range(999))
    assert apply(the_event()) == "asked"
    assert apply(the_event()) is None
    assert len(asked(sandbox, "lookup")) == 1
    assert sandbox.operations() == PAID


def test_an_event_that_comes_many_times_at_once_is_one_event(attempt: PaymentAttempt) -> None:
    body, new = event(attempt), []

    def deliver() -> None:
        new.append(send(body).json()["is_new"])
        connection.close()

    threads = [threading.Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(new) == [False] * 7 + [True]
    assert WebhookEvent.objects.count() == 1


def test_events_in_any_order_lead_to_the_same_end(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    sandbox.settle(attempt.gateway_reference, "pay")
    kinds = ["charge.captured", "charge.pending", "charge.authorized", "charge.declined"]
    for number, kind in enumerate(kinds):
        assert is_heard(send(event(attempt, kind=kind, event_id=f"evt_{number}")))
    endings = [apply(row) for row in WebhookEvent.objects.order_by("event_id")]
    assert endings == ["asked", "nothing_new", "nothing_new", "asked"]
    attempt.refresh_from_db()
    assert attempt.state == "succeeded"
    assert sandbox.operations() == PAID


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_each_of_several_secrets_is_taken(attempt: PaymentAttempt, secret: str) -> None:
    assert is_heard(send(event(attempt), secret=secret))


def test_what_is_not_signed_by_the_gateway_is_refused(attempt: PaymentAttempt) -> None:
    body = event(attempt)
    now = int(clocks.database_now().timestamp())
    good = sign(body, secrets=[NEW], unix_seconds=now)
    mark = good.partition("v1=")[2]
    for signature in [
        "",
        "v1=",
        f"t={now}",
        f"v1={mark}",
        f"t={now},v1={mark[:-1]}",
        f"t={now},v1={mark.upper()}",
        f"t={now + 1},v1={mark}",
        f"t={now},t={now},v1={mark}",
        f"t=x,v1={mark}",
        f"t={now},v0={mark}",
        f"t={now}" + ",v1=0" * 9 + f",v1={mark}",
        sign(body, secrets=["whsec_wrong"], unix_seconds=now),
        sign(body, secrets=[""], unix_seconds=now),
        sign(body + b" ", secrets=[NEW], unix_seconds=now),
    ]:
        problem(send(body, signature=signature), 400, "webhook_refused")
    problem(send(body.replace(b"captured", b"refunded"), signature=good), 400, "webhook_refused")
    assert not WebhookEvent.objects.exists()
    assert is_heard(send(body, signature=f"{good},v1={'0' * 64}"))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"\xff", b'{"id": "evt_1"}', b"[" * 5000,
        b'{"id": "", "type": "t", "data": {"charge": {"id": "c", "reference": "r"}}}',
        b'{"id": 1, "type": "t", "data": {"charge": {"id": "c", "reference": "r"}}}',
        b'{"id": "e\\u0000", "type": "t", "data": {"charge": {"id": "c", "reference": "r"}}}',
        b'{"id": "evt_1", "type": "t", "data": {"charge": {"id": "c", "ref',
    ],
)  # fmt: skip
def test_what_is_signed_and_no_event_is_refused(body: bytes) -> None:
    problem(send(body), 400, "webhook_refused")
    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize(("seconds_ago", "is_timely"), [(290, True), (400, False), (-290, True), (-400, False)])
def test_an_event_out_of_its_time_is_kept_and_asked_about_all_the_same(
    attempt: PaymentAttempt, sandbox: SandboxProcess, seconds_ago: int, is_timely: bool
) -> None:
    sandbox.settle(attempt.gateway_reference, "pay")
    assert is_heard(send(event(attempt), seconds_ago=seconds_ago))
    assert the_event().is_timely is is_timely
    assert apply(the_event()) == "asked"
    attempt.refresh_from_db()
    assert attempt.state == "succeeded"


@pytest.mark.parametrize("length", [64 * 1024 + 1, 2 * 1024 * 1024])
def test_a_body_that_is_too_large_is_refused_unread(attempt: PaymentAttempt, length: int) -> None:
    problem(send(b"x" * length), 413, "body_too_large")


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data; boundary=x", ""])
def test_whatever_it_is_called_its_bytes_are_what_was_signed(attempt: PaymentAttempt, kind: str) -> None:
    body = event(attempt)
    signature = sign(body, secrets=[NEW], unix_seconds=int(clocks.database_now().timestamp()))
    assert is_heard(Client(headers={"Sandbox-Signature": signature}).post(PATH, body, content_type=kind))
    assert bytes(the_event().body) == body


def test_a_gateway_that_nobody_knows_or_that_has_no_secret_is_not_found(
    settings: Settings, attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    client = Client()
    problem(client.post("/api/webhooks/nowhere/", b"{}", content_type="application/json"), 404, "not_found")
    settings.PAYMENT_GATEWAYS = {"sandbox": {"url": sandbox.url, "api_key": API_KEY, "webhook_secrets": " , "}}
    registry.close_gateways()
    problem(send(event(attempt), secret=""), 404, "not_found")
    settings.PAYMENT_GATEWAYS = {}
    problem(send(event(attempt)), 404, "not_found")


@pytest.mark.parametrize("reference", ["pay_0198f0c2e4b27c3a9d1e5f60718293a4", "order-1"])
def test_an_event_of_a_payment_that_is_not_ours_is_kept_and_left(
    attempt: PaymentAttempt, sandbox: SandboxProcess, reference: str
) -> None:
    assert is_heard(send(event(attempt).replace(attempt.public_id.encode(), reference.encode())))
    assert apply(the_event()) == "unknown_payment"
    assert asked(sandbox, "lookup") == []


def test_an_event_of_an_unknown_kind_has_the_gateway_asked(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    sandbox.settle(attempt.gateway_reference, "pay")
    assert is_heard(send(event(attempt, kind="charge.teleported")))
    assert apply(the_event()) == "asked"
    attempt.refresh_from_db()
    assert attempt.state == "succeeded"


def test_money_that_comes_to_a_payment_that_has_ended_is_given_back(
    attempt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    sandbox.settle(attempt.gateway_reference, "decline")
    assert resolve(attempt) == "failed"
    late = sandbox.charge(key="k2", reference=attempt.public_id, amount_minor=attempt.amount_minor).json()
    assert late["status"] == "captured"
    assert is_heard(send(event(attempt)))
    assert apply(the_event()) == "asked"
    row = doubts.the_compensation(attempt)
    assert (row.kind, row.charge_reference, row.state) == ("refund", late["id"], "owed")
    doubts.give_everything_back()
    assert [amount for _, amount in sandbox.operations()] == [1250, 1250]
    assert sandbox.operations()[-1] == ("refund", 1250)
    attempt.refresh_from_db()
    assert attempt.state == "failed"
    assert factories.stock_of(item)[2] == 0


def test_what_our_own_records_say_already_is_not_asked(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "succeeded"
    attempt.refresh_from_db()
    for number, kind in enumerate(["charge.authorized", "charge.captured"]):
        assert is_heard(send(event(attempt, kind=kind, event_id=f"evt_{number}")))
    assert [apply(row) for row in WebhookEvent.objects.all()] == ["nothing_new"] * 2
    assert asked(sandbox, "lookup") == []


def test_a_running_claim_is_left_alone_until_it_is_over(
    customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    call = doubts.claim(attempt)
    attempt.refresh_from_db()
    lease_until = attempt.due_at
    assert is_heard(send(event(attempt, kind="charge.authorized")))
    assert apply(the_event()) is None
    attempt.refresh_from_db()
    assert (attempt.state, attempt.fence, attempt.due_at) == ("charging", call.fence, lease_until)
    assert asked(sandbox, "lookup") == []
    assert the_event().due_at is not None


def test_a_gateway_that_cannot_be_asked_is_asked_later(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    sandbox.settle(attempt.gateway_reference, "pay")
    sandbox.behave("unavailable", operation="lookup", times=1)
    assert is_heard(send(event(attempt)))
    assert apply(the_event()) is None
    doubts.age_calls(attempt, hours=0.01)
    assert apply(the_event()) == "asked"
    attempt.refresh_from_db()
    assert attempt.state == "succeeded"


def test_an_answer_from_before_the_event_does_not_settle_it(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    assert resolve(attempt) == "confirming"
    sandbox.settle(attempt.gateway_reference, "pay")
    assert is_heard(send(event(attempt)))
    assert apply(the_event()) is None  # Too soon for another question.
    doubts.age_calls(attempt, hours=0.01)
    assert apply(the_event()) == "asked"
    attempt.refresh_from_db()
    assert attempt.state == "succeeded"


def test_the_rescue_publishes_what_nobody_applied(attempt: PaymentAttempt) -> None:
    from payments.lifecycle.hear import _take
    from payments.lifecycle.rescue import owed_jobs

    assert is_heard(send(event(attempt)))
    row = the_event()
    assert [job.task for job in owed_jobs()] == []  # Its own job is fresh.
    assert _take(event_id=row.id) is not None  # A worker takes it, and dies.
    assert lifecycle.apply_event(event_id=row.id) is None
    WebhookEvent.objects.update(due_at=row.received_at, published_at=None)  # The time of both passes.
    assert [(job.task, dict(job.kwargs)) for job in owed_jobs()] == [
        ("payments.apply_event", {"event_id": str(row.id)})
    ]
    assert owed_jobs() == []
    assert lifecycle.apply_event(event_id=row.id) == "asked"


def test_an_event_that_nobody_could_ask_about_for_a_day_is_given_up(
    settings: Settings, attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    sandbox.behave("unavailable", operation="lookup")
    assert is_heard(send(event(attempt)))
    assert apply(the_event()) is None
    settings.PAYMENT_RESOLVE_GIVE_UP_SECONDS = 0
    assert apply(the_event()) == "given_up"


@pytest.fixture
def unaskable(transactional_db: None) -> Iterator[None]:
    """No call can be written down: whoever wants to ask the gateway fails, each time."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE FUNCTION unaskable() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'nobody asks'; END $$;
            CREATE TRIGGER unaskable BEFORE INSERT ON payments_gatewaycall FOR EACH ROW EXECUTE FUNCTION unaskable()
            """
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER unaskable ON payments_gatewaycall; DROP FUNCTION unaskable()")


def test_an_event_whose_tries_all_break_off_is_tried_ever_more_seldom_and_then_given_up(
    settings: Settings, customer: User, item: StockItem, sandbox: SandboxProcess, request: pytest.FixtureRequest
) -> None:
    declined = factories.submit(factories.place_order(customer=customer, item=item), token="tok_declined")
    assert lifecycle.charge_attempt(attempt_id=declined.id) == "failed"
    declined.refresh_from_db()
    request.getfixturevalue("unaskable")
    assert is_heard(send(event(declined)))
    waits = []
    for _ in range(7):
        with pytest.raises(DatabaseError, match="nobody asks"):
            apply(the_event())
        row = the_event()
        assert row.due_at is not None
        waits.append(round((row.due_at - clocks.database_now()).total_seconds() / 10))
    assert waits == sorted(waits)
    assert waits[-1] > 3 * waits[0]
    settings.PAYMENT_RESOLVE_GIVE_UP_SECONDS = 0
    assert apply(the_event()) == "given_up"
    assert (the_event().due_at, the_event().ending) == (None, "given_up")


@pytest.mark.parametrize("event_id", ["evt\u0000", "evt\ud800"])
def test_an_event_that_no_database_takes_is_refused(attempt: PaymentAttempt, event_id: str) -> None:
    problem(send(event(attempt, event_id=event_id)), 400, "webhook_refused")
    assert not WebhookEvent.objects.exists()


def test_what_came_is_neither_changed_nor_deleted(attempt: PaymentAttempt) -> None:
    assert is_heard(send(event(attempt)))
    changes: list[dict[str, Any]] = [{"body": b"x"}, {"payment_id": "x"}, {"event_id": "x"}]
    for change in changes:
        with pytest.raises(DatabaseError, match="Cannot update rows"):
            WebhookEvent.objects.update(**change)
    with pytest.raises(DatabaseError, match="Cannot delete rows"):
        WebhookEvent.objects.all().delete()
    with pytest.raises(DatabaseError, match="webhook_event_is_due_or_done"):
        WebhookEvent.objects.update(due_at=None)


def test_nothing_is_asked_in_the_request(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    before = GatewayCall.objects.count()
    assert is_heard(send(event(attempt)))
    assert GatewayCall.objects.count() == before
    assert asked(sandbox, "lookup") == []
