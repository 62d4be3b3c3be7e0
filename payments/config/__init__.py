"""The settings of project/settings/payments.py, read with their types: the only reader of them."""

from payments.config.access import RateLimits, TokenRules, is_debugging, rate_limited_acts, rate_limits, token_rules
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
from payments.config.returns import OrderKind, Returns, returns
from payments.config.services import gateway_settings, redis_url

__all__ = [
    "HOOK",
    "WEBHOOK_PREFIX",
    "Announcements",
    "BrokerLimits",
    "ClockGuard",
    "Limit",
    "Limits",
    "OrderKind",
    "PaymentMethod",
    "RateLimits",
    "Reminders",
    "Returns",
    "TokenRules",
    "Webhook",
    "announcements",
    "archive_after_days",
    "broker_limits",
    "clock_guard",
    "currencies",
    "gateway_settings",
    "is_debugging",
    "limits",
    "payment_method",
    "payment_methods",
    "rate_limited_acts",
    "rate_limits",
    "redis_url",
    "reminders",
    "returns",
    "token_rules",
    "topology",
    "transaction_seconds",
]
