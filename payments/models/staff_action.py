"""What staff had done that is no single payment's: who, when, what and why. What is one payment's is in its history."""

import pgtrigger
from django.db import models
from django.db.models import Q

from payments.domain.ids import new_id
from payments.models.order import Order


class StaffAction(models.Model):
    """One action, written before it begins, or in the transaction that it is."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    at = models.DateTimeField(help_text="Database time.")
    actor = models.CharField(max_length=64, help_text="Who did it, such as staff:7.")
    action = models.CharField(max_length=32, help_text="What was done, such as clean_up_orders.")
    reason = models.TextField(help_text="Why, in that person's words.")
    order = models.ForeignKey(
        Order, on_delete=models.PROTECT, related_name="+", null=True, blank=True, help_text="If it is one order's."
    )
    evidence = models.JSONField(default=dict, help_text="With what it was asked for.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="staff_action_with_a_reason", condition=~Q(reason="") & ~Q(actor="") & ~Q(action="")
            ),
        ]
        indexes = [models.Index(name="staff_action_latest_first", fields=["-at"])]
        triggers = [
            pgtrigger.Protect(name="staff_action_append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.actor}: {self.action}"
