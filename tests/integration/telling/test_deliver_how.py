"""How a destination is spoken to: the host's function, and what a signature proves."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from django.contrib.auth.models import User
from django.db import connection

from payments import clocks, destinations, lifecycle
from payments.destinations import NotDelivered
from payments.domain.announcements import AnnouncementKind, Notice
from payments.domain.signatures import sign
from payments.models import Announcement, PaymentAttempt
from payments.transactions import transaction
from tests import factories, hooks, receiver
from tests.integration.telling.helpers import SHOP, deliver_due, make_due, tell, the_delivery
from tests.receiver import NEW_SECRET, OLD_SECRET, Receiver

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_hook_gets_the_announcement_outside_every_transaction_and_connection(
    attempt: PaymentAttempt, hook: None
) -> None:
    seen: list[tuple[bool, bool]] = []
    hooks.acts.append(lambda _: seen.append((connection.in_atomic_block, connection.connection is None)))
    factories.age_attempt(attempt.id, seconds_left=-1)
    lifecycle.sweep_expired()
    assert deliver_due().delivered == 1
    assert seen == [(False, True)]
    (notice,) = hooks.heard
    row = Announcement.objects.get()
    assert isinstance(notice, Notice)
    assert notice.payload() == row.payload
    assert (notice.kind, notice.payment_id, notice.created_at) == (
        AnnouncementKind.PAYMENT_EXPIRED,
        attempt.public_id,
        row.created_at,
    )


def test_a_hook_that_raises_is_called_again_and_may_use_the_database(attempt: PaymentAttempt, hook: None) -> None:
    def raise_something(_notice: Notice) -> None:
        User.objects.create(username="from the hook")
        connection.set_autocommit(False)
        raise LookupError("no such\x00order" + "x" * 1000)

    hooks.acts.append(raise_something)
    (announcement_id,) = tell(attempt)
    assert deliver_due().tried_again_later == 1
    delivery = the_delivery()
    assert delivery.last_error.startswith("LookupError: no suchorderxxx")
    assert len(delivery.last_error) == 500
    assert User.objects.filter(username="from the hook").exists()
    make_due()
    assert deliver_due().delivered == 1
    assert [notice.id for notice in hooks.heard] == [announcement_id] * 2


def test_no_webhook_is_posted_inside_a_transaction(attempt: PaymentAttempt, shop: Receiver) -> None:
    tell(attempt)
    payload = Announcement.objects.get().payload
    with transaction(), pytest.raises(RuntimeError, match="network call"):
        destinations.deliver(destination=SHOP, payload=payload, now=clocks.database_now(), deadline_seconds=5)
    assert shop.requests == []


def test_time_that_passed_since_the_taking_is_time_that_the_call_no_longer_has(
    attempt: PaymentAttempt, shop: Receiver
) -> None:
    tell(attempt)
    payload = Announcement.objects.get().payload
    ending = destinations.deliver(destination=SHOP, payload=payload, now=clocks.database_now(), deadline_seconds=-1)
    assert isinstance(ending, NotDelivered)
    assert shop.requests == []


# Signatures


@pytest.fixture
def documented(checkout_folder: Path, tmp_path: Path) -> ModuleType:
    return receiver.documented(checkout_folder=checkout_folder, folder=tmp_path)


def test_a_delivery_verifies_as_documented_with_either_secret_and_nothing_else_does(
    attempt: PaymentAttempt, shop: Receiver, documented: ModuleType
) -> None:
    tell(attempt)
    deliver_due()
    (request,) = shop.requests
    for secret in (NEW_SECRET, OLD_SECRET):
        assert documented.verify(request.body, request.headers, secret) == Announcement.objects.get().payload
    stranger = "whsec_" + base64.b64encode(b"s" * 32).decode()
    forged = [
        (request.body.replace(b"1250", b"1251"), request.headers, NEW_SECRET),
        (request.body, request.headers, stranger),
        (request.body, request.headers | {"webhook-id": "ann_other"}, NEW_SECRET),
        (request.body, request.headers | {"webhook-timestamp": "1"}, NEW_SECRET),
        (request.body, {}, NEW_SECRET),
    ]
    assert forged[0][0] != request.body
    for body, headers, secret in forged:
        with pytest.raises(ValueError, match="signature"):
            documented.verify(body, headers, secret)


def test_a_replay_of_an_old_delivery_is_refused_as_documented(
    attempt: PaymentAttempt, shop: Receiver, documented: ModuleType
) -> None:
    tell(attempt)
    payload = Announcement.objects.get().payload
    six_minutes_ago = clocks.database_now() - timedelta(minutes=6)
    destinations.deliver(destination=SHOP, payload=payload, now=six_minutes_ago, deadline_seconds=5)
    (request,) = shop.requests
    with pytest.raises(ValueError, match="too old"):
        documented.verify(request.body, request.headers, NEW_SECRET)


def test_the_timestamp_is_the_database_time_of_the_try(attempt: PaymentAttempt, shop: Receiver) -> None:
    tell(attempt)
    payload = Announcement.objects.get().payload
    then = datetime(2031, 5, 6, 7, 8, 9, 999999, tzinfo=UTC)
    destinations.deliver(destination=SHOP, payload=payload, now=then, deadline_seconds=5)
    before = int(clocks.database_now().timestamp())
    deliver_due()
    after = int(clocks.database_now().timestamp())
    stamps = [int(request.headers["webhook-timestamp"]) for request in shop.requests]
    assert stamps[0] == int(then.timestamp())
    assert before <= stamps[1] <= after


def test_the_signature_is_that_of_the_specification() -> None:
    """The example that the libraries of Standard Webhooks are tested with."""
    assert (
        sign(
            message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
            unix_seconds=1614265330,
            body=b'{"test": 2432232314}',
            secrets=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        )
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )
