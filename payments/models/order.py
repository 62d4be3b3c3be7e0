"""An order while it waits for its payment. Its row is the mutex of everything that belongs to it."""

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q

from payments.domain.ids import Prefix, new_id, public_id
from payments.domain.money import MAX_AMOUNT_MINOR
from payments.domain.states import OrderStatus, PaymentStatus


class Order(models.Model):
    """What the customer buys, and until when the stock is held for it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    order_id = models.CharField(max_length=64, unique=True, help_text="The shop's own number of the order.")
    kind = models.CharField(
        max_length=32,
        blank=True,
        default="",
        db_default="",
        help_text="Of PAYMENT_ORDER_KINDS: says where its customer goes after a payment.",
    )
    customer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="payment_orders")
    status = models.CharField(max_length=16, choices=[(s.value, s.value) for s in OrderStatus])
    payment_status = models.CharField(max_length=16, choices=[(s.value, s.value) for s in PaymentStatus])
    currency = models.CharField(max_length=3)
    total_minor = models.BigIntegerField()
    payment_expires_at = models.DateTimeField(help_text="The deadline of the attempt that holds the order's slot.")
    stock_given_back_at = models.DateTimeField(
        null=True, blank=True, help_text="Database time from which its stock is no longer held for a payment in doubt."
    )
    created_at = models.DateTimeField(help_text="Database time.")
    closed_at = models.DateTimeField(null=True, blank=True, help_text="Database time of paid or cancelled.")

    class Meta:
        constraints = [
            models.CheckConstraint(name="order_status_known", condition=Q(status__in=[s.value for s in OrderStatus])),
            models.CheckConstraint(
                name="order_payment_status_known",
                condition=Q(payment_status__in=[s.value for s in PaymentStatus]),
            ),
            models.CheckConstraint(
                name="order_total_positive", condition=Q(total_minor__gt=0, total_minor__lte=MAX_AMOUNT_MINOR)
            ),
            # Paid means paid on both sides, and a closed order says when it was closed.
            models.CheckConstraint(
                name="order_sides_agree",
                condition=Q(status="under_paying", payment_status__in=["pending", "failed"], closed_at__isnull=True)
                | Q(status="paid", payment_status__in=["paid", "refunded"], closed_at__isnull=False)
                | Q(status="cancelled", payment_status__in=["expired", "cancelled"], closed_at__isnull=False),
            ),
        ]
        indexes = [
            # What retention asks for, oldest first.
            models.Index(name="order_closed", fields=["closed_at", "id"], condition=Q(closed_at__isnull=False)),
            # The sweep's second source: orders whose last attempt failed and whom nobody retried.
            models.Index(
                name="order_due_after_failure",
                fields=["payment_expires_at", "id"],
                condition=Q(status="under_paying", payment_status="failed"),
            ),
        ]
        triggers = [
            pgtrigger.ReadOnly(
                name="order_facts", fields=["order_id", "kind", "customer", "currency", "total_minor", "created_at"]
            ),
            pgtrigger.Protect(name="order_kept", operation=pgtrigger.Delete),
            # A closed order is never opened again: a customer who comes late starts from the cart.
            pgtrigger.FSM(
                name="order_transitions",
                field="status",
                transitions=[("under_paying", "paid"), ("under_paying", "cancelled")],
                condition=pgtrigger.AnyChange("status"),
            ),
        ]

    def __str__(self) -> str:
        return self.order_id

    @property
    def public_id(self) -> str:
        """The id that the API shows, `ord_...`."""
        return public_id(Prefix.ORDER, self.id)


class OrderLine(models.Model):
    """One item of an order, at the price that was agreed."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="lines")
    item = models.ForeignKey("payments.StockItem", on_delete=models.PROTECT, related_name="+", db_index=False)
    quantity = models.PositiveIntegerField()
    unit_price_minor = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(name="order_line_quantity_positive", condition=Q(quantity__gt=0)),
            models.CheckConstraint(name="order_line_price_not_negative", condition=Q(unit_price_minor__gte=0)),
        ]
        triggers = [pgtrigger.Protect(name="order_line_kept", operation=pgtrigger.Update | pgtrigger.Delete)]
