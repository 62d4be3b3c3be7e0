from django.apps import AppConfig


class PaymentsConfig(AppConfig):
    """Registers the models and the start-up checks of the domain."""

    name = "payments"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks and the admin pages; importing them is all it takes, once the apps are loaded."""
        from payments import checks  # noqa: F401 - registers itself
        from payments.ops import admin, books_admin, expiry_admin, policy_admin  # noqa: F401 - register themselves
