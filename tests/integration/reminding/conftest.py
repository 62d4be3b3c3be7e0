"""A mail server, and a customer who has an address and has not paid."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments.models import PaymentAttempt, StockItem
from tests import factories, mailbox
from tests.mailbox import Mailbox


@pytest.fixture
def mail_server(settings: Settings) -> Iterator[Mailbox]:
    """A mail server that Django's own backend sends to; by e-mail only, and a few seconds for each message."""
    with mailbox.listening() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.EMAIL_TIMEOUT = 2
        settings.PAYMENT_REMINDER_TOTAL_SECONDS = 6
        settings.PAYMENT_SMS_SENDER = ""
        yield server


@pytest.fixture
def reachable(customer: User) -> User:
    """The customer, with an address."""
    customer.email = "ada@example.com"
    customer.save()
    return customer


@pytest.fixture
def attempt(mail_server: Mailbox, reachable: User, item: StockItem) -> PaymentAttempt:
    """An attempt whose reminder is due."""
    attempt = factories.place_order(customer=reachable, item=item, order_id="ORD-1")
    factories.age_attempt(attempt.id, seconds_left=200)
    return attempt
