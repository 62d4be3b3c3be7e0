"""The composition root: it puts the parts together, and nothing imports it."""

from project.celery import app as celery_app

__all__ = ["celery_app"]
