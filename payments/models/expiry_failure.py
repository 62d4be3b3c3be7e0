"""Orders that were due and could not be ended: each is kept apart, tried again, and told to the staff."""

from django.db import models
from django.db.models import Q

from payments.models.order import Order


class ExpiryFailure(models.Model):
    """Why an order did not end when its time was over. The order is as it was: nothing of it was half done."""

    order = models.OneToOneField(Order, on_delete=models.PROTECT, primary_key=True, related_name="expiry_failure")
    reason = models.CharField(max_length=500, help_text="What the database or the code said at the last try.")
    tries = models.PositiveIntegerField(default=1)
    first_failed_at = models.DateTimeField(help_text="Database time.")
    last_failed_at = models.DateTimeField(help_text="Database time.")
    due_at = models.DateTimeField(help_text="When it is tried next.")
    notified_at = models.DateTimeField(null=True, blank=True, help_text="When the staff were told; once each.")
    resolved_at = models.DateTimeField(null=True, blank=True, help_text="Database time from which the order has ended.")

    class Meta:
        constraints = [
            models.CheckConstraint(name="expiry_failure_has_a_reason", condition=~Q(reason="")),
            models.CheckConstraint(name="expiry_failure_tried", condition=Q(tries__gte=1)),
        ]
        indexes = [
            # The sweep steps over these, each time: what has been resolved must not be looked through.
            models.Index(name="expiry_failure_open", fields=["order"], condition=Q(resolved_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.order_id}: {self.reason}"
