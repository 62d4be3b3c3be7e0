"""What a worker does itself when neither beat nor the broker does anything."""

from collections.abc import Iterator, MutableMapping
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from payments import clocks, lifecycle
from payments.models import PaymentAttempt, StockItem
from tests import factories
from tests.contract.sandbox_server import SandboxProcess, wait_until
from workers.watchdog import Watchdog

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    """One that runs one job at a time, and loses its patience at once."""
    watchdog = Watchdog(patience_seconds=0, jobs_at_once=1)
    yield watchdog
    watchdog.end()


def states() -> list[str]:
    return sorted(PaymentAttempt.objects.values_list("state", flat=True))


def test_what_is_owed_stands_in_line_once_however_often_it_is_owed_again(
    customer: User,
    item: StockItem,
    sandbox: SandboxProcess,
    broker_is_away: None,
    captured_logs: list[MutableMapping[str, Any]],
    watchdog: Watchdog,
) -> None:
    for payer in (customer, factories.make_user()):
        factories.submit(factories.place_order(customer=payer, item=item))
    sandbox.behave("hang_before", operation="authorize", times=1)
    for _ in range(10):  # Every other look finds that nobody rescued since.
        due_at = clocks.database_now() - timedelta(seconds=1)
        PaymentAttempt.objects.filter(state="queued").update(due_at=due_at)
        watchdog.look()
    assert lifecycle.duty_runs()["rescue"] >= 4
    sandbox.wait_until_held(1)
    assert states() == ["charging", "queued"]
    sandbox.release()
    wait_until(lambda: states() == ["succeeded", "succeeded"], what="both are paid", deadline_seconds=30)
    watchdog._jobs.shutdown(wait=True)
    assert [event for event in captured_logs if event["event"] == "charge_skipped"] == []
