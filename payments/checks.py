"""What must hold before anything starts: `manage.py check` refuses limits that do not fit, naming the numbers."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured

from payments import config
from payments.domain.money import MINOR_DIGITS
from payments.domain.window import window_violation
from payments.gateways import registry


def refuse_to_start() -> None:
    """Stop a process whose limits contradict each other; web servers and workers run no checks by themselves.

    :raises ImproperlyConfigured: with every problem that was found.
    """
    checks = (check_windows, check_limits, check_methods)
    problems = [str(problem.msg) for check in checks for problem in check(None)]
    if problems:
        raise ImproperlyConfigured("; ".join(problems))


@register(Tags.compatibility)
def check_windows(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """Refuse a payment window outside 5 minutes to 24 hours (requirement W4)."""
    found = {
        method.window_setting: window_violation(setting=method.window_setting, minutes=method.window_minutes)
        for method in config.payment_methods().values()
    }
    return [Error(violation, id="payments.E001") for violation in found.values() if violation]


@register(Tags.compatibility)
def check_limits(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """Refuse durations that contradict each other."""
    limits = config.limits()
    problems = []
    if not limits.gateway_connect_seconds < limits.gateway_total_seconds:
        problems.append(
            f"PAYMENT_GATEWAY_CONNECT_SECONDS ({limits.gateway_connect_seconds}) must be less than "
            f"PAYMENT_GATEWAY_TOTAL_SECONDS ({limits.gateway_total_seconds})"
        )
    if not limits.gateway_total_seconds < limits.lease_seconds:
        problems.append(
            f"PAYMENT_LEASE_SECONDS ({limits.lease_seconds}) must be more than PAYMENT_GATEWAY_TOTAL_SECONDS "
            f"({limits.gateway_total_seconds}): a living worker would lose its claim during the call"
        )
    return [Error(problem, id="payments.E002") for problem in problems]


@register(Tags.compatibility)
def check_methods(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """Refuse a method whose gateway does not exist, and a currency whose minor units are unknown."""
    problems = [
        f"PAYMENT_METHODS[{method.name!r}] names the gateway {method.gateway!r}; known are {registry.names()}"
        for method in config.payment_methods().values()
        if method.gateway not in registry.names()
    ]
    problems += [
        f"PAYMENT_CURRENCIES contains {currency!r}; known are {sorted(MINOR_DIGITS)}"
        for currency in sorted(config.currencies())
        if currency not in MINOR_DIGITS
    ]
    return [Error(problem, id="payments.E003") for problem in problems]
