"""What there is to sell, and what is held for whom."""

import pgtrigger
from django.db import models
from django.db.models import F, Q

from payments.domain.states import ReservationState
from payments.models.order import Order, OrderLine


class StockItem(models.Model):
    """One article. `received` is all that ever came in; on hand and sold always add up to it."""

    sku = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=200)
    unit_price_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    received = models.PositiveIntegerField()
    on_hand = models.PositiveIntegerField(help_text="Here and not sold; part of it may be reserved.")
    reserved = models.PositiveIntegerField(default=0)
    sold = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="stock_reserved_within_on_hand", condition=Q(reserved__gte=0, reserved__lte=F("on_hand"))
            ),
            models.CheckConstraint(name="stock_adds_up", condition=Q(received=F("on_hand") + F("sold"))),
            models.CheckConstraint(name="stock_price_positive", condition=Q(unit_price_minor__gt=0)),
        ]

    def __str__(self) -> str:
        return self.sku

    @property
    def available(self) -> int:
        """What a new order may still take."""
        return self.on_hand - self.reserved


class Reservation(models.Model):
    """Stock held for one order line: active until it is consumed by a payment or released, each once."""

    line = models.OneToOneField(OrderLine, on_delete=models.PROTECT, primary_key=True, related_name="reservation")
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="reservations")
    item = models.ForeignKey(StockItem, on_delete=models.PROTECT, related_name="reservations", db_index=False)
    quantity = models.PositiveIntegerField()
    state = models.CharField(max_length=16, choices=[(s.value, s.value) for s in ReservationState])
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="reservation_state_known", condition=Q(state__in=[s.value for s in ReservationState])
            ),
            models.CheckConstraint(name="reservation_quantity_positive", condition=Q(quantity__gt=0)),
            models.CheckConstraint(
                name="reservation_closed_when_final",
                condition=Q(state="active", closed_at__isnull=True) | (~Q(state="active") & Q(closed_at__isnull=False)),
            ),
        ]
        indexes = [
            models.Index(name="reservation_active_by_item", fields=["item"], condition=Q(state="active")),
        ]
        triggers = [
            pgtrigger.FSM(
                name="reservation_transitions",
                field="state",
                transitions=[("active", "consumed"), ("active", "released")],
                condition=pgtrigger.AnyChange("state"),
            ),
            pgtrigger.ReadOnly(name="reservation_facts", fields=["order", "item", "quantity"]),
            pgtrigger.Protect(name="reservation_kept", operation=pgtrigger.Delete),
        ]
