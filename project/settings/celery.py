"""Celery: the broker carries "look at attempt X" and nothing else, so every loss here costs seconds, never money."""

from project.settings import environment

CELERY_BROKER_URL = environment.text("CELERY_BROKER_URL", environment.text("REDIS_URL", ""))
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True

CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]

# A worker that dies hands its job back; claiming twice is safe, so at-least-once is what we want.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1

# A second belt on a pool of processes, beyond everything that a job may take; threads cannot be interrupted, so there
# the HTTP client's deadline and the lease do it alone.
CELERY_TASK_SOFT_TIME_LIMIT = 240
CELERY_TASK_TIME_LIMIT = 270

# A result row costs 4 ms: a task whose result operators read stores it by itself (workers/expiry.py).
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_BACKEND = "django-db"
CELERY_RESULT_EXTENDED = True
CELERY_RESULT_EXPIRES = 7 * 24 * 3600

# The row is the outbox, and the rescue task publishes again. One retry, since only a retry gives up a broken
# connection: without it beat would go on with the one that a restarted RabbitMQ has closed, for good.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object] = (
    {
        "visibility_timeout": 300,
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
    }
    if CELERY_BROKER_URL.startswith("redis")
    else {"confirm_publish": True}
)

CELERY_TASK_DEFAULT_QUEUE = "upkeep"
CELERY_TASK_ROUTES = {
    "payments.charge": {"queue": "charge"},
    "payments.resolve": {"queue": "resolve"},
    "payments.apply_event": {"queue": "resolve"},
    "payments.compensate": {"queue": "resolve"},
    "payments.sweep_expired": {"queue": "expiry"},
    "payments.publish_owed": {"queue": "upkeep"},
    "payments.check_invariants": {"queue": "upkeep"},
    "payments.forget_idempotency_keys": {"queue": "upkeep"},
    "payments.announce": {"queue": "announce"},
    "payments.notify_staff": {"queue": "announce"},
    "payments.send_reminders": {"queue": "announce"},
}
CELERY_IMPORTS = (
    "workers.announcing",
    "workers.charging",
    "workers.clocks",
    "workers.expiry",
    "workers.reminding",
    "workers.upkeep",
    "workers.watchdog",
)

CELERY_WORKER_HIJACK_ROOT_LOGGER = False  # Our structlog configuration stays.
CELERY_WORKER_SEND_TASK_EVENTS = True  # Flower.
CELERY_TASK_SEND_SENT_EVENT = True

CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_SYNC_EVERY = 1
CELERY_BEAT_CRON_STARTING_DEADLINE = 3600
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True
