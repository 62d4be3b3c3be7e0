"""The settings of project/settings/payments.py, read with their types: the only reader of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings

from payments.domain.clock import Topology
from payments.domain.reminders import Channel


@dataclass(frozen=True, slots=True)
class PaymentMethod:
    """One way to pay: which gateway takes it, and how long its window is."""

    name: str
    gateway: str
    window_minutes: int
    window_setting: str  # The setting that a person has to change.
    grace_seconds: int  # After the window: what was authorised inside it may still be captured. Nothing begins here.
    grace_setting: str
    late_allowance_seconds: int  # After the grace: money that is only now seen may still pay the order.
    late_allowance_setting: str
    reminder_lead_minutes: int  # So long before the deadline a reminder goes out; 0: none does.
    reminder_lead_setting: str
    authorizes_first: bool  # Hold the money, look at the clock again, then take it: where the gateway can.

    @property
    def window(self) -> timedelta:
        """The window as a duration."""
        return timedelta(minutes=self.window_minutes)

    @property
    def grace(self) -> timedelta:
        """The grace as a duration."""
        return timedelta(seconds=self.grace_seconds)

    @property
    def late_allowance(self) -> timedelta:
        """The late allowance as a duration."""
        return timedelta(seconds=self.late_allowance_seconds)

    @property
    def reminder_lead(self) -> timedelta:
        """How long before the end of the window a reminder is due, as a duration."""
        return timedelta(minutes=self.reminder_lead_minutes)


@dataclass(frozen=True, slots=True)
class Limits:
    """Every duration and size that the lifecycle works with."""

    gateway_total_seconds: int
    gateway_connect_seconds: int
    feedback_seconds: float
    lease_margin_seconds: int
    lease_seconds: int
    stale_check_seconds: int
    redispatch_seconds: int
    watchdog_patience_seconds: int
    webhook_wait_seconds: int
    resolve_after_seconds: int
    resolve_longest_wait_seconds: int
    resolve_give_up_seconds: int
    sweep_period_seconds: float
    expiry_objective_seconds: int
    sweep_batch_rows: int
    sweep_batches_per_run: int
    sweep_threads: int
    publish_queue_jobs: int
    publish_timeout_seconds: float
    publish_pause_seconds: float
    gate_margin_seconds: int
    gate_timeout_milliseconds: int
    gate_pause_seconds: float
    lock_wait_seconds: int
    idempotency_lease_seconds: int
    idempotency_keep_hours: int

    @property
    def gate_seconds(self) -> int:
        """How long the in-flight gate stays shut after a submission: longer than the longest charge."""
        return self.gateway_total_seconds + self.gate_margin_seconds

    @property
    def longest_queued(self) -> timedelta:
        """The furthest ahead that a queued attempt is due; a due time beyond it is from another clock."""
        return timedelta(seconds=self.redispatch_seconds + self.lease_margin_seconds)

    @property
    def longest_unresolved(self) -> timedelta:
        """The furthest ahead that an attempt is due whose outcome is waited for or asked about."""
        return timedelta(seconds=self.resolve_longest_wait_seconds + self.lease_seconds)


@dataclass(frozen=True, slots=True)
class ClockGuard:
    """What the clock guard works with."""

    look_seconds: float
    hold_seconds: int
    hold_alert_seconds: int


@dataclass(frozen=True, slots=True)
class Limit:
    """When somebody else ends a job, and the setting that says so."""

    setting: str
    seconds: float


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """What the broker and Celery do to a job that takes long; None where they do nothing."""

    visibility_timeout_seconds: Limit | None
    soft_time_limit_seconds: Limit | None
    time_limit_seconds: Limit | None


@dataclass(frozen=True, slots=True)
class Webhook:
    """One receiver of announcements over HTTP."""

    name: str
    url: str
    secrets: tuple[str, ...] = field(repr=False)  # Newest first; each delivery is signed with all of them.


@dataclass(frozen=True, slots=True)
class Announcements:
    """Who is told what happened, and how long is tried."""

    hook: str  # The dotted path of a function of the host; empty when there is none.
    webhooks: Mapping[str, Webhook]
    total_seconds: int
    connect_seconds: int
    lease_seconds: int
    first_wait_seconds: int
    longest_wait_seconds: int
    give_up_seconds: int
    run_seconds: int

    @property
    def longest_due(self) -> timedelta:
        """The furthest ahead that a delivery is due: a lease, or the longest wait."""
        return timedelta(seconds=max(self.lease_seconds, self.longest_wait_seconds))

    @property
    def destinations(self) -> list[str]:
        """Every destination by the name that delivery rows carry."""
        return [*([HOOK] if self.hook else []), *(f"{WEBHOOK_PREFIX}{name}" for name in self.webhooks)]


@dataclass(frozen=True, slots=True)
class Reminders:
    """Over what customers are reminded, where the links lead, and how long is tried."""

    sends_email: bool
    sms_sender: str  # The dotted path of a class of the host; empty when there is none.
    public_url: str
    page_url: str  # With {payment_id} in it.
    from_email: str
    total_seconds: int
    email_timeout_seconds: float  # Of one wait for the mail server; infinite when there is none.
    lease_seconds: int
    retry_seconds: int
    run_seconds: int

    @property
    def channels(self) -> list[Channel]:
        """Every channel that is in use."""
        return [*([Channel.EMAIL] if self.sends_email else []), *([Channel.SMS] if self.sms_sender else [])]


HOOK, WEBHOOK_PREFIX = "hook", "webhook:"


def payment_methods() -> dict[str, PaymentMethod]:
    """Read the methods that are offered, by name."""
    configured: Mapping[str, Mapping[str, Any]] = settings.PAYMENT_METHODS
    return {name: _method(name, options) for name, options in configured.items()}


def payment_method(name: str) -> PaymentMethod:
    """Read one method; for one that is no longer offered, what still holds for its living attempts."""
    configured: Mapping[str, Mapping[str, Any]] = settings.PAYMENT_METHODS
    return _method(name, configured.get(name, {}))


def _method(name: str, options: Mapping[str, Any]) -> PaymentMethod:
    window, window_setting = _own(name, options, "window_minutes", "ORDER_PAYMENT_TIMEOUT_MINUTES")
    grace, grace_setting = _own(name, options, "grace_seconds", "PAYMENT_GRACE_SECONDS")
    allowance, allowance_setting = _own(name, options, "late_allowance_seconds", "PAYMENT_LATE_ALLOWANCE_SECONDS")
    lead, lead_setting = _own(name, options, "reminder_lead_minutes", "PAYMENT_REMINDER_LEAD_MINUTES")
    return PaymentMethod(
        name=name,
        gateway=options.get("gateway", ""),
        window_minutes=window,
        window_setting=window_setting,
        grace_seconds=grace,
        grace_setting=grace_setting,
        late_allowance_seconds=allowance,
        late_allowance_setting=allowance_setting,
        reminder_lead_minutes=lead,
        reminder_lead_setting=lead_setting,
        authorizes_first=options.get("authorizes_first", True),
    )


def _own(name: str, options: Mapping[str, Any], key: str, default: str) -> tuple[int, str]:
    """Give a method's own value or the default, with the setting that it comes from."""
    own = options.get(key)
    return (getattr(settings, default), default) if own is None else (own, f"PAYMENT_METHODS[{name!r}][{key!r}]")


def currencies() -> frozenset[str]:
    """Read the currencies that orders may be in."""
    return frozenset(settings.PAYMENT_CURRENCIES)


def limits() -> Limits:
    """Read the limits."""
    return Limits(
        gateway_total_seconds=settings.PAYMENT_GATEWAY_TOTAL_SECONDS,
        gateway_connect_seconds=settings.PAYMENT_GATEWAY_CONNECT_SECONDS,
        feedback_seconds=settings.PAYMENT_FEEDBACK_SECONDS,
        lease_margin_seconds=settings.PAYMENT_LEASE_MARGIN_SECONDS,
        lease_seconds=settings.PAYMENT_LEASE_SECONDS,
        stale_check_seconds=settings.PAYMENT_STALE_CHECK_SECONDS,
        redispatch_seconds=settings.PAYMENT_REDISPATCH_SECONDS,
        watchdog_patience_seconds=settings.PAYMENT_WATCHDOG_PATIENCE_SECONDS,
        webhook_wait_seconds=settings.PAYMENT_WEBHOOK_WAIT_SECONDS,
        resolve_after_seconds=settings.PAYMENT_RESOLVE_AFTER_SECONDS,
        resolve_longest_wait_seconds=settings.PAYMENT_RESOLVE_LONGEST_WAIT_SECONDS,
        resolve_give_up_seconds=settings.PAYMENT_RESOLVE_GIVE_UP_SECONDS,
        sweep_period_seconds=settings.PAYMENT_SWEEP_PERIOD_SECONDS,
        expiry_objective_seconds=settings.PAYMENT_EXPIRY_OBJECTIVE_SECONDS,
        sweep_batch_rows=settings.PAYMENT_SWEEP_BATCH_ROWS,
        sweep_batches_per_run=settings.PAYMENT_SWEEP_BATCHES_PER_RUN,
        sweep_threads=settings.PAYMENT_SWEEP_THREADS,
        publish_queue_jobs=settings.PAYMENT_PUBLISH_QUEUE_JOBS,
        publish_timeout_seconds=settings.PAYMENT_PUBLISH_TIMEOUT_SECONDS,
        publish_pause_seconds=settings.PAYMENT_PUBLISH_PAUSE_SECONDS,
        gate_margin_seconds=settings.PAYMENT_GATE_MARGIN_SECONDS,
        gate_timeout_milliseconds=settings.PAYMENT_GATE_TIMEOUT_MILLISECONDS,
        gate_pause_seconds=settings.PAYMENT_GATE_PAUSE_SECONDS,
        lock_wait_seconds=settings.PAYMENT_LOCK_WAIT_SECONDS,
        idempotency_lease_seconds=settings.PAYMENT_IDEMPOTENCY_LEASE_SECONDS,
        idempotency_keep_hours=settings.PAYMENT_IDEMPOTENCY_KEEP_HOURS,
    )


def archive_after_days() -> int:
    """Read how long after an order closed its payments are archived."""
    days: int = settings.PAYMENT_ARCHIVE_AFTER_DAYS
    return days


def clock_guard() -> ClockGuard:
    """Read what the clock guard works with."""
    return ClockGuard(
        look_seconds=settings.PAYMENT_CLOCK_LOOK_SECONDS,
        hold_seconds=settings.PAYMENT_CLOCK_HOLD_SECONDS,
        hold_alert_seconds=settings.PAYMENT_CLOCK_HOLD_ALERT_SECONDS,
    )


def topology() -> Topology:
    """Read which clocks are independent; asked at every judgement."""
    return Topology(
        is_host_apart=settings.PAYMENT_CLOCK_HOST_IS_APART,
        is_redis_apart=settings.PAYMENT_CLOCK_REDIS_IS_APART,
    )


def transaction_seconds() -> float:
    """Read how long a transaction may take; asked at every one."""
    seconds: float = settings.PAYMENT_TRANSACTION_SECONDS
    return seconds


def broker_limits() -> BrokerLimits:
    """Read what ends a job from outside: Redis hands it to another worker, Celery kills it on a pool of processes."""
    options: Mapping[str, Any] = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    return BrokerLimits(
        visibility_timeout_seconds=_limit(
            "CELERY_BROKER_TRANSPORT_OPTIONS['visibility_timeout']", options.get("visibility_timeout")
        ),
        soft_time_limit_seconds=_limit("CELERY_TASK_SOFT_TIME_LIMIT", settings.CELERY_TASK_SOFT_TIME_LIMIT),
        time_limit_seconds=_limit("CELERY_TASK_TIME_LIMIT", settings.CELERY_TASK_TIME_LIMIT),
    )


def _limit(setting: str, seconds: float | None) -> Limit | None:
    return None if seconds is None else Limit(setting, seconds)


def redis_url() -> str:
    """Read where Redis or Valkey is."""
    url: str = settings.REDIS_URL
    return url


def gateway_settings(name: str) -> Mapping[str, str]:
    """Read what one gateway needs: its URL and keys.

    :raises KeyError: for a gateway that is not configured.
    """
    configured: Mapping[str, Mapping[str, str]] = settings.PAYMENT_GATEWAYS
    return configured[name]


def announcements() -> Announcements:
    """Read who is told."""
    configured: Mapping[str, Mapping[str, Any]] = settings.PAYMENT_ANNOUNCEMENT_WEBHOOKS
    return Announcements(
        hook=settings.PAYMENT_ANNOUNCEMENT_HOOK,
        webhooks={
            name: Webhook(name=name, url=options.get("url", ""), secrets=tuple(options.get("secrets", ())))
            for name, options in configured.items()
        },
        total_seconds=settings.PAYMENT_ANNOUNCEMENT_TOTAL_SECONDS,
        connect_seconds=settings.PAYMENT_ANNOUNCEMENT_CONNECT_SECONDS,
        lease_seconds=settings.PAYMENT_ANNOUNCEMENT_LEASE_SECONDS,
        first_wait_seconds=settings.PAYMENT_ANNOUNCEMENT_FIRST_WAIT_SECONDS,
        longest_wait_seconds=settings.PAYMENT_ANNOUNCEMENT_LONGEST_WAIT_SECONDS,
        give_up_seconds=settings.PAYMENT_ANNOUNCEMENT_GIVE_UP_SECONDS,
        run_seconds=settings.PAYMENT_ANNOUNCEMENT_RUN_SECONDS,
    )


def reminders() -> Reminders:
    """Read how customers are reminded."""
    timeout: float | None = settings.EMAIL_TIMEOUT
    return Reminders(
        sends_email=settings.PAYMENT_REMINDER_EMAIL,
        sms_sender=settings.PAYMENT_SMS_SENDER,
        public_url=settings.PAYMENT_PUBLIC_URL.rstrip("/"),
        page_url=settings.PAYMENT_PAGE_URL,
        from_email=settings.DEFAULT_FROM_EMAIL,
        total_seconds=settings.PAYMENT_REMINDER_TOTAL_SECONDS,
        email_timeout_seconds=math.inf if timeout is None else timeout,
        lease_seconds=settings.PAYMENT_REMINDER_LEASE_SECONDS,
        retry_seconds=settings.PAYMENT_REMINDER_RETRY_SECONDS,
        run_seconds=settings.PAYMENT_REMINDER_RUN_SECONDS,
    )
