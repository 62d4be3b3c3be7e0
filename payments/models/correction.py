"""What was put right between stock, reservations and orders, by whom and why; never changed afterwards."""

import pgtrigger
from django.db import models
from django.db.models import Q

from payments.domain.ids import new_id
from payments.models.order import Order
from payments.models.stock import StockItem


class StockCorrection(models.Model):
    """One repair, written in the transaction that made it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    what = models.CharField(max_length=32, help_text="The kind of difference (payments/reconcile.py).")
    detail = models.TextField(help_text="The difference, with the numbers on both sides.")
    order = models.ForeignKey(
        Order, on_delete=models.PROTECT, related_name="corrections", null=True, blank=True, help_text="Whose it was."
    )
    item = models.ForeignKey(
        StockItem, on_delete=models.PROTECT, related_name="corrections", null=True, blank=True, help_text="Of what."
    )
    before = models.JSONField(help_text="What the repair found.")
    after = models.JSONField(help_text="What it left.")
    actor = models.CharField(max_length=64, help_text="Who ran it, such as command:alice.")
    reason = models.TextField(help_text="Why, in that person's words.")
    at = models.DateTimeField(help_text="Database time, read after the locks were granted.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="stock_correction_of_something", condition=Q(order__isnull=False) | Q(item__isnull=False)
            ),
            models.CheckConstraint(name="stock_correction_with_a_reason", condition=~Q(reason="") & ~Q(actor="")),
        ]
        triggers = [
            pgtrigger.Protect(name="stock_correction_append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return self.what
