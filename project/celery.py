"""The Celery application. Tasks live in `workers`; what runs when lives in `beat_schedules`."""

import os
import sys

from celery import Celery
from celery.signals import beat_init, worker_init
from django.core.exceptions import ImproperlyConfigured

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings.base")

app = Celery("paywindow")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()  # For every thread, whoever asked for an application before this one was made.


@worker_init.connect
@beat_init.connect
def refuse_to_start(**_: object) -> None:
    """Stop a worker or beat whose limits contradict each other. Celery would only log an ordinary exception."""
    from payments import checks  # Late: the applications are loaded by now, and not before.

    try:
        checks.refuse_to_start()
    except ImproperlyConfigured as error:
        sys.exit(str(error))
