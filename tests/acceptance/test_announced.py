"""What happens to a payment reaches a real receiver, through beat and worker, signed so that it can be verified."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import DjangoDbBlocker

from beat_schedules.write import write_schedule
from payments.models import StockItem
from tests import factories, receiver
from tests.acceptance.test_whole_road import Shopper, attempt_id
from tests.contract.sandbox_server import SandboxProcess, wait_until
from tests.receiver import NEW_SECRET, OLD_SECRET, Receiver
from tests.system import System

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def host() -> Iterator[Receiver]:
    """The host's own system, listening."""
    with receiver.listening() as listening:
        yield listening


@pytest.fixture(scope="module")
def announcing_system(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    sandbox_process: SandboxProcess,
    tmp_path_factory: pytest.TempPathFactory,
    host: Receiver,
) -> Iterator[System]:
    with django_db_blocker.unblock():
        system = System(tmp_path_factory.mktemp("announcing"), sandbox=sandbox_process, env=host.env)
        try:
            system.start()
            yield system
        finally:
            system.stop()


@pytest.fixture
def shopper(
    announcing_system: System,
    transactional_db: None,
    sandbox: SandboxProcess,
    customer: User,
    item: StockItem,
    token_for: Callable[[User], str],
) -> Iterator[Shopper]:
    write_schedule()
    announcing_system.ensure_running()
    yield Shopper(announcing_system, token_for(customer))
    announcing_system.close_clients()


@pytest.fixture
def verify(checkout_folder: Path, tmp_path: Path) -> Callable[[receiver.Request], dict[str, Any]]:
    """Verify a request as docs/announcements.md says, with either secret."""
    documented: ModuleType = receiver.documented(checkout_folder=checkout_folder, folder=tmp_path)

    def verified(request: receiver.Request) -> dict[str, Any]:
        payloads = [documented.verify(request.body, request.headers, secret) for secret in (NEW_SECRET, OLD_SECRET)]
        assert payloads[0] == payloads[1] == request.payload
        return dict(payloads[0])

    return verified


def heard(host: Receiver, *, order_id: str, count: int) -> list[receiver.Request]:
    def of_the_order() -> list[receiver.Request]:
        return [request for request in list(host.requests) if request.payload["order_id"] == order_id]

    wait_until(lambda: len(of_the_order()) >= count, what=f"{count} announcements of {order_id}", deadline_seconds=30)
    return of_the_order()


def test_a_paid_order_is_announced_to_the_host(
    shopper: Shopper, host: Receiver, verify: Callable[[receiver.Request], dict[str, Any]]
) -> None:
    payment_id = shopper.order(order_id="ORD-TOLD")["payment"]["id"]
    shopper.submit(payment_id)
    (request,) = heard(host, order_id="ORD-TOLD", count=1)
    told = verify(request)
    assert request.headers["webhook-id"] == told["id"]
    assert (told["kind"], told["number"], told["state"]) == ("order_paid", 1, "succeeded")
    assert (told["payment_id"], told["amount_minor"], told["currency"]) == (payment_id, 2500, "USD")
    assert told["message"] == shopper.payment(payment_id)["message"]


def test_a_failure_and_the_expiry_after_it_are_announced_in_order(
    shopper: Shopper, host: Receiver, verify: Callable[[receiver.Request], dict[str, Any]]
) -> None:
    payment_id = shopper.order(order_id="ORD-SAD")["payment"]["id"]
    shopper.submit(payment_id, "tok_insufficient_funds")
    shopper.wait_for(payment_id, "failed")
    factories.age_attempt(attempt_id(payment_id), seconds_left=-1)
    told = [verify(request) for request in heard(host, order_id="ORD-SAD", count=2)]
    assert [(one["number"], one["kind"], one["failure_code"]) for one in told] == [
        (1, "payment_failed", "insufficient_funds"),
        (2, "payment_expired", None),
    ]
