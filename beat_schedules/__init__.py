"""What runs when, as code, and the command that writes it to django-celery-beat."""
