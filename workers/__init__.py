"""Celery tasks, thin: each names an act of `payments.lifecycle` and binds what its log lines carry."""
