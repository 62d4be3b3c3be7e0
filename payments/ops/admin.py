"""The admin: everything can be looked at; nothing of the domain can be changed behind the lifecycle's back."""

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from payments.models import GatewayCall, HistoryEntry, Order, OrderLine, PaymentAttempt, Reservation, StockItem


class _LookingOnly:
    def has_add_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False


class _OrderLines(_LookingOnly, admin.TabularInline):
    model = OrderLine
    fields = ("item", "quantity", "unit_price_minor")


class _Reservations(_LookingOnly, admin.TabularInline):
    model = Reservation
    fields = ("item", "quantity", "state", "closed_at")


class _Attempts(_LookingOnly, admin.TabularInline):
    model = PaymentAttempt
    fields = ("number", "state", "method", "gateway", "expires_at", "failure_code")
    show_change_link = True


class _History(_LookingOnly, admin.TabularInline):
    model = HistoryEntry
    fields = ("number", "from_state", "to_state", "at", "actor", "reason", "evidence")
    ordering = ("number",)


class _GatewayCalls(_LookingOnly, admin.TabularInline):
    model = GatewayCall
    fields = ("operation", "fence", "started_at", "finished_at", "outcome", "code", "detail", "reference")
    ordering = ("started_at",)


@admin.register(Order)
class OrderAdmin(_LookingOnly, admin.ModelAdmin):
    """Orders with their lines, stock and attempts."""

    list_display = ("order_id", "customer", "status", "payment_status", "total_minor", "currency", "payment_expires_at")
    list_filter = ("status", "payment_status")
    search_fields = ("order_id",)
    list_select_related = ("customer",)
    inlines = (_OrderLines, _Reservations, _Attempts)


@admin.register(PaymentAttempt)
class PaymentAttemptAdmin(_LookingOnly, admin.ModelAdmin):
    """Attempts with their history and every call to a gateway."""

    list_display = ("public_id", "order_number", "number", "state", "method", "amount_minor", "currency", "expires_at")
    list_filter = ("state", "gateway")
    search_fields = ("order__order_id",)
    list_select_related = ("order",)
    exclude = ("payment_token",)
    inlines = (_History, _GatewayCalls)

    @admin.display(description="order")
    def order_number(self, attempt: PaymentAttempt) -> str:
        """Show the shop's own number."""
        return attempt.order.order_id


@admin.register(StockItem)
class StockItemAdmin(_LookingOnly, admin.ModelAdmin):
    """What there is, what is held, what was sold."""

    list_display = ("sku", "name", "unit_price_minor", "currency", "received", "on_hand", "reserved", "sold")
    search_fields = ("sku", "name")
    ordering = ("sku",)
