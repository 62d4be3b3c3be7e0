"""What refuses to start, and how it says so."""

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django import Settings


@pytest.mark.parametrize("minutes", [4, 1441, 0, -5])
def test_a_window_outside_the_bounds_refuses_to_start(settings: Settings, minutes: int) -> None:
    settings.ORDER_PAYMENT_TIMEOUT_MINUTES = minutes
    with pytest.raises(SystemCheckError) as refused:
        call_command("check")
    for part in ("ORDER_PAYMENT_TIMEOUT_MINUTES", str(minutes), "5", "1440"):
        assert part in str(refused.value)


def test_a_method_with_a_window_of_its_own_is_named(settings: Settings) -> None:
    settings.PAYMENT_METHODS = {"upi": {"gateway": "sandbox", "window_minutes": 3}}
    with pytest.raises(SystemCheckError, match=r"PAYMENT_METHODS\['upi'\]\['window_minutes'\] is 3 minutes"):
        call_command("check")


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        ("PAYMENT_GATEWAY_CONNECT_SECONDS", 30, ["PAYMENT_GATEWAY_CONNECT_SECONDS (30)", "TOTAL_SECONDS (30)"]),
        ("PAYMENT_LEASE_SECONDS", 30, ["PAYMENT_LEASE_SECONDS (30)", "PAYMENT_GATEWAY_TOTAL_SECONDS"]),
        ("PAYMENT_METHODS", {"card": {"gateway": "nowhere"}}, ["'nowhere'", "sandbox"]),
        ("PAYMENT_CURRENCIES", ["USD", "ZZZ"], ["'ZZZ'"]),
    ],
)
def test_settings_that_contradict_each_other_are_both_named(
    settings: Settings, setting: str, value: object, named: list[str]
) -> None:
    setattr(settings, setting, value)
    with pytest.raises(SystemCheckError) as refused:
        call_command("check")
    for part in named:
        assert part in str(refused.value)


def test_the_shipped_settings_are_accepted() -> None:
    call_command("check")
