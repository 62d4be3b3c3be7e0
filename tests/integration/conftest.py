"""Faults of the surroundings."""

from collections.abc import Callable, Iterator

import kombu.pools
import pytest

from payments import dispatch
from project.celery import app
from tests.faults import SilentServer

NOBODY_LISTENS = "redis://127.0.0.1:9/0"


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


def _use_broker(url: str) -> None:
    dispatch.close(timeout_seconds=10)
    app.conf.update(broker_url=url, broker_write_url=url, broker_read_url=url)
    kombu.pools.reset()
    # The application keeps its pools for good otherwise.
    vars(app)["_pool"] = None
    vars(app.amqp)["_producer_pool"] = None
