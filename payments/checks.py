"""What must hold before anything starts: `manage.py check` refuses limits that do not fit, naming the numbers."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from payments import config, keysets, limits, policies, ratelimits
from payments.domain import returns
from payments.domain.money import MINOR_DIGITS
from payments.domain.signatures import secret_key
from payments.gateways import registry

MAX_LEEWAY_SECONDS = 60
MIN_SIGNING_KEY_BYTES = 32  # As many as the hash has: RFC 7518, section 3.2.


def refuse_to_start() -> None:
    """Stop a process whose limits contradict each other; web servers and workers run no checks by themselves.

    :raises ImproperlyConfigured: with every problem that was found.
    """
    checks = (
        check_limits,
        check_methods,
        check_announcements,
        check_reminders,
        check_tokens,
        check_rate_limits,
        check_returns,
    )
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
    """Refuse a method that its gateway cannot do, one without a gateway, and an unknown currency."""
    problems = [
        f"PAYMENT_METHODS[{method.name!r}] names the gateway {method.gateway!r}; known are {registry.names()}"
        for method in config.payment_methods().values()
        if method.gateway not in registry.names()
    ]
    problems += [problem for method in config.payment_methods().values() for problem in _gateway_problems(method)]
    problems += [
        f"PAYMENT_CURRENCIES contains {currency!r}; known are {sorted(MINOR_DIGITS)}"
        for currency in sorted(config.currencies())
        if currency not in MINOR_DIGITS
    ]
    return [Error(problem, id="payments.E002") for problem in problems]


def _gateway_problems(method: config.PaymentMethod) -> Iterator[str]:
    """Find what the method's gateway cannot do. A policy is not refused: it is held to the limits."""
    if method.gateway not in registry.names():
        return
    if missing := registry.missing(method.gateway):
        lacks = f"PAYMENT_GATEWAYS[{method.gateway!r}] lacks {' and '.join(missing)}"
        yield f"{lacks}: the gateway is off, and PAYMENT_METHODS[{method.name!r}] names it"
        return
    if method.gateway == "stripe" and "STRIPE_LOG" in os.environ:
        yield "STRIPE_LOG is set: Stripe's library would print requests, payment tokens included, to stderr"
    capabilities = registry.gateway(method.gateway).capabilities
    gateway, own = policies.gateway_window(method), f"PAYMENT_METHODS[{method.name!r}]"
    if not gateway.takes(window_minutes=method.window_minutes):
        window = f"{method.window_setting} ({method.window_minutes} minutes)"
        yield f"{window} is not what the gateway {method.gateway!r} takes ({gateway})"
    if method.is_hosted and not capabilities.hosts_pages:
        yield f"{own}['hosted'] is True, and the gateway {method.gateway!r} has no page of its own"
    if method.is_hosted and not config.returns().public_url:
        yield f"{own}['hosted'] is True, and PAYMENT_PUBLIC_URL is empty: nobody would come back from there"
    if not method.is_hosted and not capabilities.takes_tokens:
        yield f"{own} needs 'hosted': True, as the gateway {method.gateway!r} takes no payment tokens"
    taken = method.currencies if capabilities.currencies is None else capabilities.currencies
    if not method.currencies <= taken:
        refused = ", ".join(sorted(method.currencies - taken))
        yield (
            f"{own} would take {refused} by {method.currencies_setting}, and the gateway {method.gateway!r} takes only "
            f"{', '.join(sorted(taken))}"
        )
    if not method.currencies or not method.currencies <= config.currencies():
        yield (
            f"{own}['currencies'] ({', '.join(sorted(method.currencies))}) has to be some of PAYMENT_CURRENCIES "
            f"({', '.join(sorted(config.currencies()))})"
        )


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


@register(Tags.security)
def check_tokens(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """Refuse an algorithm, a key or a set of keys that tokens cannot be verified with, or not safely."""
    return [Error(problem, id="payments.E006") for problem in _token_problems(config.token_rules())]


def _token_problems(rules: config.TokenRules) -> Iterator[str]:
    if not 0 <= rules.leeway_seconds <= MAX_LEEWAY_SECONDS:
        yield (
            f"JWT_LEEWAY_SECONDS ({rules.leeway_seconds}) must be 0 to {MAX_LEEWAY_SECONDS}: "
            "so long a token that has expired still counts"
        )
    has_jwks = [bool(rules.jwks_file), bool(rules.jwks_url)]
    if rules.is_symmetric:
        key_bytes = len(rules.signing_key.encode())
        if key_bytes < MIN_SIGNING_KEY_BYTES:
            yield f"JWT_SIGNING_KEY has {key_bytes} bytes; HS256 needs {MIN_SIGNING_KEY_BYTES} (RFC 7518, section 3.2)"
        if any(has_jwks):
            yield "JWT_JWKS_FILE or JWT_JWKS_URL is set, but JWT_ALGORITHM is 'HS256', which has no public keys"
    elif rules.algorithm not in keysets.KEY_TYPES:
        yield f"JWT_ALGORITHM is {rules.algorithm!r}; known are {['HS256', *sorted(keysets.KEY_TYPES)]}"
    elif sum(has_jwks) != 1:
        given = "both are" if all(has_jwks) else "neither is"
        yield f"JWT_ALGORITHM {rules.algorithm!r} needs either JWT_JWKS_FILE or JWT_JWKS_URL, and {given} set"
    elif rules.jwks_file:
        yield from _jwks_file_problems(rules)
    elif not _is_private_address(rules.jwks_url):
        yield f"JWT_JWKS_URL is {rules.jwks_url!r}; it must be https://..., since whoever changes the keys is anybody"


def _jwks_file_problems(rules: config.TokenRules) -> Iterator[str]:
    try:
        keysets.parse(Path(rules.jwks_file).read_bytes(), algorithm=rules.algorithm)
    except OSError as error:
        yield f"JWT_JWKS_FILE cannot be read: {error}"
    except keysets.UnusableKeySet as error:
        yield f"JWT_JWKS_FILE ({rules.jwks_file}) {error}"


def _is_private_address(url: str) -> bool:
    """Whether nobody on the way can read or change what comes from there."""
    if not _is_address(url):
        return False
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in {"localhost", "127.0.0.1", "::1"} or config.is_debugging()


@register(Tags.compatibility)
def check_rate_limits(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """Refuse a limit that nobody reads, and one that cannot be read."""
    problems = []
    for act, limits_of_act in config.rate_limited_acts().items():
        if act not in list(ratelimits.Act):
            problems.append(f"PAYMENT_RATE_LIMITS names {act!r}; known are {[str(known) for known in ratelimits.Act]}")
        for counted, text in (limits_of_act or {}).items():
            where = f"PAYMENT_RATE_LIMITS[{act!r}][{counted!r}]"
            if counted not in {"user", "subject"}:
                problems.append(f"{where} is not known; what is counted is 'user' and 'subject'")
            problems += [f"{where} {problem}" for problem in _rate_problems(text)]
    return [Error(problem, id="payments.E007") for problem in problems]


def _rate_problems(text: str) -> Iterator[str]:
    try:
        if text:
            ratelimits.parsed(text)
    except ValueError:
        yield f"is {text!r}; it must read like '60/minute'"


@register(Tags.compatibility)
def check_returns(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """Refuse kinds of orders whose customers would be sent astray, and targets that are no origins."""
    known = config.returns()
    problems = [
        f"PAYMENT_RETURN_ORIGINS contains {text!r}, and each is https://host or https://host:port"
        for text in settings.PAYMENT_RETURN_ORIGINS
        if not _is_target(text, may_be_local=known.may_be_local)
    ]
    if (known.public_url or known.kinds) and not (_is_address(known.public_url) and "?" not in known.public_url):
        problems.append(
            f"PAYMENT_PUBLIC_URL is {known.public_url!r}, and hosted pages need https://host to lead back to"
        )
    for name, options_of_kind in settings.PAYMENT_ORDER_KINDS.items():
        setting = f"PAYMENT_ORDER_KINDS[{name!r}]"
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name):
            problems.append(f"{setting} needs a name of at most 32 small letters, digits, - and _")
        unknown = sorted(set(options_of_kind) - {"success_url", "failure_url"})
        problems += [f"{setting} has {one!r}; known are 'success_url' and 'failure_url'" for one in unknown]
        if len({"success_url", "failure_url"} & set(options_of_kind)) == 1:
            problems.append(f"{setting} needs both of 'success_url' and 'failure_url', or neither")
        for one in sorted({"success_url", "failure_url"} & set(options_of_kind)):
            found = returns.problems(options_of_kind[one], origins=known.origins, may_be_local=known.may_be_local)
            problems += [f"{setting}[{one!r}] {problem}: {options_of_kind[one]!r}" for problem in found]
    return [Error(problem, id="payments.E008") for problem in problems]


def _is_target(text: str, *, may_be_local: bool) -> bool:
    origin = returns.origin_alone(text)
    return origin is not None and returns.is_secure(origin, may_be_local=may_be_local)


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
