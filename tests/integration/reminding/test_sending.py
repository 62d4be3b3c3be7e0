"""What a sending proves: a real SMTP server refuses, drops and keeps silent; and the port for text messages."""

import threading
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments.messaging import bounded
from payments.messaging.bounded import Point, within
from payments.messaging.endings import NotSent, Sent, Unclear
from payments.messaging.sms import SmsNotSent
from payments.models import CustomerContact, PaymentAttempt, StockItem
from payments.transactions import transaction
from tests import factories
from tests.contract.sandbox_server import wait_until
from tests.integration.reminding.helpers import NOTHING, make_due, send_due, states
from tests.mailbox import Fault, Mailbox

pytestmark = pytest.mark.django_db(transaction=True)


# E-mail


def test_a_server_that_is_away_is_asked_again_and_the_reminder_arrives_once(
    attempt: PaymentAttempt, mail_server: Mailbox, settings: Settings
) -> None:
    settings.EMAIL_PORT = 9
    for tries in (1, 2):
        assert send_due().tried_again_later == 1
        assert states() == [("email", "owed", "ConnectionRefusedError", tries)]
        assert send_due() == NOTHING  # It waits.
        make_due()
    settings.EMAIL_PORT = mail_server.port
    assert send_due().sent == 1
    make_due()
    assert send_due() == NOTHING
    assert len(mail_server.mails) == 1
    assert states() == [("email", "sent", "", 3)]


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault.TURNS_AWAY, "SMTPConnectError"),
        (Fault.LATER, "SMTPRecipientsRefused 451"),
        (Fault.FULL, "SMTPDataError 452"),
    ],
)
def test_what_a_server_refuses_for_now_is_sent_later(
    attempt: PaymentAttempt, mail_server: Mailbox, fault: Fault, why: str
) -> None:
    mail_server.faults.append(fault)
    assert send_due().tried_again_later == 1
    assert states() == [("email", "owed", why, 1)]
    assert mail_server.mails == []
    make_due()
    assert send_due().sent == 1
    assert len(mail_server.mails) == 1


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault.NO_SUCH_BOX, "SMTPRecipientsRefused 550"),
        (Fault.REFUSES_SENDER, "SMTPSenderRefused 550"),
        (Fault.SPAM, "SMTPDataError 554"),
    ],
)
def test_what_a_server_refuses_for_good_is_not_sent_again(
    attempt: PaymentAttempt, mail_server: Mailbox, fault: Fault, why: str
) -> None:
    mail_server.faults.append(fault)
    assert send_due().failed == 1
    assert states() == [("email", "failed", why, 1)]
    make_due()
    assert send_due() == NOTHING
    assert mail_server.conversations == 1


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault.DROPS_AFTER_DATA, "SMTPServerDisconnected"),
        (Fault.MUMBLES_AFTER_DATA, "SMTPDataError -1"),
        (Fault.SILENT_AFTER_DATA, "SMTPServerDisconnected"),
        (Fault.DRIPS_AFTER_DATA, "no answer within 6 s"),
    ],
)
def test_what_may_have_been_sent_is_never_sent_again(
    attempt: PaymentAttempt, mail_server: Mailbox, fault: Fault, why: str
) -> None:
    mail_server.faults.append(fault)
    assert send_due().unknown == 1
    assert states() == [("email", "unknown", why, 1)]
    make_due()
    assert send_due() == NOTHING
    assert mail_server.conversations == 1
    assert len(mail_server.mails) == 1


def test_a_server_that_is_slow_to_greet_gets_nothing_once_nobody_waits_any_more(
    attempt: PaymentAttempt, mail_server: Mailbox
) -> None:
    mail_server.faults.append(Fault.DRIPS_GREETING)
    assert send_due().tried_again_later == 1
    assert states() == [("email", "owed", "not begun within 6 s", 1)]
    mail_server.released.set()  # The first sending gets its greeting now, and stops by itself.
    wait_until(lambda: mail_server.ended == 1, what="the first conversation is over")
    assert mail_server.mails == []
    make_due()
    assert send_due().sent == 1
    assert len(mail_server.mails) == 1


def test_retrying_ends_with_the_window(attempt: PaymentAttempt, mail_server: Mailbox) -> None:
    mail_server.faults.append(Fault.LATER)
    assert send_due().tried_again_later == 1
    factories.age_attempt(attempt.id, seconds_left=-1)
    make_due()
    assert send_due().failed == 1
    assert states() == [("email", "failed", "SMTPRecipientsRefused 451", 1)]
    assert mail_server.conversations == 1


def test_a_run_leaves_a_server_that_fails_alone(reachable: User, item: StockItem, mail_server: Mailbox) -> None:
    attempts = [factories.place_order(customer=reachable, item=item) for _ in range(5)]
    factories.age_attempt(*(attempt.id for attempt in attempts), seconds_left=200)
    mail_server.faults += [Fault.TURNS_AWAY] * 5
    assert send_due().tried_again_later == 3
    assert mail_server.conversations == 3


def test_the_button_of_a_mailbox_is_told_where_to_post(attempt: PaymentAttempt, mail_server: Mailbox) -> None:
    send_due()
    (mail,) = mail_server.mails
    url = mail["List-Unsubscribe"].strip("<> \r\n")
    assert url.startswith("http://127.0.0.1:8000/reminders/stop/")
    assert url in mail.get_payload()
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["Auto-Submitted"] == "auto-generated"


def test_nothing_is_sent_inside_a_transaction(mail_server: Mailbox) -> None:
    sent: list[str] = []

    def act(_point: Point) -> Sent:
        sent.append("x")
        return Sent()

    with transaction(), pytest.raises(RuntimeError, match="network call"):
        within(1, act)
    assert sent == []


def test_while_all_senders_hang_nothing_is_begun(transactional_db: None, mail_server: Mailbox) -> None:
    def hang(point: Point) -> Sent:
        point.pass_by()
        mail_server.released.wait(30)
        return Sent()

    def send(_point: Point) -> Sent:
        return Sent()

    for _ in range(bounded.MAX_SENDINGS):
        assert isinstance(within(0.5, hang), Unclear)
    assert within(1, send) == NotSent(why="all senders hang", may_retry=True)
    mail_server.released.set()
    wait_until(lambda: within(1, send) == Sent(), what="the senders are free again")


# SMS


class Phone:
    """A host's sender, that does as it is told."""

    sent: list[tuple[str, str]] = []
    acts: list[Callable[[], object]] = []

    def send(self, to: str, text: str) -> None:
        act = self.acts.pop(0) if self.acts else None
        if act is not None:
            act()
        self.sent.append((to, text))


@pytest.fixture
def by_sms(settings: Settings) -> None:
    settings.PAYMENT_REMINDER_EMAIL = False
    settings.PAYMENT_SMS_SENDER = f"{__name__}.Phone"
    Phone.sent.clear()
    Phone.acts.clear()


@pytest.fixture
def with_phone(by_sms: None, customer: User, item: StockItem) -> PaymentAttempt:
    CustomerContact.objects.create(customer=customer, phone="+4915112345678")
    attempt = factories.place_order(customer=customer, item=item, order_id="ORD-1")
    factories.age_attempt(attempt.id, seconds_left=200)
    return attempt


def test_an_sms_goes_out_once(with_phone: PaymentAttempt) -> None:
    assert send_due().sent == 1
    assert send_due() == NOTHING
    ((to, text),) = Phone.sent
    assert to == "+4915112345678"
    assert text.startswith("Order ORD-1 (12.50 USD) is not paid yet. Pay by ")
    assert f"/shop/pay/{with_phone.public_id}/" in text
    assert "\n" not in text


def test_an_sms_goes_to_the_console_by_default(
    with_phone: PaymentAttempt, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.PAYMENT_SMS_SENDER = "payments.messaging.sms.ConsoleSmsSender"
    assert send_due().sent == 1
    said = capsys.readouterr().out
    assert said.startswith("SMS to +4915112345678\nOrder ORD-1 ")


def test_both_channels_have_their_own_ending(
    with_phone: PaymentAttempt, mail_server: Mailbox, settings: Settings
) -> None:
    settings.PAYMENT_REMINDER_EMAIL = True
    settings.PAYMENT_SMS_SENDER = f"{__name__}.Phone"
    run = send_due()
    assert (run.sent, run.skipped) == (1, 1)
    assert states() == [("email", "skipped", "no_address", 0), ("sms", "sent", "", 1)]


def test_no_phone_no_sms(by_sms: None, customer: User, item: StockItem) -> None:
    factories.age_attempt(factories.place_order(customer=customer, item=item).id, seconds_left=200)
    assert send_due().skipped == 1
    assert states() == [("sms", "skipped", "no_address", 0)]


def raising(error: Exception) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "state", "why"),
    [
        (SmsNotSent("quota", may_retry=True), "owed", "quota"),
        (ConnectionRefusedError("+4915112345678"), "owed", "ConnectionRefusedError"),
        (SmsNotSent("blocked", may_retry=False), "failed", "blocked"),
        (SmsNotSent("\x00", may_retry=False), "failed", "no_reason"),
        (TimeoutError("+4915112345678"), "unknown", "TimeoutError"),
        (LookupError("+4915112345678"), "unknown", "LookupError"),
    ],
)
def test_only_what_a_sender_proves_is_sent_again(
    with_phone: PaymentAttempt,
    captured_logs: list[MutableMapping[str, Any]],
    error: Exception,
    state: str,
    why: str,
) -> None:
    Phone.acts.append(raising(error))
    send_due()
    assert states() == [("sms", state, why, 1)]
    make_due()
    assert send_due().sent == (1 if state == "owed" else 0)
    assert len(Phone.sent) == (1 if state == "owed" else 0)
    assert "+4915112345678" not in str(captured_logs)


def test_a_sender_that_hangs_is_not_waited_for(with_phone: PaymentAttempt, settings: Settings) -> None:
    settings.PAYMENT_REMINDER_TOTAL_SECONDS = 1
    it_answers = threading.Event()
    Phone.acts.append(lambda: it_answers.wait(30))
    assert send_due().unknown == 1
    assert states() == [("sms", "unknown", "no answer within 1 s", 1)]
    it_answers.set()
    wait_until(lambda: len(Phone.sent) == 1, what="it goes on by itself")
    make_due()
    assert send_due() == NOTHING
