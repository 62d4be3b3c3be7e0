"""How long everything may take, and how much of it there may be (payments/limits.py holds them to each other)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from django.conf import settings


class Limits(NamedTuple):  # Made several times a request, and a dataclass takes far longer to make.
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
