"""What refuses to start, and how it says so."""

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django import Settings


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


def test_the_shipped_settings_are_accepted() -> None:
    call_command("check")
