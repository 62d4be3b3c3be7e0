"""A worker is killed while it tells the host what happened: everything is heard all the same, and in order."""

from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker, Settings

from payments import clocks, lifecycle
from payments.gateways import registry
from payments.models import Announcement, AnnouncementDelivery, PaymentAttempt
from tests import factories, receiver
from tests.contract.sandbox_server import API_KEY, SandboxProcess, wait_until
from tests.crash.verdict import assert_clean
from tests.crash.world import REST_SECONDS, TABLES, World
from tests.receiver import NEW_SECRET, Receiver

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True, available_apps=TABLES)]

COUNT = 5


@pytest.fixture(scope="module")
def listening_host() -> Iterator[Receiver]:
    with receiver.listening() as listening:
        yield listening


@pytest.fixture(scope="module")
def telling_world(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    sandbox_process: SandboxProcess,
    tmp_path_factory: pytest.TempPathFactory,
    listening_host: Receiver,
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("telling")
    world = World(folder, sandbox=sandbox_process, env=listening_host.env)
    with django_db_blocker.unblock(), world.running():
        yield world


@pytest.fixture
def world(telling_world: World, transactional_db: None, settings: Settings) -> Iterator[World]:
    """The system with an empty ledger; what this process does is announced to the same host."""
    telling_world.begin()
    settings.PAYMENT_GATEWAYS = {"sandbox": {"url": telling_world.sandbox.url, "api_key": API_KEY}}
    registry.close_gateways()
    yield telling_world
    registry.close_gateways()


@pytest.fixture
def host(listening_host: Receiver, settings: Settings) -> Receiver:
    """The host, which has heard nothing yet."""
    settings.PAYMENT_ANNOUNCEMENT_WEBHOOKS = {"shop": {"url": listening_host.url, "secrets": [NEW_SECRET]}}
    listening_host.requests.clear()
    return listening_host


def pay_at_the_third_try(attempt: PaymentAttempt) -> None:
    """Two declines and a success: three announcements of one order."""
    for token, end in (("tok_declined", "failed"), ("tok_declined", "failed"), ("tok_visa", "succeeded")):
        if PaymentAttempt.objects.get(id=attempt.id).state == "failed":
            order_id = attempt.order.order_id
            attempt = lifecycle.retry_order(order_id=order_id, customer_id=attempt.customer_id).attempt
        factories.submit(attempt, token=token)
        assert lifecycle.charge_attempt(attempt_id=attempt.id) == end


@pytest.mark.parametrize("point", ["announce.taken", "announce.answered", "announce.recorded"])
def test_a_worker_killed_while_it_tells_leaves_nothing_untold(world: World, host: Receiver, point: str) -> None:
    with world.frozen():
        for _ in range(COUNT):
            pay_at_the_third_try(factories.place_order(customer=factories.make_user(), item=factories.make_item()))
        announced = {row.public_id: (row.order_id, row.number) for row in Announcement.objects.all()}
        assert len(announced) == 3 * COUNT
        assert host.requests == []
        world.failpoint.arm(point, "kill", threads=1)
    world.failpoint.wait(point)
    world.supervisor.wait_for_kill()
    waiting = AnnouncementDelivery.objects.filter(due_at__isnull=False)
    waiting.update(due_at=clocks.database_now())  # The leases of the dead worker lapse.
    wait_until(lambda: not waiting.exists(), what="everything is told", deadline_seconds=REST_SECONDS)

    assert AnnouncementDelivery.objects.filter(delivered_at__isnull=False).count() == 3 * COUNT
    assert set(host.ids) == set(announced)
    assert [request.payload["id"] for request in host.requests] == host.ids
    first_heard = list(dict.fromkeys(host.ids))
    for order_id in {order_id for order_id, _ in announced.values()}:
        numbers = [announced[one][1] for one in first_heard if announced[one][0] == order_id]
        assert numbers == [1, 2, 3]
    bodies = {(request.headers["webhook-id"], request.body) for request in host.requests}
    assert len(bodies) == len(announced)  # What is told again is told in the same words.
    if point == "announce.answered":
        assert len(host.ids) > len(announced)  # Heard, and nobody had written that down.
    assert_clean(world.facts())
