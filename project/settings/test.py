"""The same system, with cheaper passwords and no pretty static files."""

from project.settings.base import *  # noqa: F403 - settings are inherited whole

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
PAYMENT_DEMO_SHOP = True
