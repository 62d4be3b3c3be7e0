"""Once for each attempt, and only while nothing was submitted."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import MutableMapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, connection
from pytest_django import Settings

from payments import clocks, lifecycle
from payments.domain.reminders import Channel
from payments.domain.states import AttemptState
from payments.lifecycle import remind
from payments.lifecycle.remind import Obstacle, ReminderRun
from payments.lifecycle.transition import move_attempt
from payments.messaging.endings import NotSent, Sent
from payments.models import PaymentAttempt, Reminder, StockItem
from payments.transactions import transaction
from tests import factories
from tests.contract.sandbox_server import SandboxProcess
from tests.crash.world import Failpoint
from tests.integration.reminding.helpers import NOTHING, make_due, send_due, states, take
from tests.integration.test_clock_guard import step_database
from tests.mailbox import Mailbox
from tests.system import CHECKOUT, test_database_url

pytestmark = pytest.mark.django_db(transaction=True)

SKIPPED = ReminderRun(sent=0, tried_again_later=0, skipped=1, failed=0, unknown=0)


# When


def test_a_reminder_goes_out_once_and_says_what_is_needed(
    attempt: PaymentAttempt, mail_server: Mailbox, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    assert send_due() == ReminderRun(sent=1, tried_again_later=0, skipped=0, failed=0, unknown=0)
    assert send_due() == NOTHING
    (mail,) = mail_server.mails
    body = mail.get_payload()
    attempt.refresh_from_db()
    assert (mail["To"], mail["Subject"]) == ("ada@example.com", "Your order ORD-1 is not paid yet")
    assert "12.50 USD" in body
    assert "3 minutes left" in body
    assert f"until {attempt.expires_at:%H:%M} UTC" in body
    assert f"http://127.0.0.1:8000/shop/pay/{attempt.public_id}/" in body
    assert attempt.reminder_at is None
    assert states() == [("email", "sent", "", 1)]
    (line,) = [event for event in captured_logs if event["event"] == "reminder_sent"]
    assert (line["order_id"], line["payment_id"], line["channel"]) == ("ORD-1", attempt.public_id, "email")
    assert "ada@example.com" not in str(captured_logs)


def test_nothing_is_sent_before_the_lead(reachable: User, item: StockItem, mail_server: Mailbox) -> None:
    attempt = factories.place_order(customer=reachable, item=item)
    assert attempt.reminder_at is not None
    assert (attempt.expires_at - attempt.reminder_at).total_seconds() == 300
    factories.age_attempt(attempt.id, seconds_left=310)
    assert send_due() == NOTHING
    assert Reminder.objects.count() == 0


@pytest.mark.parametrize(
    ("changes", "lead_seconds"),
    [
        ({"PAYMENT_REMINDER_LEAD_MINUTES": 0}, None),
        ({"PAYMENT_METHODS": {"card": {"gateway": "sandbox", "reminder_lead_minutes": 0}}}, None),
        ({"PAYMENT_METHODS": {"card": {"gateway": "sandbox", "reminder_lead_minutes": 9}}}, 540),
        ({"PAYMENT_REMINDER_EMAIL": False, "PAYMENT_SMS_SENDER": ""}, None),
    ],
    ids=["none", "none for the method", "own", "no channel"],
)
def test_the_lead_is_stamped_at_the_opening(
    customer: User, item: StockItem, settings: Settings, changes: dict[str, Any], lead_seconds: int | None
) -> None:
    for name, value in changes.items():
        setattr(settings, name, value)
    attempt = factories.place_order(customer=customer, item=item)
    found = attempt.reminder_at and (attempt.expires_at - attempt.reminder_at).total_seconds()
    assert found == lead_seconds


def test_each_attempt_of_an_order_has_its_own(
    attempt: PaymentAttempt, mail_server: Mailbox, sandbox: SandboxProcess
) -> None:
    send_due()
    factories.submit(attempt, token="tok_insufficient_funds")
    lifecycle.charge_attempt(attempt_id=attempt.id)
    second = lifecycle.retry_order(order_id="ORD-1", customer_id=attempt.customer_id).attempt
    assert send_due() == NOTHING
    factories.age_attempt(second.id, seconds_left=200)
    assert send_due().sent == 1
    assert send_due() == NOTHING
    assert len(mail_server.mails) == 2


# Once


def test_many_senders_at_once_send_each_reminder_once(reachable: User, item: StockItem, mail_server: Mailbox) -> None:
    attempts = [factories.place_order(customer=reachable, item=item) for _ in range(12)]
    factories.age_attempt(*(attempt.id for attempt in attempts), seconds_left=200)
    barrier = threading.Barrier(4)

    def run() -> int:
        barrier.wait()
        try:
            return send_due().sent + send_due().sent
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=4) as pool:
        counts = [future.result() for future in [pool.submit(run) for _ in range(4)]]
    send_due()  # What two of them stepped over, since each held it for the other.
    assert len(mail_server.mails) == 12
    assert sum(counts) <= 12
    named = [mail["Message-ID"] for mail in mail_server.mails]
    assert sorted(named) == sorted(f"<{attempt.public_id}.reminder@localhost>" for attempt in attempts)
    assert Reminder.objects.filter(state="sent", tries=1).count() == 12


@pytest.mark.parametrize(("point", "arrived"), [("remind.taken", 0), ("remind.answered", 1)])
def test_a_reminder_whose_sender_is_killed_is_never_sent_again(
    attempt: PaymentAttempt, mail_server: Mailbox, tmp_path: Path, point: str, arrived: int
) -> None:
    failpoint = Failpoint(tmp_path / "armed")
    failpoint.arm(point, "kill", threads=1)
    sender = subprocess.run(
        [
            sys.executable,
            "-c",
            "import django; django.setup(); from payments import lifecycle; lifecycle.send_due_reminders(limit=10)",
        ],
        check=False,
        cwd=CHECKOUT,
        timeout=60,
        env={
            **os.environ,
            **failpoint.env,
            "DJANGO_SETTINGS_MODULE": "project.settings.test",
            "DATABASE_URL": test_database_url(),
            "EMAIL_URL": f"smtp://127.0.0.1:{mail_server.port}",
        },
    )
    assert sender.returncode == -signal.SIGKILL
    assert len(mail_server.mails) == arrived
    assert states() == [("email", "sending", "", 1), ("sms", "owed", "", 0)]
    assert send_due().unknown == 0  # Its lease goes on.
    make_due()
    assert send_due().unknown == 1
    assert send_due() == NOTHING
    assert states()[0] == ("email", "unknown", "sender_lost", 1)
    assert len(mail_server.mails) == arrived


def test_a_sender_whose_lease_has_lapsed_changes_nothing(attempt: PaymentAttempt, mail_server: Mailbox) -> None:
    taken = take(attempt)
    make_due()
    assert send_due().unknown == 1
    remind._record(taken, ending=Sent())
    remind._record(taken, ending=NotSent(why="x", may_retry=True))
    assert states() == [("email", "unknown", "sender_lost", 1)]
    assert send_due() == NOTHING


@pytest.mark.breaks_invariants
def test_the_database_refuses_a_second_reminder_and_to_send_what_has_ended(
    attempt: PaymentAttempt, mail_server: Mailbox
) -> None:
    send_due()
    now = clocks.database_now()
    with pytest.raises(IntegrityError, match="reminder_once_per_attempt_and_channel"):
        Reminder.objects.create(attempt=attempt, channel="email", state="owed", owed_at=now, due_at=now)
    for state in ("owed", "sending"):
        with pytest.raises(DatabaseError, match="transition"):
            Reminder.objects.update(state=state, due_at=now, sent_at=None)
    with pytest.raises(DatabaseError, match="delete"):
        Reminder.objects.all().delete()


# Never once something was submitted, nor after the end


def test_nobody_is_reminded_of_what_was_submitted_in_time(attempt: PaymentAttempt, mail_server: Mailbox) -> None:
    factories.submit(attempt)
    assert send_due() == NOTHING
    assert Reminder.objects.count() == 0


def test_nobody_is_reminded_of_what_was_paid(
    attempt: PaymentAttempt, mail_server: Mailbox, sandbox: SandboxProcess
) -> None:
    remind._owe_due(limit=100)
    factories.submit(attempt)
    lifecycle.charge_attempt(attempt_id=attempt.id)
    attempt.refresh_from_db()
    assert attempt.state == "succeeded"
    assert send_due() == SKIPPED
    assert states() == [("email", "skipped", "not_open", 0)]
    assert mail_server.conversations == 0


def test_a_submission_between_mark_and_sending_keeps_it_back(attempt: PaymentAttempt, mail_server: Mailbox) -> None:
    taken = take(attempt)
    factories.submit(attempt)
    ending = remind._send(taken)
    assert ending == remind._Hindered(Obstacle.NOT_OPEN)
    remind._record(taken, ending=ending)
    assert states() == [("email", "skipped", "not_open", 1)]
    assert mail_server.conversations == 0


def test_the_database_refuses_to_send_of_what_is_not_open(attempt: PaymentAttempt) -> None:
    remind._owe_due(limit=100)
    factories.submit(attempt)
    with pytest.raises(DatabaseError, match="is not open"):
        Reminder.objects.update(state="sending", tries=1, fence=1)


@pytest.mark.breaks_invariants  # The order of the cancelled attempt is left as it is.
def test_nobody_is_reminded_of_what_was_cancelled(attempt: PaymentAttempt, mail_server: Mailbox) -> None:
    remind._owe_due(limit=100)
    with transaction():
        attempt.refresh_from_db()
        now = clocks.database_now()
        move_attempt(attempt, to=AttemptState.CANCELLED, now=now, actor="test", reason="test")
    assert send_due() == SKIPPED
    assert mail_server.conversations == 0


def test_nobody_is_reminded_after_the_deadline(attempt: PaymentAttempt, mail_server: Mailbox) -> None:
    remind._owe_due(limit=100)
    factories.age_attempt(attempt.id, seconds_left=-1)
    assert send_due() == SKIPPED  # Before the sweep,
    assert states() == [("email", "skipped", "too_late", 0)]
    lifecycle.sweep_expired()
    make_due()
    assert send_due() == NOTHING  # and after it.
    assert mail_server.conversations == 0


def test_a_reminder_that_nobody_sent_in_time_is_never_sent(attempt: PaymentAttempt, mail_server: Mailbox) -> None:
    factories.age_attempt(attempt.id, seconds_left=-1)
    assert send_due() == NOTHING
    lifecycle.sweep_expired()
    assert send_due() == NOTHING
    assert Reminder.objects.count() == 0
    assert mail_server.conversations == 0


def test_a_reminder_that_might_take_until_the_deadline_is_not_begun(
    attempt: PaymentAttempt, mail_server: Mailbox, settings: Settings
) -> None:
    settings.PAYMENT_REMINDER_TOTAL_SECONDS = 20
    factories.age_attempt(attempt.id, seconds_left=19)
    assert send_due() == SKIPPED
    assert states() == [("email", "skipped", "too_late", 0)]
    assert mail_server.conversations == 0


def test_nobody_is_reminded_too_early_by_a_database_that_leapt(
    reachable: User, item: StockItem, mail_server: Mailbox
) -> None:
    attempt = factories.place_order(customer=reachable, item=item)
    step_database(attempt, by=timedelta(minutes=11))
    PaymentAttempt.objects.update(reminder_at=clocks.database_now() - timedelta(minutes=1))
    assert send_due() == NOTHING
    assert Reminder.objects.count() == 0


def test_a_reminder_waits_for_clocks_that_contradict_each_other(attempt: PaymentAttempt, mail_server: Mailbox) -> None:
    remind._owe_due(limit=100)
    step_database(attempt, by=timedelta(hours=1))
    assert send_due() == NOTHING
    assert states() == [("email", "owed", "", 0)]
    step_database(attempt, by=-timedelta(hours=1))
    assert send_due().sent == 1


def test_one_that_has_to_wait_does_not_hide_the_next(
    attempt: PaymentAttempt, reachable: User, item: StockItem, mail_server: Mailbox
) -> None:
    other = factories.place_order(customer=reachable, item=item)
    factories.age_attempt(other.id, seconds_left=201)
    remind._owe_due(limit=100)
    step_database(attempt, by=timedelta(hours=1))
    assert send_due().sent == 1
    assert [row.attempt_id for row in Reminder.objects.filter(state="sent")] == [other.id]


# Whom


def test_who_has_no_address_is_skipped(customer: User, item: StockItem, mail_server: Mailbox) -> None:
    customer.email = "not an address"
    customer.save()
    attempts = [factories.place_order(customer=who, item=item) for who in (customer, factories.make_user())]
    factories.age_attempt(*(attempt.id for attempt in attempts), seconds_left=200)
    assert send_due().skipped == 2
    assert states() == [("email", "skipped", "no_address", 0)] * 2
    assert mail_server.conversations == 0


def test_who_has_unsubscribed_is_skipped_and_others_are_not(
    attempt: PaymentAttempt, item: StockItem, mail_server: Mailbox
) -> None:
    other = factories.make_user()
    other.email = "bob@example.com"
    other.save()
    factories.age_attempt(factories.place_order(customer=other, item=item).id, seconds_left=200)
    assert lifecycle.stop_reminders(customer_id=attempt.customer_id)
    run = send_due()
    assert (run.sent, run.skipped) == (1, 1)
    assert mail_server.recipients == ["bob@example.com"]
    assert ("email", "skipped", "unsubscribed", 0) in states()


def test_who_unsubscribes_between_mark_and_sending_gets_nothing(attempt: PaymentAttempt, mail_server: Mailbox) -> None:
    taken = take(attempt)
    lifecycle.stop_reminders(customer_id=attempt.customer_id)
    assert remind._send(taken) == remind._Hindered(Obstacle.UNSUBSCRIBED)
    assert mail_server.conversations == 0


def test_what_is_owed_over_a_channel_that_was_switched_off_ends(
    attempt: PaymentAttempt, mail_server: Mailbox, settings: Settings
) -> None:
    remind._owe_due(limit=100)
    settings.PAYMENT_REMINDER_EMAIL = False
    assert send_due() == SKIPPED
    assert states() == [(Channel.EMAIL, "skipped", "channel_off", 0)]
