"""Stopping the reminders: the link, the page, the mailbox's button; and what staff sees."""

from html.parser import HTMLParser

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import IntegrityError
from django.test import Client
from pytest_django import Settings

from payments.messaging import links
from payments.models import CustomerContact, PaymentAttempt
from tests.integration.reminding.helpers import send_due
from tests.mailbox import Mailbox

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client() -> Client:
    """A browser that Django checks for CSRF, as every real one."""
    return Client(enforce_csrf_checks=True)


@pytest.fixture
def path(customer: User) -> str:
    return links.stop_url(customer_id=customer.pk).removeprefix("http://127.0.0.1:8000")


def is_stopped(customer: User) -> bool:
    return CustomerContact.objects.filter(customer=customer, reminders_stopped_at__isnull=False).exists()


class Form(HTMLParser):
    """The one form of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "form":
            self.forms.append(dict(attributes))


def test_looking_at_the_link_stops_nothing_and_the_button_does(client: Client, customer: User, path: str) -> None:
    for method in (client.get, client.head):
        page = method(path)
        assert page.status_code == 200
        assert page["Cache-Control"] == "no-store"
        assert CustomerContact.objects.count() == 0
    page = client.get(path)
    assert Form(page.content.decode()).forms == [{"method": "post"}]  # To where it came from.
    page = client.post(path)
    assert (page.status_code, is_stopped(customer)) == (200, True)
    assert "You get no more reminders" in page.content.decode()
    assert Form(client.get(path).content.decode()).forms == []


def test_a_mailbox_stops_them_with_one_click_and_without_a_session(client: Client, customer: User, path: str) -> None:
    """RFC 8058, 3.2: the POST of a mail client, without cookies and from nowhere in particular."""
    for _ in range(2):
        page = client.post(
            path,
            "List-Unsubscribe=One-Click",
            content_type="application/x-www-form-urlencoded",
            headers={"Origin": "https://mail.example"},
        )
        assert page.status_code == 200
    assert is_stopped(customer)
    assert client.cookies == {}


def test_stopping_twice_keeps_the_first_time(client: Client, customer: User, path: str) -> None:
    client.post(path)
    first = CustomerContact.objects.get().reminders_stopped_at
    client.post(path)
    assert CustomerContact.objects.get().reminders_stopped_at == first


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_link_that_was_not_made_here_is_not_found(
    client: Client, customer: User, other: User, path: str, method: str
) -> None:
    token = links.stop_token(customer_id=customer.pk)
    forged = f"{other.pk}.{token.partition('.')[2]}"
    nobody = links.stop_token(customer_id=other.pk + 1000)
    tokens = [forged, token[:-1], "nonsense", *([nobody] if method == "post" else [])]
    for wrong in tokens:
        page = getattr(client, method)(f"/reminders/stop/{wrong}/")
        assert page.status_code == 404, wrong
        assert "was not made here" in page.content.decode()
    assert CustomerContact.objects.count() == 0


def test_the_link_in_the_mail_works_on_a_host_without_the_demo_shop(
    attempt: PaymentAttempt, mail_server: Mailbox, client: Client, customer: User
) -> None:
    send_due()
    url = mail_server.mails[0]["List-Unsubscribe"].strip("<> \r\n")
    page = client.post(url.removeprefix("http://127.0.0.1:8000"))
    assert (page.status_code, is_stopped(customer)) == (200, True)
    assert "/shop/" not in page.content.decode()


# Staff


def test_staff_sees_what_was_sent_and_changes_none_of_it(
    client: Client, attempt: PaymentAttempt, mail_server: Mailbox
) -> None:
    send_due()
    client.force_login(User.objects.create_superuser("root"))
    row = attempt.reminders.get()
    for path in ("reminder/", f"reminder/{row.pk}/change/", f"paymentattempt/{attempt.pk}/change/"):
        page = client.get(f"/admin/payments/{path}").content.decode()
        assert "sent" in page, path
        assert "email" in page, path
        assert "ada@example.com" not in page, path
    assert attempt.public_id in client.get("/admin/payments/reminder/?q=ORD-1").content.decode()
    for path in ("reminder/add/", f"reminder/{row.pk}/delete/"):
        assert client.get(f"/admin/payments/{path}").status_code == 403, path


def test_staff_lets_reminders_begin_again(attempt: PaymentAttempt, mail_server: Mailbox, path: str) -> None:
    browser = Client()
    browser.post(path)
    browser.force_login(User.objects.create_superuser("root"))
    contact = CustomerContact.objects.get()
    form = f"/admin/payments/customercontact/{contact.pk}/change/"
    answer = browser.post(form, {"phone": "0151 12345678", "reminders_stopped_at_0": "", "reminders_stopped_at_1": ""})
    assert "Write the number as in +4915112345678" in answer.content.decode()
    answer = browser.post(form, {"phone": "+4915112345678", "reminders_stopped_at_0": "", "reminders_stopped_at_1": ""})
    assert answer.status_code == 302
    contact.refresh_from_db()
    assert (contact.phone, contact.reminders_stopped_at) == ("+4915112345678", None)
    assert send_due().sent == 1


@pytest.mark.parametrize("phone", ["0151", "+0151234567", "+49 151 12345678", "+4915112345678\n"])
def test_the_database_refuses_a_phone_that_nobody_can_call(customer: User, phone: str) -> None:
    with pytest.raises(IntegrityError, match="contact_phone_is_e164"):
        CustomerContact.objects.create(customer=customer, phone=phone)


# Settings


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        ("PAYMENT_SMS_SENDER", "nowhere.Sender", "'nowhere.Sender', which cannot be imported"),
        ("PAYMENT_SMS_SENDER", "payments.messaging.sms.send_sms", "no class with a method send"),
        ("PAYMENT_SMS_SENDER", "payments.messaging.texts.Texts", "no class with a method send"),
        ("PAYMENT_PUBLIC_URL", "", "PAYMENT_PUBLIC_URL is ''"),
        ("PAYMENT_PUBLIC_URL", "pay.example", "PAYMENT_PUBLIC_URL is 'pay.example'"),
        ("PAYMENT_PAGE_URL", "https://pay.example/", "{payment_id}"),
        ("PAYMENT_PAGE_URL", "https://pay.example/{order}/", "{payment_id}"),
        ("PAYMENT_PAGE_URL", "/pay/{payment_id}/", "{payment_id}"),
    ],
)
def test_settings_that_would_send_nobody_anywhere_refuse_to_start(
    settings: Settings, setting: str, value: str, named: str
) -> None:
    setattr(settings, setting, value)
    with pytest.raises(SystemCheckError) as refused:
        call_command("check")
    assert setting in str(refused.value)
    assert named in str(refused.value)


def test_without_reminders_no_address_is_needed(settings: Settings) -> None:
    settings.PAYMENT_PUBLIC_URL = settings.PAYMENT_PAGE_URL = ""
    settings.PAYMENT_REMINDER_LEAD_MINUTES = 0
    call_command("check")
    settings.PAYMENT_REMINDER_LEAD_MINUTES = 5
    settings.PAYMENT_REMINDER_EMAIL, settings.PAYMENT_SMS_SENDER = False, ""
    call_command("check")
