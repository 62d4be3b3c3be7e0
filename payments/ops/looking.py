"""What pages of the admin share that show rows and change none."""

from django.db.models import Model
from django.http import HttpRequest


class LookingOnly:
    """Offers no change to anybody."""

    def has_add_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Refuse: rows are made by the lifecycle."""
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Refuse: rows are changed by the lifecycle."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Refuse: rows are kept."""
        return False
