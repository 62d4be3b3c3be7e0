"""The Celery application. Tasks live in `workers`; what runs when lives in `beat_schedules`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings.base")

app = Celery("paywindow")
app.config_from_object("django.conf:settings", namespace="CELERY")
