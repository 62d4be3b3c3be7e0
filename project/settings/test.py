"""The same system in a home of its own, with cheap passwords and a database that may forget its last second."""

import os
from pathlib import Path

# Before `base` starts anything: tests must not share servers with a `make run` of the same checkout.
os.environ.setdefault("PAYWINDOW_HOME", str(Path(__file__).resolve().parents[2] / ".paywindow" / "test"))
os.environ.setdefault("PAYWINDOW_EMBEDDED_FAST", "1")

os.environ.setdefault("DATABASE_POOL_CONNECTIONS", "60")  # Fifty threads wait for locks in one of them.

from project.settings.base import *  # noqa: F403 - settings are inherited whole, after the lines above

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
PAYMENT_DEMO = True
