"""What must hold before anything starts: `manage.py check` refuses limits that do not fit, naming the numbers."""

import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from payments import config, limits, policies
from payments.domain.money import MINOR_DIGITS
from payments.domain.signatures import secret_key
from payments.gateways import registry


def refuse_to_start() -> None:
    """Stop a process whose limits contradict each other; web servers and workers run no checks by themselves.

    :raises ImproperlyConfigured: with every problem that was found.
    """
    checks = (check_limits, check_methods, check_announcements, check_reminders)
    problems = [str(problem.msg) for check in checks for problem in check(None)]
    if problems:
        raise ImproperlyConfigured("; ".join(problems))


@register(Tags.compatibility)
def check_limits(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """Refuse limits that contradict each other, naming both numbers (payments/limits.py)."""
    problems = [str(relation) for relation in limits.relations() if not relation.holds]
    threads = config.limits().sweep_threads
    if threads < 1:
        problems.append(f"PAYMENT_SWEEP_THREADS ({threads}) must be at least 1: nobody would end a backlog")
    return [Error(problem, id="payments.E001") for problem in problems]


@register(Tags.compatibility)
def check_methods(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """Refuse a method whose gateway does not exist or takes no such window, and an unknown currency."""
    problems = [
        f"PAYMENT_METHODS[{method.name!r}] names the gateway {method.gateway!r}; known are {registry.names()}"
        for method in config.payment_methods().values()
        if method.gateway not in registry.names()
    ]
    problems += [problem for method in config.payment_methods().values() for problem in _window_problems(method)]
    problems += [
        f"PAYMENT_CURRENCIES contains {currency!r}; known are {sorted(MINOR_DIGITS)}"
        for currency in sorted(config.currencies())
        if currency not in MINOR_DIGITS
    ]
    return [Error(problem, id="payments.E002") for problem in problems]


def _window_problems(method: config.PaymentMethod) -> Iterator[str]:
    """Find a window that the method's gateway does not take. A policy is not refused: it is held to the limits."""
    try:
        gateway = policies.gateway_window(method)
    except KeyError as missing:
        yield f"PAYMENT_GATEWAYS lacks {missing}, which the gateway {method.gateway!r} needs"
        return
    if not gateway.takes(window_minutes=method.window_minutes):
        window = f"{method.window_setting} ({method.window_minutes} minutes)"
        yield f"{window} is not what the gateway {method.gateway!r} takes ({gateway})"


@register(Tags.compatibility)
def check_announcements(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """Refuse a hook that cannot be called, and a webhook that cannot be signed or reached."""
    known = config.announcements()
    problems = [f"PAYMENT_ANNOUNCEMENT_HOOK {problem}" for problem in _hook_problems(known.hook)]
    for name, webhook in known.webhooks.items():
        problems += [f"PAYMENT_ANNOUNCEMENT_WEBHOOKS[{name!r}] {problem}" for problem in _webhook_problems(webhook)]
    return [Error(problem, id="payments.E003") for problem in problems]


@register(Tags.compatibility)
def check_reminders(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """Refuse a sender of SMS that cannot send, and links in reminders that would lead nowhere."""
    known = config.reminders()
    problems = [f"PAYMENT_SMS_SENDER {problem}" for problem in _sender_problems(known.sms_sender)]
    leads = [method.reminder_lead_minutes for method in config.payment_methods().values()]
    if known.channels and any(leads):
        if not _is_address(known.public_url) or "?" in known.public_url:
            problems.append(f"PAYMENT_PUBLIC_URL is {known.public_url!r}, and reminders need https://host")
        try:
            page = known.page_url.format(payment_id="pay_0")
        except (LookupError, ValueError):
            page = ""
        if not _is_address(page) or page == known.page_url:
            problems.append(
                f"PAYMENT_PAGE_URL is {known.page_url!r}, and reminders need https://host/.../{{payment_id}}"
            )
    return [Error(problem, id="payments.E005") for problem in problems]


def _sender_problems(path: str) -> list[str]:
    if not path:
        return []
    try:
        sender = import_string(path)
    except Exception as error:  # noqa: BLE001 - importing runs the host's code, which may raise anything
        return [f"is {path!r}, which cannot be imported: {error}"]
    is_sender = isinstance(sender, type) and callable(getattr(sender, "send", None))
    return [] if is_sender else [f"is {path!r}, which is no class with a method send(to, text)"]


def _hook_problems(path: str) -> list[str]:
    if not path:
        return []
    try:
        hook = import_string(path)
    except Exception as error:  # noqa: BLE001 - importing runs the host's code, which may raise anything
        return [f"is {path!r}, which cannot be imported: {error}"]
    return [] if callable(hook) else [f"is {path!r}, which cannot be called"]


def _webhook_problems(webhook: config.Webhook) -> list[str]:
    """List what is wrong, without repeating a secret."""
    problems = []
    if not re.fullmatch(r"[a-z0-9_-]{1,40}", webhook.name):
        problems.append("needs a name of at most 40 small letters, digits, - and _")
    if not _is_address(webhook.url):
        problems.append("has no 'url' of the form https://host/path, without credentials or a fragment")
    if not webhook.secrets:
        problems.append("has no 'secrets' to sign with")
    for position, secret in enumerate(webhook.secrets):
        try:
            secret_key(secret)
        except ValueError as error:
            problems.append(f"has an unusable secret at position {position}: {error}")
    return problems


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    is_plain = url.isascii() and url.isprintable() and " " not in url
    has_host = parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0
    return is_plain and has_host and parts.username is None and parts.password is None and not parts.fragment
