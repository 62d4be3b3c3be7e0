"""Events are kept as they came, and applied once more when a person asks for it."""

from datetime import timedelta
from io import StringIO

import pgtrigger
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db.models import F
from django.test import Client

from payments import clocks, lifecycle
from payments.gateways.sandbox.webhooks import sign
from payments.models import GatewayCall, PaymentAttempt, StockItem, WebhookEvent
from payments.models.inbox import EventEnding
from tests import doubts
from tests.contract.sandbox_server import SandboxProcess
from tests.doubts import PAID
from tests.integration.test_webhooks import NEW, PATH, apply, event, is_heard, secrets, send, the_event

__all__ = ["secrets"]  # The fixture: two secrets, and nobody publishes.

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def attempt(customer: User, item: StockItem, sandbox: SandboxProcess) -> PaymentAttempt:
    return doubts.confirming(customer=customer, item=item, hours_ago=0.01)


def replay(*arguments: str) -> str:
    told = StringIO()
    call_command("replay_events", "sandbox", *arguments, stdout=told)
    return told.getvalue()


def test_headers_are_kept_and_no_credentials(attempt: PaymentAttempt) -> None:
    body = event(attempt)
    signature = sign(body, secrets=[NEW], unix_seconds=int(clocks.database_now().timestamp()))
    headers = {"Sandbox-Signature": signature, "Authorization": "very secret", "X-Try": "2"}
    assert is_heard(Client(headers=headers).post(PATH, body, content_type="application/json"))
    kept = the_event().headers
    assert (kept["sandbox-signature"], kept["x-try"]) == (signature, "2")
    assert "very secret" not in str(kept)


def test_an_event_that_names_the_gateways_id_alone_finds_its_payment(
    attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    sandbox.settle(attempt.gateway_reference, "pay")
    body = event(attempt).replace(attempt.public_id.encode(), b"")
    assert is_heard(send(body))
    assert apply(the_event()) == "asked"
    attempt.refresh_from_db()
    assert attempt.state == "succeeded"


def test_an_event_about_somebody_elses_payment_finds_none(attempt: PaymentAttempt) -> None:
    assert is_heard(send(event(attempt).replace(attempt.public_id.encode(), b"order-of-another-system")))
    assert apply(the_event()) == "unknown_payment"


def test_what_was_given_up_is_applied_once_more(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    sandbox.settle(attempt.gateway_reference, "pay")
    send(event(attempt))
    row = the_event()
    WebhookEvent.objects.filter(id=row.id).update(
        due_at=None, applied_at=row.received_at, ending=EventEnding.GIVEN_UP, tries=9
    )
    assert "evt_1" in replay("--ending", "given_up", "--dry-run")
    assert the_event().due_at is None
    assert "1 events are applied once more" in replay("--ending", "given_up")
    assert the_event().due_at is not None
    assert apply(the_event()) == "asked"
    attempt.refresh_from_db()
    assert attempt.state == "succeeded"
    assert sandbox.operations() == PAID


def test_replaying_it_a_hundred_times_has_one_effect(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    sandbox.settle(attempt.gateway_reference, "pay")
    send(event(attempt))
    apply(the_event())
    for _ in range(20):
        replay("--event-id", "evt_1")
        apply(the_event())
    assert the_event().ending == "nothing_new"
    assert sandbox.operations() == PAID
    assert GatewayCall.objects.filter(operation="look_up").count() == 1


def test_an_answer_from_before_the_replay_does_not_settle_it(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    send(event(attempt))
    assert apply(the_event()) == "asked"
    replay("--event-id", "evt_1")
    assert apply(the_event()) is None  # It was asked a moment ago, and is not asked again so soon.
    doubts.age_calls(attempt, hours=0.01)
    assert apply(the_event()) == "asked"
    assert GatewayCall.objects.filter(operation="look_up").count() == 2


def test_one_that_came_long_ago_is_tried_for_as_long_as_a_new_one(
    attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    send(event(attempt))
    apply(the_event())
    with pgtrigger.ignore("payments.WebhookEvent:webhook_event_facts"):
        WebhookEvent.objects.update(received_at=F("received_at") - timedelta(days=30))
    replay("--event-id", "evt_1")
    sandbox.behave("unavailable", operation="all")
    for _ in range(3):
        assert apply(the_event()) is None
    assert the_event().tries == 3


def test_one_that_is_due_already_is_left_alone(attempt: PaymentAttempt) -> None:
    send(event(attempt))
    row = the_event()
    assert "0 events are" in replay("--event-id", "evt_1")
    assert lifecycle.replay_events([row]) == 0
    assert the_event().due_at == row.due_at


def test_it_wants_to_know_which() -> None:
    with pytest.raises(CommandError, match="Say which events"):
        replay()
    with pytest.raises(CommandError, match="invalid choice"):
        call_command("replay_events", "nobody", "--untimely")
    with pytest.raises(CommandError, match="invalid moment value"):
        replay("--since", "yesterday")
