"""Settings of a development machine; `production` refuses every default that is only good here."""

from pathlib import Path
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from project import embedded
from project.settings import environment

BASE_DIR = Path(__file__).resolve().parents[2]

embedded.ensure_services(BASE_DIR)  # Sets DATABASE_URL and REDIS_URL when nobody else did.

from project.settings.access import *  # noqa: E402, F403 - gathered here like the others
from project.settings.celery import *  # noqa: E402, F403 - it reads the URLs that were just set
from project.settings.logging import *  # noqa: E402, F403 - the same
from project.settings.mail import *  # noqa: E402, F403 - the same
from project.settings.payments import *  # noqa: E402, F403 - the same

DEBUG = environment.flag("DJANGO_DEBUG", default=False)
SECRET_KEY = environment.text("DJANGO_SECRET_KEY", "") or embedded.remembered_secret(BASE_DIR, "django-secret-key")
# Keys from before the last change: what they signed still counts, such as the ways back from hosted pages.
SECRET_KEY_FALLBACKS = environment.names("DJANGO_SECRET_KEY_FALLBACKS")
ALLOWED_HOSTS = environment.names("DJANGO_ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]"))

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_celery_beat",
    "django_celery_results",
    "django_structlog",
    "ninja",  # Brings the scripts of /api/docs along, so that none comes from another host.
    "pgtrigger",
    "payments.apps.PaymentsConfig",
    "payments.web.apps.WebConfig",
    "beat_schedules",
]

MIDDLEWARE = [
    "project.headers.HeadersMiddleware",  # First, so that refusals of the others have them, too.
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "payments.api.middleware.LoggedRequests",
    "payments.api.middleware.ProblemMiddleware",
]

ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]


# A process that stands still cannot keep its own deadlines, so the server ends a session that stays idle inside a
# transaction for longer than any transaction may take: a frozen worker keeps no order from the others.
_IDLE_SECONDS = PAYMENT_TRANSACTION_SECONDS + 5  # noqa: F405 - from payments
_DATABASE_TIMEOUTS = (
    f"-c lock_timeout={PAYMENT_LOCK_WAIT_SECONDS}s "  # noqa: F405 - from payments
    f"-c idle_in_transaction_session_timeout={_IDLE_SECONDS}s"
)


def _database(url: str) -> dict[str, Any]:
    parts = dict(conninfo_to_dict(url))
    options: dict[str, Any] = {}
    pool_connections = environment.integer("DATABASE_POOL_CONNECTIONS", 20)
    if pool_connections:
        # Threads share few connections: a worker holds none during a gateway call. Prefork sets 0, since its pool
        # would be torn down at every task.
        options["pool"] = {"min_size": 0, "max_size": pool_connections, "timeout": 10}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname", ""),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "OPTIONS": {"options": _DATABASE_TIMEOUTS, **parts, **options},
        "CONN_HEALTH_CHECKS": True,
    }


DATABASES = {"default": _database(environment.required_text("DATABASE_URL", "PostgreSQL is the only database"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = environment.text("REDIS_URL", "")

# Who is mailed when an order could not be ended: addresses separated by commas. Without any, the log alone says it.
ADMINS = [("", address) for address in environment.names("ADMIN_EMAILS")]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # Straight from the apps; production collects and compresses them.

DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024  # The largest order has 100 lines, some 10 KB.

# Named although they are Django's defaults: the tests hold every answer to them.
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"  # Not less: over HTTPS Django's forms check where they were sent from.
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

LOGIN_URL = "admin:login"

# Signs the tokens of a development machine. Who verifies with public keys needs none.
JWT_SIGNING_KEY = environment.text("JWT_SIGNING_KEY", "")
if JWT_ALGORITHM == "HS256" and not JWT_SIGNING_KEY:  # noqa: F405 - from access
    JWT_SIGNING_KEY = embedded.remembered_secret(BASE_DIR, "jwt-signing-key")

DJANGO_STRUCTLOG_CELERY_ENABLED = False  # The correlation id travels in the row, not in message headers.
