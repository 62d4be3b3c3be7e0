"""Deliveries that break off, and several deliverers at once."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from payments import destinations
from payments.destinations import Delivered, Gone, NotDelivered
from payments.lifecycle import deliver
from payments.lifecycle.deliver import Result
from payments.models import AnnouncementDelivery, PaymentAttempt, StockItem
from payments.transactions import transaction
from tests import factories
from tests.contract.sandbox_server import wait_until
from tests.integration.telling.helpers import SHOP, deliver_due, make_due, take, tell, the_delivery
from tests.receiver import NEW_SECRET, Receiver
from tests.system import test_database_url

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_crash_after_the_call_leads_to_another_delivery(attempt: PaymentAttempt, shop: Receiver) -> None:
    (announcement_id,) = tell(attempt)
    taken = take()
    assert taken is not None
    destinations.deliver(destination=SHOP, payload=taken.payload, now=taken.taken_at, deadline_seconds=5)
    # Nobody records it. As long as the lease lasts it is this worker's, which may be slow and not dead.
    assert deliver_due().delivered == 0
    delivery = the_delivery()
    assert delivery.due_at is not None
    assert delivery.due_at - taken.taken_at == timedelta(seconds=30)
    make_due()
    assert deliver_due().delivered == 1
    assert shop.ids == [announcement_id] * 2


def test_a_worker_that_is_killed_during_the_call_leads_to_another_delivery(
    attempt: PaymentAttempt, shop: Receiver
) -> None:
    """A process of its own, killed with the receiver's answer on its way."""
    ids = tell(attempt, times=2)
    shop.answers.append(shop.hang)
    script = (
        "import django; django.setup()\n"
        "from django.conf import settings\n"
        f"settings.PAYMENT_ANNOUNCEMENT_WEBHOOKS = {{'shop': {{'url': {shop.url!r}, 'secrets': [{NEW_SECRET!r}]}}}}\n"
        "from payments import lifecycle\n"
        "lifecycle.deliver_due(limit=1000)\n"
    )
    environment = {**os.environ, "DATABASE_URL": test_database_url(), "DJANGO_SETTINGS_MODULE": "project.settings.test"}
    with subprocess.Popen([sys.executable, "-c", script], env=environment) as process:
        wait_until(lambda: len(shop.requests) == 1, what="the worker calls", deadline_seconds=30)
        process.send_signal(signal.SIGKILL)
    assert AnnouncementDelivery.objects.filter(tries=1, delivered_at__isnull=True).count() == 1
    assert deliver_due().delivered == 0
    make_due()
    assert deliver_due().delivered == 2
    assert shop.ids == [ids[0], *ids]


def test_a_try_that_never_ends_is_spaced_like_one_that_fails(attempt: PaymentAttempt, shop: Receiver) -> None:
    tell(attempt)
    leases = []
    for _ in range(6):
        taken = take()
        assert taken is not None
        due_at = the_delivery().due_at
        assert due_at is not None
        leases.append((due_at - taken.taken_at).total_seconds())
        make_due()
    assert leases == [30, 30, 30, 40, 80, 160]


def test_a_worker_whose_lease_has_lapsed_changes_nothing(
    attempt: PaymentAttempt, shop: Receiver, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    first, _ = tell(attempt, times=2)
    late = take()
    assert late is not None
    make_due()
    current = take()
    assert current is not None
    assert (current.announcement_id, late.announcement_id) == (first, first)
    for ending in (Delivered(), NotDelivered(detail="x"), Gone(detail="x")):
        assert deliver._record(late, ending=ending) is Result.LEASE_LOST
    rows = AnnouncementDelivery.objects.order_by("id")
    assert [(row.fence, row.delivered_at, row.given_up_at, row.last_error) for row in rows] == [
        (2, None, None, ""),
        (0, None, None, ""),
    ]
    assert take() is None  # The second still waits for the first.
    assert deliver._record(current, ending=Delivered()) is Result.DELIVERED
    assert deliver._record(late, ending=NotDelivered(detail="x")) is Result.LEASE_LOST
    lines = [event["event"] for event in captured_logs]
    assert lines.count("announcement_recorded_after_its_lease") == 4


def test_deliverers_at_once_send_each_announcement_once_and_in_order(
    customer: User, item: StockItem, shop: Receiver
) -> None:
    told = [tell(factories.place_order(customer=customer, item=item), times=3) for _ in range(10)]
    barrier = threading.Barrier(4)

    def run() -> int:
        barrier.wait()
        try:
            delivered = 0
            while AnnouncementDelivery.objects.filter(delivered_at__isnull=True).exists():
                delivered += deliver_due().delivered
            return delivered
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=4) as pool:
        counts = [future.result() for future in [pool.submit(run) for _ in range(4)]]
    assert sum(counts) == 30
    assert sorted(shop.ids) == sorted(one for ids in told for one in ids)
    for ids in told:
        assert [one for one in shop.ids if one in ids] == ids


def test_the_next_one_goes_as_soon_as_the_one_before_has_arrived(attempt: PaymentAttempt, shop: Receiver) -> None:
    """Another deliverer looked meanwhile and put the second off behind the first one's lease."""
    first, second = tell(attempt, times=2)
    taken = take()
    assert taken is not None
    assert deliver_due().delivered == 0
    waiting = AnnouncementDelivery.objects.get(announcement__number=2)
    assert waiting.due_at is not None
    assert waiting.due_at >= taken.taken_at + timedelta(seconds=30)
    assert deliver._record(taken, ending=Delivered()) is Result.DELIVERED
    assert deliver_due().delivered == 1
    assert shop.ids == [second]
    assert first == taken.announcement_id


def test_a_look_that_is_under_way_cannot_put_the_next_one_off_for_good(attempt: PaymentAttempt, shop: Receiver) -> None:
    """The look has seen the first as waiting and has not committed; then the first arrives."""
    tell(attempt, times=2)
    taken = take()
    assert taken is not None
    has_looked, may_commit = threading.Event(), threading.Event()

    def look() -> None:
        try:
            with transaction():
                deliver._look(destination=SHOP)
                has_looked.set()
                may_commit.wait(20)
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=2) as pool:
        looking = pool.submit(look)
        assert has_looked.wait(20)

        def record() -> Result:
            try:
                return deliver._record(taken, ending=Delivered())
            finally:
                connection.close()

        recording = pool.submit(record)
        wait_until(_somebody_waits_for_a_lock, what="the record waits for the look")
        may_commit.set()
        looking.result()
        assert recording.result() is Result.DELIVERED
    assert deliver_due().delivered == 1


def _somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])
