"""The operator's view of the running system: Flower, and the worker as a pytest-celery node."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import User

from payments.models import GatewayCall, PaymentAttempt, StockItem
from project.celery import app
from tests import factories
from tests.acceptance.nodes import ProcessContainer, ProcessWorker
from tests.contract.sandbox_server import free_port, wait_until
from tests.system import ManagedProcess, System

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def flower(system: System, tmp_path: Path) -> Iterator[tuple[ManagedProcess, str]]:
    port = free_port()
    process = ManagedProcess(
        "flower",
        [
            *(sys.executable, "-m", "celery", "-A", "project", "flower", "--address=127.0.0.1", f"--port={port}"),
            *("--read_only=True", "--max_tasks=10000", "--purge_offline_workers=300"),
        ],
        env={**system.worker.env, "FLOWER_BASIC_AUTH": "ops:secret"},
        folder=tmp_path,
    )
    process.start()
    yield process, f"http://127.0.0.1:{port}"
    process.stop()


def test_flower_shows_the_worker_to_those_with_the_password(system: System, flower: tuple[ManagedProcess, str]) -> None:
    process, url = flower

    def answers() -> bool:
        assert process.is_running, process.log
        try:
            return httpx.get(url, timeout=5).status_code == 401
        except httpx.TransportError:
            return False

    wait_until(answers, what="Flower answers", deadline_seconds=30)
    name = f"worker-{os.getpid()}@"
    with httpx.Client(base_url=url, auth=("ops", "secret"), timeout=20, trust_env=False) as operator:
        for path, shown in (("/workers", name), ("/api/tasks", "payments.sweep_expired")):
            wait_until(
                lambda path=path, shown=shown: shown in operator.get(path).text,  # type: ignore[misc] # binds the loop's values
                what=f"{path} shows {shown}",
                deadline_seconds=30,
            )


@pytest.fixture
def worker_node(system: System, tmp_path: Path) -> Iterator[ProcessWorker]:
    """A second worker of the running system, as pytest-celery knows one."""
    process = ManagedProcess(
        "node",
        [*system.worker.argv[: system.worker.argv.index("--hostname")], "--hostname", "node@local"],
        env=system.worker.env,
        folder=tmp_path,
    )
    container = ProcessContainer(process, celeryconfig={"url": settings.CELERY_BROKER_URL}, ready_prompt=" ready.")
    container.start()
    node = ProcessWorker(container, app=app)
    try:
        assert node.ready()
        yield node
    finally:
        node.teardown()


def test_a_worker_killed_during_the_call_leaves_the_doubt_on_record_and_the_rest_to_the_next(
    system: System, worker_node: ProcessWorker, customer: User, other: User, item: StockItem
) -> None:
    system.worker.stop()  # The node is alone.
    system.sandbox.behave("hang_after", times=1)
    doubtful = factories.submit(factories.place_order(customer=customer, item=item))
    system.sandbox.wait_until_held(1)
    waiting = factories.place_order(customer=other, item=item)
    worker_node.kill()
    assert worker_node.container.status == "exited"
    factories.submit(waiting)
    worker_node.restart()
    worker_node.assert_log_exists(waiting.public_id)
    wait_until(lambda: state_of(waiting) == "succeeded", what="the next payment", deadline_seconds=30)
    # The money moved and nobody recorded it: the row still says that the gateway may know, and nobody charges again.
    assert state_of(doubtful) == "charging"
    assert GatewayCall.objects.get(attempt=doubtful).finished_at is None
    assert system.sandbox.operations(reference=doubtful.public_id) == [("authorize", 1250)]
    assert len(system.sandbox.ledger(reference=doubtful.public_id)["requests"]) == 1


def state_of(attempt: PaymentAttempt) -> str:
    attempt.refresh_from_db()
    return attempt.state
