"""The settings of project/settings/payments.py, read with their types: the only reader of them."""

from payments.config.clocks import ClockGuard, clock_guard, topology
from payments.config.durations import (
    BrokerLimits,
    Limit,
    Limits,
    archive_after_days,
    broker_limits,
    limits,
    transaction_seconds,
)
from payments.config.messages import HOOK, WEBHOOK_PREFIX, Announcements, Reminders, Webhook, announcements, reminders
from payments.config.methods import PaymentMethod, currencies, payment_method, payment_methods
from payments.config.services import gateway_settings, redis_url

__all__ = [
    "HOOK",
    "WEBHOOK_PREFIX",
    "Announcements",
    "BrokerLimits",
    "ClockGuard",
    "Limit",
    "Limits",
    "PaymentMethod",
    "Reminders",
    "Webhook",
    "announcements",
    "archive_after_days",
    "broker_limits",
    "clock_guard",
    "currencies",
    "gateway_settings",
    "limits",
    "payment_method",
    "payment_methods",
    "redis_url",
    "reminders",
    "topology",
    "transaction_seconds",
]
