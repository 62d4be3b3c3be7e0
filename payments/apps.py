from django.apps import AppConfig


class PaymentsConfig(AppConfig):
    """Registers the models and the start-up checks of the domain."""

    name = "payments"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks; importing them is all it takes."""
        from payments import checks  # noqa: F401 - checks register themselves once the apps are loaded
