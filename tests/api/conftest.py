"""The web server as a process, without the rest, and what spoils its answers."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from django.contrib.auth.models import User
from pytest_django import DjangoDbBlocker

from payments.client import PaywindowClient
from tests.contract.sandbox_server import SandboxProcess, wait_until
from tests.proxy import SpoilingProxy
from tests.system import System


@pytest.fixture(scope="module")
def web_process(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    sandbox_process: SandboxProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
    """Only the web server of a system is started: nobody takes the jobs."""
    with django_db_blocker.unblock():
        system = System(tmp_path_factory.mktemp("web"), sandbox=sandbox_process)
    system.web.start()
    try:
        wait_until(lambda: is_alive(system), what="the web server", deadline_seconds=30)
        yield system
    finally:
        system.stop()


def is_alive(system: System) -> bool:
    assert system.web.is_running, system.web.log
    try:
        return httpx.get(f"{system.web_url}/healthz", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def web(web_process: System, transactional_db: None) -> System:
    return web_process


@pytest.fixture
def proxy(web: System) -> Iterator[SpoilingProxy]:
    with SpoilingProxy(upstream_port=web.web_port).running() as running:
        yield running


@pytest.fixture
def connect(customer: User, token_for: Callable[[User], str]) -> Iterator[Callable[..., PaywindowClient]]:
    """Make clients of the customer; they are closed with the test."""
    opened: list[PaywindowClient] = []

    def open_one(url: str, *, timeout_seconds: float = 10, deadline_seconds: float = 20) -> PaywindowClient:
        client = PaywindowClient(
            url, token=token_for(customer), timeout_seconds=timeout_seconds, deadline_seconds=deadline_seconds
        )
        opened.append(client)
        return client

    yield open_one
    for client in opened:
        client.close()
