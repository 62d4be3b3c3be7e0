"""Faults of the surroundings."""

from collections.abc import Iterator

import kombu.pools
import pytest

from project.celery import app


@pytest.fixture
def broker_is_away() -> Iterator[None]:
    """Point this process's Celery at a port where nobody listens."""
    before = app.conf.broker_url
    _use_broker("redis://127.0.0.1:9/0")
    yield
    _use_broker(before)


def _use_broker(url: str) -> None:
    app.conf.update(broker_url=url, broker_write_url=url, broker_read_url=url)
    kombu.pools.reset()
    # The application keeps its pools for good otherwise.
    vars(app)["_pool"] = None
    vars(app.amqp)["_producer_pool"] = None
