"""A customer who has not paid gets one mail, through beat and worker, and the link in it stops the next."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from pytest_django import DjangoDbBlocker

from beat_schedules.write import write_schedule
from payments.models import Reminder, StockItem
from tests import factories, mailbox
from tests.contract.sandbox_server import SandboxProcess, wait_until
from tests.mailbox import Mailbox
from tests.system import System

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def post() -> Iterator[Mailbox]:
    with mailbox.listening() as server:
        yield server


@pytest.fixture(scope="module")
def mailing_system(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    sandbox_process: SandboxProcess,
    tmp_path_factory: pytest.TempPathFactory,
    post: Mailbox,
) -> Iterator[System]:
    env = {"EMAIL_URL": f"smtp://127.0.0.1:{post.port}", "PAYMENT_SMS_SENDER": ""}
    with django_db_blocker.unblock():
        system = System(tmp_path_factory.mktemp("mailing"), sandbox=sandbox_process, env=env)
        try:
            system.start()
            yield system
        finally:
            system.close_clients()
            system.stop()


def test_a_mail_arrives_once_and_its_link_stops_the_next(
    mailing_system: System, transactional_db: None, post: Mailbox, customer: User, item: StockItem
) -> None:
    write_schedule()
    mailing_system.ensure_running()
    customer.email = "ada@example.com"
    customer.save()
    first = factories.place_order(customer=customer, item=item, order_id="ORD-1")
    factories.age_attempt(first.id, seconds_left=200)
    wait_until(lambda: Reminder.objects.filter(state="sent").exists(), what="it is sent", deadline_seconds=40)
    (mail,) = post.mails
    assert mail["To"] == "ada@example.com"
    path = mail["List-Unsubscribe"].strip("<> \r\n").removeprefix("http://127.0.0.1:8000")
    client = mailing_system.http()
    assert "Stop the reminders" in client.get(path).text
    assert client.post(path, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    second = factories.place_order(customer=customer, item=item, order_id="ORD-2")
    factories.age_attempt(second.id, seconds_left=200)
    wait_until(
        lambda: Reminder.objects.filter(attempt=second, state="skipped").exists(), what="skipped", deadline_seconds=40
    )
    assert len(post.mails) == 1
