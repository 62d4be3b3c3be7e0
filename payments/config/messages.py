"""Who is told what: the host by announcements, customers by reminders."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings

from payments.domain.reminders import Channel


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
