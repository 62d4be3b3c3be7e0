"""Fixtures of every kind of test: real servers, real processes, nothing of ours replaced."""

from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from pytest_django import DjangoDbBlocker, Settings

from beat_schedules.write import write_schedule
from payments import clockevents, invariants, quickstore
from payments.gateways import registry
from payments.models import StockItem
from tests import emptying, factories
from tests.contract.sandbox_server import API_KEY, SandboxProcess
from tests.system import System


@pytest.hookimpl(trylast=True)  # Behind pytest-randomly, which shuffles.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that two processes end at about the same time."""
    slow = ("crash", "acceptance", "browser")
    items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in slow))


@pytest.fixture(scope="session", autouse=True)
def tests_are_quick() -> None:
    """Spend no time on what is not tried: the server processes are as they are shipped."""
    emptying.install()
    # Each test client would look for every static file there is.
    django_settings.WHITENOISE_AUTOREFRESH = True


@pytest.fixture(autouse=True)
def invariants_hold(request: pytest.FixtureRequest) -> Iterator[None]:
    """What must hold in every committed state holds after every test that commits; see payments/invariants.py."""
    commits = request.node.get_closest_marker("django_db")
    if commits is None or not commits.kwargs.get("transaction") or request.node.get_closest_marker("breaks_invariants"):
        yield
        return
    request.getfixturevalue("transactional_db")  # First, so that its rows are still there when this one ends.
    yield
    assert clockevents.flush()  # Before the tables are emptied: a thread writes them.
    assert list(invariants.broken()) == []


@pytest.fixture
def customer(db: None) -> User:
    return factories.make_user("customer")


@pytest.fixture
def other(db: None) -> User:
    return factories.make_user("other")


@pytest.fixture
def staff(db: None) -> User:
    return factories.make_user("staff", is_staff=True)


@pytest.fixture
def item(db: None) -> StockItem:
    return factories.make_item("MUG-BLUE")


@pytest.fixture
def without_redis(settings: Settings) -> Iterator[None]:
    """Leave this process without the Redis that the in-flight gate asks: nobody listens where it should be."""
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    quickstore.close()
    yield
    quickstore.close()


@pytest.fixture(scope="session")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    process = SandboxProcess(ledger=tmp_path_factory.mktemp("sandbox") / "ledger.sqlite")
    with process:
        yield process


@pytest.fixture
def sandbox(sandbox_process: SandboxProcess, settings: Settings) -> Iterator[SandboxProcess]:
    """The sandbox gateway with an empty ledger; this process's own calls go to it."""
    sandbox_process.reset()
    settings.PAYMENT_GATEWAYS = {"sandbox": {"url": sandbox_process.url, "api_key": API_KEY}}
    registry.close_gateways()
    yield sandbox_process
    registry.close_gateways()


@pytest.fixture(scope="module")  # Not longer: its worker would take the jobs of tests that claim by themselves.
def running_system(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    sandbox_process: SandboxProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
    with django_db_blocker.unblock():
        system = System(tmp_path_factory.mktemp("system"), sandbox=sandbox_process)
        try:
            system.start()
            yield system
        finally:
            system.stop()


@pytest.fixture
def system(running_system: System, transactional_db: None, sandbox: SandboxProcess) -> Iterator[System]:
    """Web, worker and beat as processes, on the test database and the sandbox gateway."""
    write_schedule()  # The previous test's end emptied the tables, the schedule's too.
    running_system.ensure_running()
    yield running_system
    running_system.close_clients()


@pytest.fixture
def captured_logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """Every structlog event of this process, as it would be written."""
    from structlog.testing import capture_logs

    with capture_logs() as events:
        yield events


@pytest.fixture
def token_for() -> Callable[[User], str]:
    from datetime import timedelta

    from payments.api.tokens import issue_token

    return lambda user: issue_token(user=user, lifetime=timedelta(minutes=5))


@pytest.fixture(scope="session")
def checkout_folder() -> Path:
    return Path(__file__).resolve().parents[1]
