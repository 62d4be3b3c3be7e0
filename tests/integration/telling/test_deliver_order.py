"""In which order announcements arrive, and who waits for whom."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import clocks, lifecycle
from payments.lifecycle import deliver
from payments.lifecycle.deliver import DeliveryRun
from payments.models import AnnouncementDelivery, PaymentAttempt, StockItem
from tests import factories, hooks
from tests.integration.telling.helpers import deliver_due, make_due, tell
from tests.receiver import Receiver, status

pytestmark = pytest.mark.django_db(transaction=True)


def test_announcements_of_an_order_arrive_in_order_and_other_orders_do_not_wait(
    attempt: PaymentAttempt, customer: User, item: StockItem, shop: Receiver
) -> None:
    other = factories.place_order(customer=customer, item=item)
    first, second, third = tell(attempt, times=3)
    (elsewhere,) = tell(other)
    shop.answers.append(status(500))
    assert deliver_due() == DeliveryRun(delivered=1, tried_again_later=1, given_up=0, is_finished=True)
    assert shop.ids == [first, elsewhere]
    assert deliver_due() == DeliveryRun(delivered=0, tried_again_later=0, given_up=0, is_finished=True)
    AnnouncementDelivery.objects.filter(tries=1, due_at__isnull=False).update(due_at=clocks.database_now())
    assert deliver_due().delivered == 3
    assert shop.ids == [first, elsewhere, first, second, third]


def test_a_later_announcement_waits_even_when_it_is_due_first(attempt: PaymentAttempt, shop: Receiver) -> None:
    first, second = tell(attempt, times=2)
    AnnouncementDelivery.objects.filter(announcement__number=1).update(
        due_at=clocks.database_now() + timedelta(hours=1)
    )
    assert deliver_due().delivered == 0
    assert shop.requests == []
    make_due()
    assert deliver_due().delivered == 2
    assert shop.ids == [first, second]


def test_many_that_wait_behind_one_do_not_hide_another_order(
    attempt: PaymentAttempt, customer: User, item: StockItem, shop: Receiver
) -> None:
    other = factories.place_order(customer=customer, item=item)
    many = deliver.LOOK_AHEAD_ROWS * 2 + 5
    tell(attempt, times=1 + many)
    AnnouncementDelivery.objects.filter(announcement__number=1).update(
        due_at=clocks.database_now() + timedelta(hours=1)
    )
    (elsewhere,) = tell(other)
    assert deliver_due() == DeliveryRun(delivered=1, tried_again_later=0, given_up=0, is_finished=True)
    assert shop.ids == [elsewhere]
    assert AnnouncementDelivery.objects.filter(due_at__lte=clocks.database_now()).count() == 0  # Not looked at again.


def test_destinations_do_not_wait_for_each_other(attempt: PaymentAttempt, shop: Receiver, hook: None) -> None:
    shop.answer = status(500)
    ids = tell(attempt, times=2)
    assert deliver_due() == DeliveryRun(delivered=2, tried_again_later=1, given_up=0, is_finished=True)
    assert [notice.id for notice in hooks.heard] == ids
    assert shop.ids == ids[:1]


def test_a_run_leaves_a_destination_that_fails_alone_and_serves_the_others(
    customer: User, item: StockItem, shop: Receiver, hook: None
) -> None:
    shop.answer = status(500)
    for _ in range(6):
        tell(factories.place_order(customer=customer, item=item))
    assert deliver_due() == DeliveryRun(delivered=6, tried_again_later=3, given_up=0, is_finished=False)
    assert len(shop.requests) == deliver.FAILURES_IN_A_ROW == 3
    shop.answer = status(200)
    assert deliver_due() == DeliveryRun(delivered=3, tried_again_later=0, given_up=0, is_finished=True)


def test_the_destination_that_failed_before_comes_last(
    attempt: PaymentAttempt, customer: User, item: StockItem, shop: Receiver, hook: None
) -> None:
    shop.answers.append(status(500))
    tell(attempt)
    deliver_due()
    tell(factories.place_order(customer=customer, item=item))
    make_due()
    requests_before_the_hook: list[int] = []
    hooks.acts.append(lambda _: requests_before_the_hook.append(len(shop.requests)))
    deliver_due()
    assert requests_before_the_hook == [1]
    assert len(shop.requests) == 3


def test_a_run_ends_at_its_limit_and_at_its_time_for_each_destination(
    customer: User, item: StockItem, shop: Receiver, hook: None, settings: Settings
) -> None:
    for _ in range(3):
        tell(factories.place_order(customer=customer, item=item))
    assert lifecycle.deliver_due(limit=2) == DeliveryRun(4, 0, 0, is_finished=False)
    assert (len(shop.requests), len(hooks.heard)) == (2, 2)
    settings.PAYMENT_ANNOUNCEMENT_RUN_SECONDS = 0
    assert deliver_due() == DeliveryRun(0, 0, 0, is_finished=False)
