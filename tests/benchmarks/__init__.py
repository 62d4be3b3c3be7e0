"""Benchmarks are run by themselves, `make bench BENCH=name`: Django is set up before they import models."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings.test")
os.environ.setdefault("LOG_LEVEL", "CRITICAL")

import django

django.setup()
