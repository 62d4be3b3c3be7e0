"""The books in the admin: stock, what was put right in it, what staff had done, what gateways sent, and archives."""

from django.contrib import admin

from payments.models import ArchivedAttempt, ArchivedCompensation, StaffAction, StockCorrection, StockItem, WebhookEvent
from payments.ops.looking import LookingOnly


class _ArchivedCompensations(LookingOnly, admin.TabularInline):
    model = ArchivedCompensation
    fields = ("state", "version", "head_hash", "head_at")


@admin.register(ArchivedAttempt)
class ArchivedAttemptAdmin(LookingOnly, admin.ModelAdmin):
    """Payments whose history is in an archive file, and in which."""

    list_display = ("public_id", "order", "number", "state", "amount_minor", "currency", "archive", "archived_at")
    list_filter = ("state",)
    search_fields = ("order__order_id", "archive")
    list_select_related = ("order",)
    ordering = ("-archived_at",)
    inlines = (_ArchivedCompensations,)


@admin.register(StockItem)
class StockItemAdmin(LookingOnly, admin.ModelAdmin):
    """What there is, what is held, what was sold."""

    list_display = ("sku", "name", "unit_price_minor", "currency", "received", "on_hand", "reserved", "sold")
    search_fields = ("sku", "name")
    ordering = ("sku",)


@admin.register(StockCorrection)
class StockCorrectionAdmin(LookingOnly, admin.ModelAdmin):
    """What was put right between stock, reservations and orders, by whom and why."""

    list_display = ("at", "what", "order", "item", "detail", "actor", "reason")
    list_filter = ("what",)
    search_fields = ("order__order_id", "item__sku")
    list_select_related = ("order", "item")
    ordering = ("-at",)


@admin.register(StaffAction)
class StaffActionAdmin(LookingOnly, admin.ModelAdmin):
    """What staff had done that is no single payment's, and why."""

    list_display = ("at", "actor", "action", "order", "reason", "evidence")
    list_filter = ("action",)
    search_fields = ("actor", "order__order_id")
    list_select_related = ("order",)
    ordering = ("-at",)


@admin.register(WebhookEvent)
class WebhookEventAdmin(LookingOnly, admin.ModelAdmin):
    """What gateways sent word of, and what came of it."""

    list_display = (
        "received_at",
        "gateway",
        "event_id",
        "kind",
        "payment_id",
        "is_timely",
        "tries",
        "due_at",
        "ending",
    )
    list_filter = ("gateway", "ending", "is_timely")
    search_fields = ("event_id", "payment_id", "charge_reference")
    ordering = ("-received_at",)
    exclude = ("body",)
