"""Each relation between the limits, broken once: refused at the start, with both numbers named."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings
from pytest_django import Settings

from payments import limits
from payments.models import PaymentMethodPolicy

NO_LIMITS: dict[str, Any] = {
    "CELERY_BROKER_TRANSPORT_OPTIONS": {},
    "CELERY_TASK_SOFT_TIME_LIMIT": None,
    "CELERY_TASK_TIME_LIMIT": None,
}

# What is set, and the two sides that then no longer fit.
BREAKS: list[tuple[dict[str, Any], str, str]] = [
    ({"ORDER_PAYMENT_TIMEOUT_MINUTES": 4}, "ORDER_PAYMENT_TIMEOUT_MINUTES (4 minutes)", "window (5 minutes)"),
    ({"ORDER_PAYMENT_TIMEOUT_MINUTES": 1441}, "ORDER_PAYMENT_TIMEOUT_MINUTES (1441 minutes)", "hold (1440 minutes)"),
    (
        {"PAYMENT_METHODS": {"upi": {"gateway": "sandbox", "window_minutes": 3}}},
        "PAYMENT_METHODS['upi']['window_minutes'] (3 minutes)",
        "window (5 minutes)",
    ),
    ({"PAYMENT_GRACE_SECONDS": -1}, "PAYMENT_GRACE_SECONDS (-1 s)", "zero (0 s)"),
    ({"PAYMENT_GRACE_SECONDS": 301}, "PAYMENT_GRACE_SECONDS (301 s)", "the longest grace (300 s)"),
    (
        {"ORDER_PAYMENT_TIMEOUT_MINUTES": 480},
        "3 x (ORDER_PAYMENT_TIMEOUT_MINUTES + PAYMENT_GRACE_SECONDS) (1441.5 minutes)",
        "hold (1440 minutes)",
    ),
    ({"PAYMENT_REMINDER_LEAD_MINUTES": -1}, "PAYMENT_REMINDER_LEAD_MINUTES (-1 minutes)", "zero (0 minutes)"),
    (
        {"PAYMENT_METHODS": {"upi": {"gateway": "sandbox", "window_minutes": 9, "reminder_lead_minutes": 9}}},
        "PAYMENT_METHODS['upi']['reminder_lead_minutes'] (9 minutes)",
        "PAYMENT_METHODS['upi']['window_minutes'] (9 minutes)",
    ),
    ({"EMAIL_TIMEOUT": None}, "EMAIL_TIMEOUT (inf s)", "PAYMENT_REMINDER_TOTAL_SECONDS (20 s)"),
    (
        {"PAYMENT_REMINDER_TOTAL_SECONDS": 45},
        "PAYMENT_REMINDER_TOTAL_SECONDS (45 s)",
        "PAYMENT_REMINDER_LEASE_SECONDS (45 s)",
    ),
    ({"PAYMENT_REMINDER_RETRY_SECONDS": 0}, "zero (0 s)", "PAYMENT_REMINDER_RETRY_SECONDS (0 s)"),
    (
        {"PAYMENT_LATE_ALLOWANCE_SECONDS": 86_400},
        "PAYMENT_GRACE_SECONDS + PAYMENT_LATE_ALLOWANCE_SECONDS (86430 s)",
        "the longest hold after the window (86400 s)",
    ),
    ({"PAYMENT_LATE_ALLOWANCE_SECONDS": -1}, "PAYMENT_LATE_ALLOWANCE_SECONDS (-1 s)", "zero (0 s)"),
    (
        {"PAYMENT_GATEWAY_CONNECT_SECONDS": 30},
        "PAYMENT_GATEWAY_CONNECT_SECONDS (30 s)",
        "PAYMENT_GATEWAY_TOTAL_SECONDS (30 s)",
    ),
    (
        {"PAYMENT_LEASE_SECONDS": 40},
        "PAYMENT_GATEWAY_TOTAL_SECONDS + PAYMENT_LEASE_MARGIN_SECONDS (40 s)",
        "PAYMENT_LEASE_SECONDS (40 s)",
    ),
    (
        {"PAYMENT_STALE_CHECK_SECONDS": 10},
        "PAYMENT_STALE_CHECK_SECONDS (10 s)",
        "PAYMENT_LEASE_MARGIN_SECONDS (10 s)",
    ),
    (
        {"PAYMENT_FEEDBACK_SECONDS": 14},
        "PAYMENT_FEEDBACK_SECONDS (14 s)",
        "half of PAYMENT_GATEWAY_TOTAL_SECONDS (15 s)",
    ),
    ({"PAYMENT_GATE_MARGIN_SECONDS": 0}, "PAYMENT_GATEWAY_TOTAL_SECONDS (30 s)", "the in-flight gate (30 s)"),
    ({"PAYMENT_WEBHOOK_WAIT_SECONDS": 30}, "TOTAL_SECONDS (30 s)", "PAYMENT_WEBHOOK_WAIT_SECONDS (30 s)"),
    (
        NO_LIMITS | {"CELERY_BROKER_TRANSPORT_OPTIONS": {"visibility_timeout": 42}},
        "PAYMENT_LEASE_SECONDS (42 s)",
        "['visibility_timeout'] (42 s)",
    ),
    (
        NO_LIMITS | {"CELERY_BROKER_TRANSPORT_OPTIONS": {"visibility_timeout": 160}},
        "4 x (PAYMENT_GATEWAY_TOTAL_SECONDS + PAYMENT_LEASE_MARGIN_SECONDS) (160 s)",
        "['visibility_timeout'] (160 s)",
    ),
    (
        NO_LIMITS | {"CELERY_TASK_SOFT_TIME_LIMIT": 42},
        "PAYMENT_LEASE_SECONDS (42 s)",
        "CELERY_TASK_SOFT_TIME_LIMIT (42 s)",
    ),
    (
        NO_LIMITS | {"CELERY_TASK_SOFT_TIME_LIMIT": 159},
        "4 x (PAYMENT_GATEWAY_TOTAL_SECONDS + PAYMENT_LEASE_MARGIN_SECONDS) (160 s)",
        "CELERY_TASK_SOFT_TIME_LIMIT (159 s)",
    ),
    (NO_LIMITS | {"CELERY_TASK_TIME_LIMIT": 42}, "PAYMENT_LEASE_SECONDS (42 s)", "CELERY_TASK_TIME_LIMIT (42 s)"),
    (
        NO_LIMITS | {"CELERY_TASK_TIME_LIMIT": 160},
        "4 x (PAYMENT_GATEWAY_TOTAL_SECONDS + PAYMENT_LEASE_MARGIN_SECONDS) (160 s)",
        "CELERY_TASK_TIME_LIMIT (160 s)",
    ),
    ({"PAYMENT_RESOLVE_AFTER_SECONDS": 0}, "zero (0 s)", "PAYMENT_RESOLVE_AFTER_SECONDS (0 s)"),
    (
        {"PAYMENT_RESOLVE_LONGEST_WAIT_SECONDS": 4},
        "PAYMENT_RESOLVE_AFTER_SECONDS (5 s)",
        "PAYMENT_RESOLVE_LONGEST_WAIT_SECONDS (4 s)",
    ),
    (
        {"PAYMENT_RESOLVE_GIVE_UP_SECONDS": 3599},
        "PAYMENT_RESOLVE_LONGEST_WAIT_SECONDS (3600 s)",
        "PAYMENT_RESOLVE_GIVE_UP_SECONDS (3599 s)",
    ),
    (
        {"PAYMENT_TRANSACTION_SECONDS": 10},
        "PAYMENT_LOCK_WAIT_SECONDS (10 s)",
        "PAYMENT_TRANSACTION_SECONDS (10 s)",
    ),
    ({"PAYMENT_TRANSACTION_SECONDS": 42}, "PAYMENT_TRANSACTION_SECONDS (42 s)", "PAYMENT_LEASE_SECONDS (42 s)"),
    (
        {"PAYMENT_TRANSACTION_SECONDS": 30},
        "PAYMENT_TRANSACTION_SECONDS (30 s)",
        "PAYMENT_IDEMPOTENCY_LEASE_SECONDS (30 s)",
    ),
    (
        {"PAYMENT_SWEEP_PERIOD_SECONDS": 2},
        "PAYMENT_SWEEP_PERIOD_SECONDS (2 s)",
        "PAYMENT_EXPIRY_OBJECTIVE_SECONDS (1 s)",
    ),
    (
        {"PAYMENT_ANNOUNCEMENT_CONNECT_SECONDS": 15},
        "PAYMENT_ANNOUNCEMENT_CONNECT_SECONDS (15 s)",
        "PAYMENT_ANNOUNCEMENT_TOTAL_SECONDS (15 s)",
    ),
    (
        {"PAYMENT_ANNOUNCEMENT_LEASE_SECONDS": 15},
        "PAYMENT_ANNOUNCEMENT_TOTAL_SECONDS (15 s)",
        "PAYMENT_ANNOUNCEMENT_LEASE_SECONDS (15 s)",
    ),
    ({"PAYMENT_ANNOUNCEMENT_FIRST_WAIT_SECONDS": 0}, "zero (0 s)", "PAYMENT_ANNOUNCEMENT_FIRST_WAIT_SECONDS (0 s)"),
    (
        {"PAYMENT_ANNOUNCEMENT_LONGEST_WAIT_SECONDS": 4},
        "PAYMENT_ANNOUNCEMENT_FIRST_WAIT_SECONDS (5 s)",
        "PAYMENT_ANNOUNCEMENT_LONGEST_WAIT_SECONDS (4 s)",
    ),
    (
        {"PAYMENT_ANNOUNCEMENT_GIVE_UP_SECONDS": 3600},
        "PAYMENT_ANNOUNCEMENT_LONGEST_WAIT_SECONDS (3600 s)",
        "PAYMENT_ANNOUNCEMENT_GIVE_UP_SECONDS (3600 s)",
    ),
]


@pytest.mark.parametrize(("changes", "left", "right"), BREAKS, ids=range(len(BREAKS)))
def test_limits_that_contradict_each_other_refuse_to_start_and_are_both_named(
    settings: Settings, changes: dict[str, Any], left: str, right: str
) -> None:
    for name, value in changes.items():
        setattr(settings, name, value)
    with pytest.raises(SystemCheckError) as refused:
        call_command("check")
    lines = str(refused.value).splitlines()
    assert [line for line in lines if left in line and right in line], refused.value


def test_every_relation_is_broken_by_one_of_these() -> None:
    broken = set()
    for changes, _, _ in BREAKS:
        with override_settings(**changes):
            broken |= {(r.compares, r.otherwise) for r in limits.relations() if not r.holds}
    assert broken == {(r.compares, r.otherwise) for r in limits.relations()}


@pytest.mark.django_db
def test_the_shipped_limits_hold(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("verify_timeouts")
    *lines, card, wallet, last = capsys.readouterr().out.splitlines()
    assert len(lines) == len(limits.relations())
    assert all(line.startswith("ok") for line in lines)
    values = "window 15 minutes, grace 30 s, late allowance 300 s, reminder lead 5 minutes"
    assert (card, wallet) == (f"method  card: {values}", f"method  wallet: {values}")
    assert last == f"{len(lines)} relations, 0 broken"


@pytest.mark.django_db
def test_a_broken_relation_ends_the_command_with_1(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    settings.PAYMENT_WEBHOOK_WAIT_SECONDS = 20
    with pytest.raises(SystemExit) as ended:
        call_command("verify_timeouts", "--json")
    assert ended.value.code == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["right"] for row in rows if "holds" in row and not row["holds"]] == [
        {"name": "PAYMENT_WEBHOOK_WAIT_SECONDS", "seconds": 20}
    ]


@pytest.mark.django_db
def test_what_is_not_followed_of_the_policies_is_shown_with_its_reason(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.PAYMENT_METHODS = {"card": {"gateway": "sandbox"}, "upi": {"gateway": "sandbox", "window_minutes": 20}}
    PaymentMethodPolicy.objects.create(method="card", window_minutes=3, grace_seconds=400)
    PaymentMethodPolicy.objects.create(method="beads", window_minutes=60)
    call_command("verify_timeouts")
    assert [line for line in capsys.readouterr().out.splitlines() if not line.startswith("ok")][:-1] == [
        "method  card: window 5 minutes, grace 300 s, late allowance 300 s, reminder lead 4 minutes",
        "CLAMPED card: window_minutes is 5, not 3: a customer needs this long to find a card",
        "CLAMPED card: grace_seconds is 300, not 400: a window that goes on is no window",
        "CLAMPED card: reminder_lead_minutes is 4, not 5: the window is 5 minutes, and a reminder comes inside it",
        "method  upi: window 20 minutes, grace 30 s, late allowance 300 s, reminder lead 5 minutes",
        "UNUSED  beads has a policy and is not offered",
    ]
    call_command("verify_timeouts", "--json")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    card, upi, beads = [row for row in rows if "method" in row]
    assert (card["window_minutes"], card["grace_seconds"], card["offered"]) == (5, 300, True)
    assert [clamp["name"] for clamp in card["clamps"]] == ["window_minutes", "grace_seconds", "reminder_lead_minutes"]
    assert card["clamps"][0] == {
        "name": "window_minutes",
        "wished": 3,
        "holds": 5,
        "reason": "a customer needs this long to find a card",
    }
    assert (upi["window_minutes"], upi["clamps"]) == (20, [])
    assert beads == {"method": "beads", "offered": False}


def test_without_its_database_the_command_shows_the_relations_and_ends_with_1(checkout_folder: Path) -> None:
    nobody_listens = {"DATABASE_URL": "postgresql://postgres@127.0.0.1:9/none", "DJANGO_SETTINGS_MODULE": ""}
    done = subprocess.run(
        [sys.executable, "manage.py", "verify_timeouts", "--settings=project.settings.test"],
        cwd=checkout_folder,
        env={**os.environ, **nobody_listens},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[-1] == f"{len(limits.relations())} relations, 0 broken"
    assert "The policies could not be read: " in done.stderr
