"""Announcements as rows: what the database refuses of them, and what shows them."""

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, ProgrammingError, connection, transaction
from django.test import Client

from payments import clocks
from payments.domain.announcements import AnnouncementKind, notice_from
from payments.domain.ids import new_id
from payments.lifecycle.announce import stage
from payments.models import Announcement, AnnouncementDelivery, PaymentAttempt, StockItem
from payments.transactions import transaction as committed
from tests import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("destinations")]

K = AnnouncementKind


@pytest.fixture
def attempt(customer: User, item: StockItem) -> PaymentAttempt:
    return factories.place_order(customer=customer, item=item, quantity=2, order_id="ORD-7")


# What the database refuses


@pytest.fixture
def delivery(attempt: PaymentAttempt) -> AnnouncementDelivery:
    with committed():
        stage(kind=K.NEEDS_REVIEW, order=attempt.order, attempt=attempt, now=clocks.database_now())
    return AnnouncementDelivery.objects.get(destination="hook")


def test_changing_or_deleting_an_announcement(delivery: AnnouncementDelivery) -> None:
    rows = Announcement.objects.all()
    with pytest.raises(ProgrammingError, match="Cannot update or delete"):
        rows.update(kind="order_paid")
    with pytest.raises(ProgrammingError, match="Cannot update or delete"), connection.cursor() as cursor:
        cursor.execute("DELETE FROM payments_announcement")


def test_changing_what_a_delivery_is_about_or_deleting_it(delivery: AnnouncementDelivery) -> None:
    rows = AnnouncementDelivery.objects.filter(id=delivery.id)
    with pytest.raises(ProgrammingError, match="Cannot update"):
        rows.update(destination="webhook:other")
    with pytest.raises(ProgrammingError, match="Cannot delete"):
        rows.delete()


def test_taking_a_delivery_back(delivery: AnnouncementDelivery) -> None:
    now = clocks.database_now()
    rows = AnnouncementDelivery.objects.filter(id=delivery.id)
    rows.update(due_at=None, delivered_at=now, tries=1, first_tried_at=now)
    with pytest.raises(ProgrammingError, match="Cannot update"):
        rows.update(due_at=now, delivered_at=None)


def test_a_second_delivery_to_one_destination_and_a_second_announcement_of_one_number(
    delivery: AnnouncementDelivery,
) -> None:
    with pytest.raises(IntegrityError, match="delivery_once_per_destination"):
        AnnouncementDelivery.objects.create(
            announcement=delivery.announcement, destination="hook", due_at=clocks.database_now()
        )
    first = delivery.announcement
    with pytest.raises(IntegrityError, match="announcement_numbered_per_order"):
        Announcement.objects.create(
            id=new_id(), order=first.order, number=1, kind="needs_review", payload={}, created_at=first.created_at
        )


NOW = datetime.fromisoformat("2026-01-01T00:00:00Z")
TRIED: dict[str, Any] = {"tries": 1, "first_tried_at": NOW}


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        (TRIED | {"due_at": None}, "delivery_waits_or_is_delivered_or_given_up"),
        (TRIED | {"delivered_at": NOW}, "delivery_waits_or_is_delivered_or_given_up"),
        (TRIED | {"given_up_at": NOW, "last_error": "x"}, "delivery_waits_or_is_delivered_or_given_up"),
        (
            TRIED | {"due_at": None, "delivered_at": NOW, "given_up_at": NOW, "last_error": "x"},
            "delivery_waits_or_is_delivered_or_given_up",
        ),
        ({"due_at": None, "delivered_at": NOW}, "delivery_tried_since"),
        ({"tries": 1}, "delivery_tried_since"),
        ({"first_tried_at": NOW}, "delivery_tried_since"),
        (TRIED | {"due_at": None, "given_up_at": NOW}, "delivery_given_up_with_its_error"),
    ],
)
def test_a_delivery_that_is_none_of_waiting_delivered_and_given_up_or_several(
    delivery: AnnouncementDelivery, columns: dict[str, Any], constraint: str
) -> None:
    with pytest.raises(IntegrityError, match=constraint):
        AnnouncementDelivery.objects.filter(id=delivery.id).update(**columns)


def test_an_unknown_kind_and_an_empty_destination(delivery: AnnouncementDelivery) -> None:
    first = delivery.announcement
    with pytest.raises(DatabaseError, match="announcement_kind_known"), transaction.atomic():  # noqa: TID251 - by hand
        Announcement.objects.create(
            id=new_id(), order=first.order, number=2, kind="x", payload={}, created_at=first.created_at
        )
    with pytest.raises(DatabaseError, match="delivery_names_its_destination"):
        AnnouncementDelivery.objects.create(announcement=first, destination="", due_at=first.created_at)


# Looking


def test_the_documented_payload_and_kinds_are_those_that_are_sent(
    delivery: AnnouncementDelivery, checkout_folder: Path
) -> None:
    text = (checkout_folder / "docs" / "announcements.md").read_text()
    example = json.loads(text.partition("```json\n")[2].partition("```")[0])
    assert example.keys() == delivery.announcement.payload.keys()
    assert notice_from(example).payload() == example
    table = text.partition("| kind | means |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(AnnouncementKind)


def test_the_admin_shows_what_was_announced_and_given_up_and_offers_no_change(
    client: Client, delivery: AnnouncementDelivery
) -> None:
    now = clocks.database_now()
    AnnouncementDelivery.objects.filter(id=delivery.id).update(
        due_at=None, given_up_at=now, tries=80, first_tried_at=now - timedelta(days=3), last_error="HTTP 503"
    )
    client.force_login(User.objects.create_superuser("root"))
    announcement = delivery.announcement
    for path, shown in (
        ("announcement/", announcement.public_id),
        (f"announcement/{announcement.pk}/change/", "HTTP 503"),
        ("announcementdelivery/?given_up_at__isempty=0", "HTTP 503"),
        (f"announcementdelivery/{delivery.pk}/change/", "hook"),
    ):
        page = client.get(f"/admin/payments/{path}")
        assert page.status_code == 200, path
        assert shown in page.content.decode(), path
    assert "HTTP 503" not in client.get("/admin/payments/announcementdelivery/?given_up_at__isempty=1").content.decode()
    for path in ("announcement/add/", f"announcementdelivery/{delivery.pk}/delete/"):
        assert client.get(f"/admin/payments/{path}").status_code == 403, path
