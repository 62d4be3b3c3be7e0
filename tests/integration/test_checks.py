"""What refuses to start, and how it says so."""

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django import Settings

from tests.contract.sandbox_server import SandboxProcess


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
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


@pytest.mark.parametrize(
    ("limits", "window_minutes", "named"),
    [
        ({"longest_window_seconds": "3600"}, 61, "(61 minutes) is not what the gateway 'sandbox' takes (0 to 3600 s)"),
        ({"shortest_window_seconds": "1800"}, 29, "(29 minutes) is not what the gateway 'sandbox' takes (from 1800 s)"),
        ({"longest_window_seconds": "3600"}, 60, None),
        ({"shortest_window_seconds": "1800"}, 30, None),
    ],
)
def test_a_window_that_the_gateway_does_not_take_refuses_to_start(
    settings: Settings, sandbox: SandboxProcess, limits: dict[str, str], window_minutes: int, named: str | None
) -> None:
    settings.PAYMENT_GATEWAYS = {"sandbox": {"url": sandbox.url, "api_key": "sk", **limits}}
    settings.PAYMENT_METHODS = {"card": {"gateway": "sandbox", "window_minutes": window_minutes}}
    if named is None:
        call_command("check")
        return
    with pytest.raises(SystemCheckError) as refused:
        call_command("check")
    assert f"PAYMENT_METHODS['card']['window_minutes'] {named}" in str(refused.value)


def test_a_gateway_without_its_settings_refuses_to_start(settings: Settings, sandbox: SandboxProcess) -> None:
    settings.PAYMENT_GATEWAYS = {}
    with pytest.raises(
        SystemCheckError, match=r"PAYMENT_GATEWAYS\['sandbox'\] lacks url and api_key: the gateway is off"
    ):
        call_command("check")


def test_the_shipped_settings_are_accepted() -> None:
    call_command("check")
