"""Who is told: what the settings and the environment may say, and that somebody runs the deliveries."""

import base64
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django import Settings

from payments import config
from payments.domain.signatures import secret_key
from project.run import read_procfile
from tests import hooks
from tests.receiver import NEW_SECRET, OLD_SECRET

GOOD = {"url": "https://shop.example/hooks/?a=b", "secrets": [NEW_SECRET, OLD_SECRET]}


def refusal() -> str:
    with pytest.raises(SystemCheckError) as refused:
        call_command("check")
    return str(refused.value)


def test_a_hook_and_several_webhooks_are_accepted(settings: Settings) -> None:
    settings.PAYMENT_ANNOUNCEMENT_HOOK = hooks.PATH
    settings.PAYMENT_ANNOUNCEMENT_WEBHOOKS = {"shop": GOOD, "books": GOOD | {"url": "http://10.0.0.7:8080"}}
    call_command("check")
    assert config.announcements().destinations == ["hook", "webhook:shop", "webhook:books"]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("no.such.module", "cannot be imported"),
        ("tests.hooks.missing", "cannot be imported"),
        ("nonsense", "cannot be imported"),
        ("tests.hooks.NOT_A_FUNCTION", "cannot be called"),
    ],
)
def test_a_hook_that_cannot_be_called_refuses_to_start(settings: Settings, path: str, problem: str) -> None:
    settings.PAYMENT_ANNOUNCEMENT_HOOK = path
    assert f"PAYMENT_ANNOUNCEMENT_HOOK is '{path}', which {problem}" in refusal()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example/hooks",
        "ftp://shop.example/",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://user:secret@shop.example/",
        "https://shop.example/#part",
        "https://shop.example:99999/",
        "https://shop.example:0/",
        "https://shop.example/a b",
        "https://sh\u00f6p.example/",
        "https://shop.example/\r\nX: y",
        "https://[::1/",
    ],
)
def test_a_webhook_with_a_bad_address_refuses_to_start(settings: Settings, url: str) -> None:
    settings.PAYMENT_ANNOUNCEMENT_WEBHOOKS = {"shop": GOOD | {"url": url}}
    assert "PAYMENT_ANNOUNCEMENT_WEBHOOKS['shop'] has no 'url'" in refusal()


@pytest.mark.parametrize("options", [{"url": GOOD["url"]}, GOOD | {"secrets": []}])
def test_a_webhook_without_secrets_refuses_to_start(settings: Settings, options: dict[str, Any]) -> None:
    settings.PAYMENT_ANNOUNCEMENT_WEBHOOKS = {"shop": options}
    assert "PAYMENT_ANNOUNCEMENT_WEBHOOKS['shop'] has no 'secrets'" in refusal()


@pytest.mark.parametrize("secret", ["", "bare-and-not-random", "whsec_short", "whsec_c2hvcnQ=", "whsec_!" + "A" * 40])
def test_a_secret_that_is_none_refuses_to_start_and_is_not_printed(settings: Settings, secret: str) -> None:
    settings.PAYMENT_ANNOUNCEMENT_WEBHOOKS = {"shop": GOOD | {"secrets": [NEW_SECRET, secret]}}
    text = refusal()
    assert "PAYMENT_ANNOUNCEMENT_WEBHOOKS['shop'] has an unusable secret at position 1" in text
    assert not secret or secret not in text
    assert NEW_SECRET not in text


@pytest.mark.parametrize(("size", "is_fine"), [(23, False), (24, True), (64, True), (65, False)])
def test_a_secret_has_24_to_64_bytes(size: int, is_fine: bool) -> None:
    secret = "whsec_" + base64.b64encode(b"x" * size).decode()
    if is_fine:
        assert secret_key(secret) == b"x" * size
    else:
        with pytest.raises(ValueError, match="24 to 64"):
            secret_key(secret)


@pytest.mark.parametrize("name", ["Shop", "", "a b", "x" * 41])
def test_a_webhook_needs_a_name_that_fits_its_rows(settings: Settings, name: str) -> None:
    settings.PAYMENT_ANNOUNCEMENT_WEBHOOKS = {name: GOOD}
    assert f"PAYMENT_ANNOUNCEMENT_WEBHOOKS[{name!r}] needs a name" in refusal()


def test_secrets_do_not_show_where_the_settings_are_printed(settings: Settings) -> None:
    settings.PAYMENT_ANNOUNCEMENT_WEBHOOKS = {"shop": GOOD}
    assert NEW_SECRET not in repr(config.announcements())


def run_check(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "project.settings.test", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"PAYMENT_ANNOUNCEMENT_WEBHOOK_URL": "https://shop.example/"}, "has no 'secrets'"),
        ({"PAYMENT_ANNOUNCEMENT_WEBHOOK_SECRETS": NEW_SECRET}, "has no 'url'"),
        (
            {
                "PAYMENT_ANNOUNCEMENT_WEBHOOK_URL": "https://shop.example/",
                "PAYMENT_ANNOUNCEMENT_WEBHOOK_SECRETS": f"{NEW_SECRET}, {OLD_SECRET}",
            },
            None,
        ),
    ],
)
def test_the_environment_describes_one_webhook(environment: dict[str, str], problem: str | None) -> None:
    done = run_check(**environment)
    assert (done.returncode == 0) == (problem is None), done.stderr
    if problem is not None:
        assert f"PAYMENT_ANNOUNCEMENT_WEBHOOKS['shop'] {problem}" in done.stderr


def test_every_queue_has_one_process_that_serves_it(checkout_folder: Path) -> None:
    served: list[str] = []
    for command in read_procfile(checkout_folder / "Procfile").values():
        words = shlex.split(command)
        if "--queues" in words:
            served += words[words.index("--queues") + 1].split(",")
    assert sorted(served) == sorted({route["queue"] for route in django_settings.CELERY_TASK_ROUTES.values()})
