"""Payments that ended long ago: archived whole, verified from their files, and never lost on the way."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import ProgrammingError, connection
from django.test import Client
from pytest_django import Settings

from payments import audit, clocks, invariants, lifecycle
from payments.models import (
    Announcement,
    AnnouncementDelivery,
    ArchivedAttempt,
    ArchivedCompensation,
    Compensation,
    CompensationEntry,
    GatewayCall,
    HistoryEntry,
    IdempotencyRecord,
    Order,
    PaymentAttempt,
    Reminder,
)
from payments.transactions import transaction
from tests import doubts, factories, stockroom
from tests.concurrency.test_locks import another_session
from tests.contract.sandbox_server import SandboxProcess
from tests.integration.api_client import Api
from tests.integration.archiving.archives import TABLES, age_orders, archive, heads, remind, rows, run, the_file, verify
from tests.stockroom import Shop
from tests.tampering import every_right

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_closed_long_ago_goes_into_a_file_whole_and_out_of_the_tables(shop: Shop, tmp_path: Path) -> None:
    before, digests, stock = rows(), heads(), factories.stock_of(shop.item)
    code, lines = archive(tmp_path)
    name = the_file(tmp_path).name
    assert code == 0
    assert lines == [f"order {number}: 1 payment -> {name}" for number in ("ORD-CANCELLED", "ORD-PAID")] + [
        "orders: 2 archived, 0 changed meanwhile, 0 broken history; payments archived: 2"
    ]
    left = {shop.waiting.id, shop.failed.id}
    assert set(PaymentAttempt.objects.values_list("id", flat=True)) == left
    for model in (HistoryEntry, GatewayCall, Compensation, Announcement):
        assert set(model.objects.values_list("attempt_id", flat=True)) <= left, model
    assert not CompensationEntry.objects.exists()
    kept = {row.id: row for row in ArchivedAttempt.objects.all()}
    assert set(kept) == {shop.paid.id, shop.cancelled.id}
    assert (kept[shop.paid.id].state, kept[shop.paid.id].amount_minor) == ("succeeded", 2500)
    assert kept[shop.paid.id].archive == name
    assert ArchivedCompensation.objects.get().attempt_id == shop.paid.id
    written = gzip.decompress(the_file(tmp_path).read_bytes()).decode()
    deleted = {table: len(before[table]) - len(found) for table, found in rows().items()}
    cancelled, paid = (json.loads(line) for line in written.splitlines())
    assert deleted == {
        "payments_paymentattempt": 2,
        "payments_historyentry": sum(len(row["history"]) for row in cancelled["attempts"] + paid["attempts"]),
        "payments_gatewaycall": len(paid["gateway_calls"]),
        "payments_compensation": len(paid["compensations"]),
        "payments_compensationentry": len(paid["compensations"][0]["history"]),
        "payments_announcement": len(cancelled["announcements"] + paid["announcements"]),
        "payments_announcementdelivery": 0,
        "payments_reminder": 1,
    }
    assert deleted["payments_gatewaycall"] == 3
    assert "tok_visa" not in written
    assert heads() == digests, "a digest that was kept elsewhere is still the same"
    assert factories.stock_of(shop.item) == stock
    assert stockroom.reconcile() == (0, ["0 differences"])
    assert run("verify_history")[0] == 0
    code, lines = verify(tmp_path)
    assert (code, len(lines)) == (0, 1)
    assert lines[0].startswith(f"file: {name}, orders: 2, payments: 2, compensations: 1, entries: ")
    assert lines[0].endswith("broken: 0, copies: 0, database: compared")
    assert archive(tmp_path)[1] == ["orders: 0 archived, 0 changed meanwhile, 0 broken history; payments archived: 0"]


def test_a_dry_run_says_exactly_what_is_then_done(shop: Shop, tmp_path: Path) -> None:
    before = rows()
    dry_code, dry = archive(tmp_path, "--dry-run", "--json")
    assert rows() == before
    assert list(tmp_path.iterdir()) == []
    assert not ArchivedAttempt.objects.exists()
    assert archive(tmp_path, "--json") == (dry_code, dry)
    assert [json.loads(line)["archive"] for line in dry] == [the_file(tmp_path).name] * 2


def test_an_archived_payment_is_unknown_and_its_order_is_not(
    shop: Shop, tmp_path: Path, token_for: Callable[[User], str]
) -> None:
    api = Api(token_for(shop.paid.customer))
    order = Order.objects.get(id=shop.paid.order_id)
    path = f"/api/orders/payment-status/{order.order_id}/"
    before = api.get(path).json()
    assert archive(tmp_path)[0] == 0
    gone = api.get(f"/api/payments/{shop.paid.public_id}/")
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")
    after = api.get(path)
    assert after.status_code == 200
    assert before.pop("payment_id") == shop.paid.public_id
    moving = {"server_now", "payment_id"}
    assert {name: fact for name, fact in after.json().items() if name not in moving} == {
        name: fact for name, fact in before.items() if name not in moving
    }
    again = api.post("/api/payments/retry/", {"order_id": order.order_id})
    assert (again.status_code, again.json()["reason"]) == (409, "order_paid")


@pytest.mark.parametrize(
    "keeps",
    ["recently_closed", "recently_given_back", "owed", "undelivered", "answered", "another_attempt"],
)
def test_what_is_not_over_is_never_taken(
    shop: Shop, tmp_path: Path, settings: Settings, staff: User, keeps: str
) -> None:
    attempt_id, order_id = shop.paid.id, shop.paid.order_id
    with every_right() as cursor:
        if keeps == "recently_closed":
            cursor.execute("UPDATE payments_order SET closed_at = now() WHERE id = %s", [order_id])
        elif keeps == "recently_given_back":
            cursor.execute("UPDATE payments_compensation SET closed_at = now() WHERE order_id = %s", [order_id])
        elif keeps == "owed":
            cursor.execute(
                "UPDATE payments_compensation SET state = 'needs_review', closed_at = NULL WHERE order_id = %s",
                [order_id],
            )
        elif keeps == "undelivered":
            cursor.execute(
                "INSERT INTO payments_announcementdelivery (announcement_id, destination, due_at, tries, fence, "
                "last_error) SELECT id, 'hook', now(), 0, 0, '' FROM payments_announcement WHERE order_id = %s",
                [order_id],
            )
        elif keeps == "another_attempt":
            cursor.execute(
                "UPDATE payments_paymentattempt SET order_id = %s, number = 2 WHERE id = %s", [order_id, shop.failed.id]
            )
    if keeps == "answered":
        IdempotencyRecord.objects.create(
            user=staff,
            key="k",
            method="POST",
            path="/",
            body_hash="h",
            created_at=clocks.database_now(),
            state="running",
            lease_expires_at=clocks.database_now(),
            attempt_id=attempt_id,
        )
    assert archive(tmp_path)[0] == 0
    assert set(ArchivedAttempt.objects.values_list("id", flat=True)) == {shop.cancelled.id}
    assert PaymentAttempt.objects.filter(id=attempt_id).exists()
    with every_right() as cursor:  # What was bent for this test is straightened for the next question.
        cursor.execute("UPDATE payments_compensation SET state = 'done', closed_at = now()")
        cursor.execute(
            "UPDATE payments_paymentattempt SET order_id = o.id, number = 1 FROM payments_order o "
            "WHERE o.order_id = 'ORD-FAILED' AND payments_paymentattempt.id = %s",
            [shop.failed.id],
        )


def test_a_payment_in_doubt_is_never_taken_however_old(
    item: Any, customer: User, sandbox: SandboxProcess, tmp_path: Path
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    sandbox.behave("reset_before", operation="authorize", times=1)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    doubts.put_under_review(attempt, sandbox)
    with every_right() as cursor:
        cursor.execute("UPDATE payments_order SET created_at = created_at - interval '900 days'")
    assert archive(tmp_path)[0] == 0
    assert not ArchivedAttempt.objects.exists()


def test_nobody_deletes_without_a_record_that_was_made_with_it(
    shop: Shop, destinations: list[str], settings: Settings
) -> None:
    """Every right is needed for a delete, or a record in the same transaction; one that was there before is none."""
    with every_right() as cursor:
        cursor.execute(
            "INSERT INTO payments_announcementdelivery (announcement_id, destination, tries, fence, last_error, "
            "first_tried_at, delivered_at) SELECT id, 'hook', 1, 1, '', now(), now() FROM payments_announcement"
        )
    note = """
        INSERT INTO payments_archivedattempt (id, order_id, number, state, version, amount_minor, currency, gateway,
            gateway_reference, head_hash, head_at, archive, archive_sha256, archived_at)
        SELECT a.id, a.order_id, a.number, a.state, a.version, a.amount_minor, a.currency, a.gateway,
            a.gateway_reference, {}, h.at, 'file', 'hash', now()
        FROM payments_paymentattempt a JOIN payments_historyentry h ON h.attempt_id = a.id AND h.number = a.version
        WHERE a.id = %s
    """

    def execute(*statements: tuple[str, list[Any]]) -> None:
        with transaction(), connection.cursor() as cursor:
            for sql, parameters in statements:
                cursor.execute(sql, parameters)

    def refused(*statements: tuple[str, list[Any]]) -> None:
        with pytest.raises(ProgrammingError, match=r"Cannot (update or )?delete rows"):
            execute(*statements)

    deletes: list[tuple[str, list[Any]]] = [(f"DELETE FROM {table}", []) for table in TABLES]
    for delete in deletes:
        refused(delete)
    # A record of another payment lets nothing else go.
    for delete in deletes:
        refused((note.format("h.entry_hash"), [shop.cancelled.id]), delete)
    # One that names another head is no record.
    with pytest.raises(ProgrammingError, match="is not what its archive says"), connection.cursor() as cursor:
        cursor.execute(note.format("'another'"), [shop.paid.id])
    with pytest.raises(ProgrammingError, match="has not ended"), connection.cursor() as cursor:
        cursor.execute(note.format("h.entry_hash"), [shop.waiting.id])
    # One that was committed before is none either.
    execute((note.format("h.entry_hash"), [shop.cancelled.id]))
    of_order = ("payments_announcement", "payments_paymentattempt")
    of_attempt = ("payments_historyentry",)
    for table in of_order:
        refused((f"DELETE FROM {table} WHERE order_id = %s", [shop.cancelled.order_id]))
    for table in of_attempt:
        refused((f"DELETE FROM {table} WHERE attempt_id = %s", [shop.cancelled.id]))
    with pytest.raises(ProgrammingError, match="Cannot update or delete"):
        ArchivedAttempt.objects.all().delete()
    with pytest.raises(ProgrammingError, match="Cannot update or delete"):
        ArchivedAttempt.objects.update(archive="another")
    with every_right() as cursor:
        cursor.execute("DELETE FROM payments_archivedattempt")
        cursor.execute("DELETE FROM payments_announcementdelivery")


def test_an_order_that_somebody_holds_is_left_and_the_others_go(shop: Shop, tmp_path: Path) -> None:
    with another_session() as holder:
        holder.execute("SELECT id FROM payments_order WHERE id = %s FOR UPDATE", [shop.paid.order_id])
        code, lines = archive(tmp_path)
        holder.rollback()
    assert code == 1
    assert lines[1] == "order ORD-PAID: 1 payment left: it changed meanwhile, or somebody holds it"
    assert set(ArchivedAttempt.objects.values_list("id", flat=True)) == {shop.cancelled.id}
    assert verify(tmp_path)[1][-1].endswith("copies: 1, database: compared")
    assert archive(tmp_path)[0] == 0


def test_an_archived_success_still_proves_that_a_held_reservation_was_paid_for(shop: Shop, tmp_path: Path) -> None:
    archive(tmp_path)
    stockroom.tamper(
        shop,
        "UPDATE payments_reservation SET state = 'active', closed_at = NULL WHERE order_id = %(paid)s",
        "UPDATE payments_stockitem SET reserved = 11, sold = 0, on_hand = 100 WHERE id = %(item)s",
    )
    assert stockroom.reconcile("--repair", "--reason", "a backup")[0] == 0
    assert factories.stock_of(shop.item) == (98, 9, 2)


@pytest.mark.parametrize("owners", [1, 2, 1000])
def test_pages_of_any_size_count_what_is_archived_once(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owners: int
) -> None:
    in_one = {verdict.owner_id: verdict.head for verdict in audit.verify_histories(chain=audit.ATTEMPTS)}
    archive(tmp_path)
    monkeypatch.setattr(audit, "_PAGE_OWNERS", owners)
    verdicts = list(audit.verify_histories(chain=audit.ATTEMPTS))
    assert [(verdict.owner_id, verdict.head) for verdict in verdicts] == sorted(in_one.items())
    archived = {shop.paid.id, shop.cancelled.id}
    assert {verdict.owner_id for verdict in verdicts if verdict.is_archived} == archived
    assert audit.count_owners(chain=audit.ATTEMPTS) == len(verdicts) == 4


@pytest.mark.breaks_invariants
def test_a_payment_that_is_archived_and_still_there_is_found(shop: Shop, tmp_path: Path) -> None:
    before = {name: [row for row in found if str(shop.paid.id) in row] for name, found in rows().items()}
    archive(tmp_path)
    with every_right() as cursor:
        for table in ("payments_paymentattempt", "payments_historyentry"):
            for row in before[table]:
                cursor.execute(f"INSERT INTO {table} SELECT (%s::{table}).*", [row])
    assert {found.rule for found in invariants.broken()} >= {"archived_whole"}
    code, lines = run("verify_history")
    assert code == 1
    assert "owner: expected nothing, since it is archived" in lines[0]


def test_archived_payments_are_shown_in_the_admin(shop: Shop, tmp_path: Path, client: Client) -> None:
    archive(tmp_path)
    client.force_login(User.objects.create_superuser("root"))
    assert the_file(tmp_path).name in client.get("/admin/payments/archivedattempt/").content.decode()
    path = f"/admin/payments/archivedattempt/{shop.paid.id}/"
    assert client.get(f"{path}change/").status_code == 200
    assert client.get(f"{path}delete/").status_code == 403


def test_deliveries_that_were_made_go_too(
    sandbox: SandboxProcess, settings: Settings, tmp_path: Path, destinations: list[str]
) -> None:
    shop = stockroom.open_shop()
    with every_right() as cursor:
        cursor.execute(
            "UPDATE payments_announcementdelivery SET due_at = NULL, delivered_at = now(), tries = 1, "
            "first_tried_at = now()"
        )
    made = AnnouncementDelivery.objects.filter(announcement__order=shop.paid.order_id).count()
    assert made == len(destinations)
    age_orders(shop.paid)
    assert archive(tmp_path)[0] == 0
    assert ArchivedAttempt.objects.count() == 1
    assert not AnnouncementDelivery.objects.filter(announcement__order=shop.paid.order_id).exists()
    (line,) = gzip.decompress(the_file(tmp_path).read_bytes()).decode().splitlines()
    assert len(json.loads(line)["announcements"][0]["deliveries"]) == made


def test_reminders_go_with_their_payment_and_one_that_waits_keeps_it(shop: Shop, tmp_path: Path) -> None:
    remind(shop.cancelled, is_sent=False)
    assert archive(tmp_path)[0] == 0
    assert list(ArchivedAttempt.objects.values_list("id", flat=True)) == [shop.paid.id]
    assert list(Reminder.objects.values_list("attempt_id", flat=True)) == [shop.cancelled.id]
    (line,) = gzip.decompress(the_file(tmp_path).read_bytes()).decode().splitlines()
    assert [row["state"] for row in json.loads(line)["reminders"]] == ["sent"]
    assert verify(tmp_path)[0] == 0
