"""What an event has the gateway asked: about the very charge that it names, until there is an answer to it."""

import pytest
from django.contrib.auth.models import User

from payments.lifecycle.calls import question
from payments.models import GatewayCall, PaymentAttempt, StockItem
from tests import doubts
from tests.contract.sandbox_server import SandboxProcess
from tests.doubts import resolve
from tests.integration.test_webhooks import apply, event, secrets, send, the_event

__all__ = ["secrets"]  # The fixture: two secrets, and nobody publishes.

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def attempt(customer: User, item: StockItem, sandbox: SandboxProcess) -> PaymentAttempt:
    return doubts.confirming(customer=customer, item=item, hours_ago=0.01)


@pytest.mark.parametrize(("kind", "ending"), [("charge.captured", None), ("charge.declined", "asked")])
def test_that_nothing_is_found_does_not_settle_word_of_money(
    attempt: PaymentAttempt, sandbox: SandboxProcess, kind: str, ending: str | None
) -> None:
    sandbox.reset()  # As a search sees it that is behind.
    send(event(attempt, kind=kind))
    assert apply(the_event()) == ending
    assert GatewayCall.objects.get(operation="look_up").outcome == "not_found"


def test_the_charge_that_an_event_names_is_asked_about(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    sandbox.settle(attempt.gateway_reference, "pay")
    assert resolve(attempt) == "succeeded"
    send(event(attempt).replace(attempt.gateway_reference.encode(), b"ch_other"))
    assert apply(the_event()) == "asked"
    attempt.refresh_from_db()
    asked_last = GatewayCall.objects.filter(operation="look_up").latest("started_at")
    assert asked_last.request_hash == question(attempt, charge_reference="ch_other").request_hash
