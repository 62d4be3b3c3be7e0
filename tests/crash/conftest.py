"""One running system for a module of faults: starting one costs more than most of the tests."""

from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker, Settings

from payments.gateways import registry
from tests.contract.sandbox_server import API_KEY, SandboxProcess
from tests.crash.home import Home
from tests.crash.world import World


@pytest.fixture(scope="module")
def running_world(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    sandbox_process: SandboxProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with django_db_blocker.unblock(), World(folder, sandbox=sandbox_process).running() as world:
        yield world


@pytest.fixture
def world(running_world: World, transactional_db: None, settings: Settings) -> Iterator[World]:
    """The system with an empty ledger; this process's own calls go to the same gateway."""
    running_world.begin()
    settings.PAYMENT_GATEWAYS = {"sandbox": {"url": running_world.sandbox.url, "api_key": API_KEY}}
    settings.PAYMENT_RESOLVE_AFTER_SECONDS = 0
    registry.close_gateways()
    yield running_world
    registry.close_gateways()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """PostgreSQL and Valkey that a test may kill."""
    home = Home(tmp_path_factory.mktemp("servers") / "home")
    with home.running():
        yield home
