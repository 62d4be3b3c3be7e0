"""What production adds: no default secret, HTTPS only, and hosts named by the operator."""

from project.settings import environment

environment.refuse("PAYWINDOW_FAILPOINTS", "a process that kills itself on command belongs into a test")

# Before `base`, which would start embedded servers instead.
environment.required_text("DATABASE_URL", "PostgreSQL is the only database, and production brings its own")
environment.required_text("REDIS_URL", "production brings its own Redis or Valkey")
environment.required_text("SANDBOX_API_KEY", "the gateway that PAYMENT_METHODS names needs its key")
environment.required_text("JWT_ALGORITHM", "EdDSA or RS256, as the identity service signs API tokens")
environment.refuse_value("JWT_ALGORITHM", "HS256", "who verifies such tokens could make them, so it is for development")
environment.require_one_of(("JWT_JWKS_FILE", "JWT_JWKS_URL"), "API tokens are verified with the keys that are there")

from project.settings.base import *  # noqa: E402, F403 - settings are inherited whole, after the lines above

DEBUG = False
SECRET_KEY = environment.required_text("DJANGO_SECRET_KEY", "sessions and CSRF tokens are signed with it")
ALLOWED_HOSTS = environment.names("DJANGO_ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = environment.names("DJANGO_CSRF_TRUSTED_ORIGINS")

SECURE_SSL_REDIRECT = environment.flag("DJANGO_SECURE_SSL_REDIRECT", default=True)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True

PAYMENT_DEMO = False
PAYMENT_GATEWAYS["sandbox"]["webhook_secrets"] = environment.text("SANDBOX_WEBHOOK_SECRET", "")  # noqa: F405 - from base
PAYMENT_RETURN_TO_LOCALHOST = False

# No reminder is written to the log. With neither of these there is none, and no address is needed.
PAYMENT_REMINDER_EMAIL = environment.flag("PAYMENT_REMINDER_EMAIL", default=bool(EMAIL_URL))  # noqa: F405 - from base
PAYMENT_SMS_SENDER = environment.text("PAYMENT_SMS_SENDER", "")
PAYMENT_PUBLIC_URL = environment.text("PAYMENT_PUBLIC_URL", "")
PAYMENT_PAGE_URL = environment.text("PAYMENT_PAGE_URL", "")
if PAYMENT_REMINDER_EMAIL:
    environment.required_text("EMAIL_URL", "reminders go out by e-mail")
    environment.required_text("DEFAULT_FROM_EMAIL", "reminders are sent from it")

WHITENOISE_USE_FINDERS = False
STATIC_ROOT = environment.text("DJANGO_STATIC_ROOT", str(BASE_DIR / "staticfiles"))  # noqa: F405 - from base
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
