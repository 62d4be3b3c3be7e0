"""Announcements on their way: to a real HTTP receiver, at least once, until they arrive."""

from collections.abc import Callable, MutableMapping
from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from payments import clocks, config, lifecycle
from payments.domain.hashing import canonical_bytes
from payments.lifecycle.deliver import DeliveryRun
from payments.models import Announcement, AnnouncementDelivery, PaymentAttempt
from tests import factories, receiver
from tests.contract.sandbox_server import free_port
from tests.integration.telling.helpers import SHOP, deliver_due, make_due, tell, the_delivery
from tests.receiver import Answer, Receiver, status
from workers.announcing import announce

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_announcement_is_delivered_once(attempt: PaymentAttempt, shop: Receiver) -> None:
    factories.age_attempt(attempt.id, seconds_left=-1)
    lifecycle.sweep_expired()
    assert deliver_due() == DeliveryRun(delivered=1, tried_again_later=0, given_up=0, is_finished=True)
    assert deliver_due() == DeliveryRun(delivered=0, tried_again_later=0, given_up=0, is_finished=True)
    (request,) = shop.requests
    row = Announcement.objects.get()
    assert (request.path, request.body) == ("/hooks/", canonical_bytes(row.payload))
    assert request.payload["kind"] == "payment_expired"
    assert (request.headers["webhook-id"], request.headers["content-type"]) == (row.public_id, "application/json")
    delivery = the_delivery()
    assert (delivery.due_at, delivery.tries, delivery.last_error) == (None, 1, "")
    assert delivery.delivered_at is not None


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
def test_any_success_is_a_delivery(attempt: PaymentAttempt, shop: Receiver, code: int) -> None:
    shop.answer = status(code)
    tell(attempt)
    assert deliver_due().delivered == 1


@pytest.mark.parametrize(
    ("answer_of", "error"),
    [
        (lambda _: status(500), "HTTP 500"),
        (lambda _: status(503), "HTTP 503"),
        (lambda _: status(429), "HTTP 429"),
        (lambda _: status(404), "HTTP 404"),
        (lambda _: status(304), "HTTP 304"),
        (lambda shop: shop.redirect, "HTTP 307"),
        (lambda _: receiver.hang_up, "RemoteProtocolError"),
        (lambda shop: shop.hang, "ReadTimeout"),
        (lambda shop: shop.drip, "ReadTimeout"),
    ],
)
def test_a_delivery_that_fails_is_made_again_under_the_same_id(
    attempt: PaymentAttempt, shop: Receiver, answer_of: Callable[[Receiver], Answer], error: str
) -> None:
    shop.answers.append(answer_of(shop))
    (announcement_id,) = tell(attempt)
    before = clocks.database_now()
    assert deliver_due() == DeliveryRun(delivered=0, tried_again_later=1, given_up=0, is_finished=True)
    delivery = the_delivery()
    assert delivery.last_error.startswith(error)
    assert delivery.due_at is not None
    assert before + timedelta(seconds=5) <= delivery.due_at <= clocks.database_now() + timedelta(seconds=5)
    assert (delivery.tries, deliver_due().delivered) == (1, 0)
    make_due()
    assert deliver_due().delivered == 1
    assert (shop.ids, the_delivery().tries) == ([announcement_id] * 2, 2)
    assert {request.path for request in shop.requests} == {"/hooks/"}  # Nothing followed the redirect.
    assert shop.requests[0].body == shop.requests[1].body


def test_what_a_clock_that_was_set_back_says_is_not_due_for_long_is_told_now(
    attempt: PaymentAttempt, shop: Receiver
) -> None:
    (announcement_id,) = tell(attempt)
    longest = config.announcements().longest_due
    ahead = clocks.database_now() + longest
    AnnouncementDelivery.objects.update(due_at=ahead)
    assert deliver_due().delivered == 0
    AnnouncementDelivery.objects.update(due_at=ahead + timedelta(hours=1))
    assert deliver_due().delivered == 1
    assert shop.ids == [announcement_id]


def test_a_receiver_that_is_not_there_gets_it_when_it_is_back(
    attempt: PaymentAttempt, shop: Receiver, settings: Settings
) -> None:
    url, port = shop.url, free_port()
    settings.PAYMENT_ANNOUNCEMENT_WEBHOOKS["shop"]["url"] = f"http://127.0.0.1:{port}/hooks/"
    tell(attempt)
    assert deliver_due().tried_again_later == 1
    assert the_delivery().last_error.startswith("ConnectError")
    settings.PAYMENT_ANNOUNCEMENT_WEBHOOKS["shop"]["url"] = url
    make_due()
    assert deliver_due().delivered == 1


@pytest.mark.parametrize(
    ("tries", "wait_seconds"), [(1, 5), (2, 10), (3, 20), (4, 40), (10, 2560), (11, 3600), (5000, 3600)]
)
def test_the_waits_double_up_to_the_longest(
    attempt: PaymentAttempt, shop: Receiver, tries: int, wait_seconds: int
) -> None:
    tell(attempt)
    now = clocks.database_now()
    AnnouncementDelivery.objects.update(tries=tries - 1, first_tried_at=None if tries == 1 else now)
    shop.answer = status(500)
    deliver_due()
    delivery = the_delivery()
    wait = timedelta(seconds=wait_seconds)
    assert delivery.tries == tries
    assert delivery.due_at is not None
    assert now + wait <= delivery.due_at <= clocks.database_now() + wait


def test_after_three_days_it_is_given_up_and_stays_in_sight(
    attempt: PaymentAttempt, shop: Receiver, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    shop.answer = status(500)
    tell(attempt)
    deliver_due()
    three_days_ago = clocks.database_now() - timedelta(days=3)
    AnnouncementDelivery.objects.update(first_tried_at=three_days_ago + timedelta(minutes=1))
    make_due()
    assert deliver_due().tried_again_later == 1
    AnnouncementDelivery.objects.update(first_tried_at=three_days_ago)
    make_due()
    assert deliver_due() == DeliveryRun(delivered=0, tried_again_later=0, given_up=1, is_finished=True)
    delivery = the_delivery()
    assert (delivery.due_at, delivery.delivered_at, delivery.last_error) == (None, None, "HTTP 500")
    assert delivery.given_up_at is not None
    (line,) = [event for event in captured_logs if event["event"] == "announcement_given_up"]
    assert (line["log_level"], line["destination"], line["payment_id"]) == ("error", SHOP, attempt.public_id)
    assert deliver_due().given_up == 0
    assert len(shop.requests) == 3


def test_who_says_gone_is_not_asked_again(
    attempt: PaymentAttempt, shop: Receiver, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    shop.answers.append(status(410))
    ids = tell(attempt, times=2)
    assert deliver_due() == DeliveryRun(delivered=1, tried_again_later=0, given_up=1, is_finished=True)
    assert shop.ids == ids
    given_up = AnnouncementDelivery.objects.get(given_up_at__isnull=False)
    assert (given_up.announcement.public_id, given_up.tries, given_up.last_error) == (ids[0], 1, "HTTP 410")
    assert "announcement_given_up" in [event["event"] for event in captured_logs]


def test_a_destination_that_left_the_settings_is_not_forgotten(
    attempt: PaymentAttempt, shop: Receiver, settings: Settings
) -> None:
    tell(attempt)
    configured, settings.PAYMENT_ANNOUNCEMENT_WEBHOOKS = settings.PAYMENT_ANNOUNCEMENT_WEBHOOKS, {}
    assert deliver_due().tried_again_later == 1
    assert the_delivery().last_error == "there is no destination 'webhook:shop' in the settings"
    settings.PAYMENT_ANNOUNCEMENT_WEBHOOKS = configured
    make_due()
    assert deliver_due().delivered == 1


def test_the_worker_task_delivers(attempt: PaymentAttempt, shop: Receiver) -> None:
    ids = tell(attempt)
    announce(of_a_newer_sender=True)
    assert shop.ids == ids
