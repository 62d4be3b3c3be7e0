"""The same system in a home of its own, with cheap passwords and a database that may forget its last second."""

import os
from pathlib import Path

# Before `base` starts anything: tests must not share servers with a `make run` of the same checkout.
os.environ.setdefault("PAYWINDOW_HOME", str(Path(__file__).resolve().parents[2] / ".paywindow" / "test"))
os.environ.setdefault("PAYWINDOW_EMBEDDED_FAST", "1")

os.environ.setdefault("DATABASE_POOL_CONNECTIONS", "60")  # Fifty threads wait for locks in one of them.

from project.settings import base
from project.settings.base import *  # noqa: F403 - settings are inherited whole, after the lines above

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
PAYMENT_DEMO = True
PAYMENT_METHODS = {**PAYMENT_METHODS, "wallet": {"gateway": "sandbox", "authorizes_first": False}}  # noqa: F405 - from base

# Side by side each process of pytest-xdist has queues of its own; pytest-django gives it a database of its own.
_worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
if _worker and base.REDIS_URL:
    _own = f"{base.REDIS_URL.rpartition('/')[0]}/{int(_worker) + 1}"
    CELERY_BROKER_URL = _own if base.CELERY_BROKER_URL == base.REDIS_URL else base.CELERY_BROKER_URL
    REDIS_URL = _own

# One user places and pays the orders of a whole load test; the limits are asked all the same.
PAYMENT_RATE_LIMITS = {act: dict.fromkeys(limits, "1000000/minute") for act, limits in PAYMENT_RATE_LIMITS.items()}  # noqa: F405 - from base
