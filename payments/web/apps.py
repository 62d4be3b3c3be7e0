from django.apps import AppConfig


class WebConfig(AppConfig):
    """Lets Django find the templates and static files of the pages."""

    name = "payments.web"
    label = "payments_web"
