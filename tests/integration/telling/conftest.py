"""A receiver of webhooks, a function of the host, and an order to tell of."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import destinations
from payments.models import PaymentAttempt, StockItem
from tests import factories, hooks, receiver
from tests.receiver import NEW_SECRET, OLD_SECRET, Receiver


@pytest.fixture
def shop(settings: Settings) -> Iterator[Receiver]:
    """A receiver of webhooks called shop; its deliveries take a second at most."""
    settings.PAYMENT_ANNOUNCEMENT_TOTAL_SECONDS = 1
    with receiver.listening() as listening:
        settings.PAYMENT_ANNOUNCEMENT_WEBHOOKS = {
            "shop": {"url": listening.url, "secrets": [NEW_SECRET, OLD_SECRET]},
        }
        destinations.close_destinations()
        yield listening
        destinations.close_destinations()


@pytest.fixture
def hook(settings: Settings) -> Iterator[None]:
    """A function of the host."""
    settings.PAYMENT_ANNOUNCEMENT_HOOK = hooks.PATH
    yield
    hooks.heard.clear()
    hooks.acts.clear()


@pytest.fixture
def attempt(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.place_order(customer=customer, item=item)
