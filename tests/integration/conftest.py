"""Faults of the surroundings."""

from collections.abc import Callable, Iterator

import kombu.pools
import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import dispatch
from project.celery import app
from tests import hooks, overdue
from tests.faults import SilentServer
from tests.integration.api_client import Api
from tests.receiver import NEW_SECRET

NOBODY_LISTENS = "redis://127.0.0.1:9/0"


@pytest.fixture
def api(customer: User, token_for: Callable[[User], str]) -> Api:
    """The customer's own client."""
    return Api(token_for(customer))


@pytest.fixture
def desk(staff: User, token_for: Callable[[User], str]) -> Api:
    """A member of staff at the API."""
    return Api(token_for(staff))


@pytest.fixture
def use_broker() -> Iterator[Callable[[str | None], None]]:
    """Point this process's Celery at another broker, and with None back at its own."""
    own = str(app.conf.broker_url)
    yield lambda url: _use_broker(own if url is None else url)
    _use_broker(own)


@pytest.fixture
def broker_is_away(use_broker: Callable[[str | None], None]) -> None:
    """Point this process's Celery at a port where nobody listens."""
    use_broker(NOBODY_LISTENS)


@pytest.fixture
def silent_server() -> Iterator[SilentServer]:
    server = SilentServer()
    yield server
    server.release()


@pytest.fixture
def poisoned(transactional_db: None) -> Iterator[str]:
    """A number of an order: the database raises when that order is closed."""
    overdue.poison()
    yield overdue.POISONED
    overdue.heal()


def _use_broker(url: str) -> None:
    dispatch.close(timeout_seconds=10)
    app.conf.update(broker_url=url, broker_write_url=url, broker_read_url=url)
    kombu.pools.reset()
    # The application keeps its pools for good otherwise.
    vars(app)["_pool"] = None
    vars(app.amqp)["_producer_pool"] = None


@pytest.fixture
def destinations(settings: Settings) -> list[str]:
    """Two destinations that nobody delivers to here."""
    settings.PAYMENT_ANNOUNCEMENT_HOOK = hooks.PATH
    settings.PAYMENT_ANNOUNCEMENT_WEBHOOKS = {"shop": {"url": "http://127.0.0.1:9/", "secrets": [NEW_SECRET]}}
    return ["hook", "webhook:shop"]
