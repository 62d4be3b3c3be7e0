"""How mail leaves, as the environment says it; and the task that sends."""

import runpy
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from payments.models import PaymentAttempt
from tests.contract.sandbox_server import wait_until
from tests.integration.reminding.helpers import states
from tests.mailbox import Fault, Mailbox
from workers import reminding

NAMES = ("HOST", "PORT", "HOST_USER", "HOST_PASSWORD", "USE_TLS", "USE_SSL")


def mail_settings(checkout_folder: Path) -> dict[str, Any]:
    return runpy.run_path(str(checkout_folder / "project" / "settings" / "mail.py"))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example", ("mail.example", 25, "", "", False, False)),
        ("smtp+tls://u%40x:p%2Fw@mail.example", ("mail.example", 587, "u@x", "p/w", True, False)),
        ("smtps://u:p@mail.example:2465", ("mail.example", 2465, "u", "p", False, True)),
    ],
)
def test_mail_leaves_as_the_url_says(
    monkeypatch: pytest.MonkeyPatch, checkout_folder: Path, url: str, expected: tuple[object, ...]
) -> None:
    monkeypatch.setenv("EMAIL_URL", url)
    found = mail_settings(checkout_folder)
    assert found["EMAIL_BACKEND"] == "django.core.mail.backends.smtp.EmailBackend"
    assert tuple(found[f"EMAIL_{name}"] for name in NAMES) == expected


def test_without_a_url_mail_goes_to_the_terminal(monkeypatch: pytest.MonkeyPatch, checkout_folder: Path) -> None:
    monkeypatch.delenv("EMAIL_URL", raising=False)
    assert mail_settings(checkout_folder)["EMAIL_BACKEND"] == "django.core.mail.backends.console.EmailBackend"


@pytest.mark.parametrize("url", ["mail.example", "http://u:secret@mail.example", "smtp://", "smtp://u:secret@h:x"])
def test_a_url_that_is_none_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, checkout_folder: Path, url: str
) -> None:
    monkeypatch.setenv("EMAIL_URL", url)
    with pytest.raises(ImproperlyConfigured, match="EMAIL_URL") as refused:
        mail_settings(checkout_folder)
    assert "secret" not in str(refused.value)


@pytest.mark.django_db(transaction=True)
def test_a_process_has_one_run_at_a_time(attempt: PaymentAttempt, mail_server: Mailbox) -> None:
    mail_server.faults.append(Fault.SILENT_AFTER_DATA)
    first = threading.Thread(target=_run)
    first.start()
    wait_until(lambda: len(mail_server.mails) == 1, what="the first run hangs")
    reminding.send_reminders()
    assert states() == [("email", "sending", "", 1)]
    first.join()
    assert states() == [("email", "unknown", "SMTPServerDisconnected", 1)]
    reminding.send_reminders()  # It runs again.
    assert mail_server.conversations == 1


def _run() -> None:
    from django.db import connection

    try:
        reminding.send_reminders()
    finally:
        connection.close()
