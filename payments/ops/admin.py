"""The admin: everything can be looked at; nothing of the domain can be changed behind the lifecycle's back.

What can be changed is what operators wish for: payments/ops/policy_admin.py.
"""

from uuid import UUID

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from payments.domain.ids import Prefix, parse_public_id, public_id
from payments.models import (
    Announcement,
    AnnouncementDelivery,
    ClockEvent,
    ClockWitness,
    Compensation,
    CompensationEntry,
    CustomerContact,
    GatewayCall,
    HistoryEntry,
    Order,
    OrderLine,
    PaymentAttempt,
    PolicyChange,
    Reminder,
    Reservation,
)
from payments.ops.expiry_admin import FlagsExpiryFailures
from payments.ops.looking import LookingOnly

MOST_EVENTS_SHOWN = 50


class _OfAnOrder:
    @admin.display(description="order")
    def order_number(self, row: PaymentAttempt | Compensation | Announcement) -> str:
        """Show the shop's own number."""
        return row.order.order_id


class _OrderLines(LookingOnly, admin.TabularInline):
    model = OrderLine
    fields = ("item", "quantity", "unit_price_minor")


class _Reservations(LookingOnly, admin.TabularInline):
    model = Reservation
    fields = ("item", "quantity", "state", "closed_at")


class _Attempts(LookingOnly, admin.TabularInline):
    model = PaymentAttempt
    fields = ("number", "state", "method", "gateway", "expires_at", "failure_code")
    show_change_link = True


class _History(LookingOnly, admin.TabularInline):
    model = HistoryEntry
    fields = ("number", "from_state", "to_state", "at", "actor", "reason", "evidence")
    ordering = ("number",)


class _GatewayCalls(LookingOnly, admin.TabularInline):
    model = GatewayCall
    fields = ("operation", "fence", "started_at", "finished_at", "outcome", "code", "detail", "reference")
    ordering = ("started_at",)


class _CompensationHistory(LookingOnly, admin.TabularInline):
    model = CompensationEntry
    fields = ("number", "from_state", "to_state", "at", "actor", "reason", "evidence")
    ordering = ("number",)


class _Compensations(LookingOnly, admin.TabularInline):
    model = Compensation
    fields = ("kind", "reason", "state", "amount_minor", "currency", "charge_reference", "due_at", "tries")
    ordering = ("created_at",)
    show_change_link = True


class _Deliveries(LookingOnly, admin.TabularInline):
    model = AnnouncementDelivery
    fields = ("destination", "due_at", "tries", "first_tried_at", "delivered_at", "given_up_at", "last_error")
    ordering = ("destination",)


class _Reminders(LookingOnly, admin.TabularInline):
    model = Reminder
    fields = ("channel", "state", "why", "owed_at", "due_at", "tries", "sent_at")
    ordering = ("channel",)


@admin.register(Order)
class OrderAdmin(FlagsExpiryFailures, LookingOnly, admin.ModelAdmin):
    """Orders with their lines, stock and attempts."""

    list_display = (
        "order_id",
        "customer",
        "status",
        "payment_status",
        "total_minor",
        "currency",
        "payment_expires_at",
        "trouble",
    )
    list_filter = ("status", "payment_status")
    search_fields = ("order_id",)
    list_select_related = ("customer", "expiry_failure")
    readonly_fields = ("expiry_trouble",)
    inlines = (_OrderLines, _Reservations, _Attempts)


@admin.register(PaymentAttempt)
class PaymentAttemptAdmin(_OfAnOrder, LookingOnly, admin.ModelAdmin):
    """Attempts with their history and every call to a gateway."""

    list_display = ("public_id", "order_number", "number", "state", "method", "amount_minor", "currency", "expires_at")
    list_filter = ("state", "gateway")
    search_fields = ("order__order_id",)
    list_select_related = ("order",)
    inlines = (_History, _GatewayCalls, _Compensations, _Reminders)
    readonly_fields = ("clock_events",)
    # Everything but the gateway's token. The stamps are for the clock guard, and fold away.
    fieldsets = (
        (None, {"fields": ("order", "customer", "number", "method", "gateway", "amount_minor", "currency")}),
        (
            "State",
            {
                "fields": (
                    "state",
                    "version",
                    "opened_at",
                    "expires_at",
                    "grace_seconds",
                    "late_allowance_seconds",
                    "closed_at",
                    "due_at",
                    "held_since",
                )
            },
        ),
        ("Reminders", {"fields": ("reminder_at",)}),
        (
            "At the gateway",
            {"fields": ("fence", "gateway_key", "gateway_reference", "redirect_url", "failure_code", "correlation_id")},
        ),
        ("Doubt", {"fields": ("doubt_code", "unresolved_since", "questions", "published_at")}),
        ("Clocks", {"fields": ("clock_events",)}),
        ("What the clocks said", {"fields": ("opened_stamp", "enqueued_stamp"), "classes": ("collapse",)}),
    )

    @admin.display(description="clock events")
    def clock_events(self, attempt: PaymentAttempt) -> SafeString | str:
        """Show the latest events that were seen with it, each with a link to all that is known of it."""
        events = ClockEvent.objects.filter(attempt_id=attempt.id).order_by("-recorded_at")[:MOST_EVENTS_SHOWN]
        rows = (
            (
                reverse("admin:payments_clockevent_change", args=[event.id]),
                f"{event.recorded_at:%Y-%m-%d %H:%M:%S}",
                str(event),
                event.detail,
            )
            for event in events
        )
        return format_html_join("", '<div><a href="{}">{} UTC</a> {}: {}</div>', rows) or "none"


@admin.register(Compensation)
class CompensationAdmin(_OfAnOrder, LookingOnly, admin.ModelAdmin):
    """Money that goes back, with its history and every call that was made for it."""

    list_display = ("public_id", "order_number", "kind", "reason", "state", "amount_minor", "currency", "created_at")
    list_filter = ("state", "kind", "reason")
    search_fields = ("order__order_id",)
    list_select_related = ("order",)
    ordering = ("-created_at",)
    inlines = (_CompensationHistory, _GatewayCalls)


@admin.register(Announcement)
class AnnouncementAdmin(_OfAnOrder, LookingOnly, admin.ModelAdmin):
    """What was announced, and to whom it was told."""

    list_display = ("public_id", "order_number", "number", "kind", "created_at")
    list_filter = ("kind",)
    search_fields = ("order__order_id",)
    list_select_related = ("order",)
    ordering = ("-id",)  # They are ordered by time, and the index is there.
    inlines = (_Deliveries,)


@admin.register(AnnouncementDelivery)
class AnnouncementDeliveryAdmin(LookingOnly, admin.ModelAdmin):
    """How far each telling is; filter by what waits and by what was given up."""

    list_display = (
        "announcement_number",
        "order_number",
        "destination",
        "due_at",
        "tries",
        "delivered_at",
        "given_up_at",
        "last_error",
    )
    list_filter = (
        "destination",
        ("due_at", admin.EmptyFieldListFilter),
        ("given_up_at", admin.EmptyFieldListFilter),
    )
    search_fields = ("announcement__order__order_id",)
    list_select_related = ("announcement__order",)

    @admin.display(description="announcement")
    def announcement_number(self, delivery: AnnouncementDelivery) -> str:
        """Show the id that receivers know."""
        return delivery.announcement.public_id

    @admin.display(description="order")
    def order_number(self, delivery: AnnouncementDelivery) -> str:
        """Show the shop's own number."""
        return delivery.announcement.order.order_id


@admin.register(Reminder)
class ReminderAdmin(LookingOnly, admin.ModelAdmin):
    """Which reminders went out, and why others did not."""

    list_display = ("payment", "order_number", "channel", "state", "why", "owed_at", "tries", "sent_at")
    list_filter = ("state", "channel", "why")
    search_fields = ("attempt__order__order_id",)
    list_select_related = ("attempt__order",)
    ordering = ("-id",)

    @admin.display(description="payment")
    def payment(self, reminder: Reminder) -> str:
        """Show the attempt by its public id."""
        return reminder.attempt.public_id

    @admin.display(description="order")
    def order_number(self, reminder: Reminder) -> str:
        """Show the shop's own number."""
        return reminder.attempt.order.order_id


@admin.register(CustomerContact)
class CustomerContactAdmin(admin.ModelAdmin):
    """Telephones, and who wants no reminders: the one thing here that staff changes, on a customer's word."""

    list_display = ("customer", "phone", "reminders_stopped_at")
    list_filter = (("reminders_stopped_at", admin.EmptyFieldListFilter),)
    search_fields = ("customer__username",)
    list_select_related = ("customer",)
    autocomplete_fields = ("customer",)

    def get_readonly_fields(self, _request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        """Let nobody hand one customer's number on to another."""
        return () if obj is None else ("customer",)


@admin.register(ClockEvent)
class ClockEventAdmin(LookingOnly, admin.ModelAdmin):
    """What clocks did, and with which attempt it was seen."""

    list_display = ("recorded_at", "kind", "seconds", "payment", "host")
    list_filter = ("kind",)
    search_fields = ("attempt_id",)
    search_help_text = "A payment: pay_... or its UUID."
    ordering = ("-recorded_at",)
    readonly_fields = ("payment",)
    exclude = ("attempt_id",)

    def get_search_results(
        self, _request: HttpRequest, queryset: QuerySet[ClockEvent], search_term: str
    ) -> tuple[QuerySet[ClockEvent], bool]:
        """Find the events of one attempt by its whole id; anything else finds none."""
        term = search_term.strip()
        if not term:
            return queryset, False
        attempt_id = parse_public_id(Prefix.PAYMENT, term) or _uuid(term)
        return (queryset.none() if attempt_id is None else queryset.filter(attempt_id=attempt_id)), False

    @admin.display(description="payment")
    def payment(self, event: ClockEvent) -> SafeString | str:
        """Show the attempt by its public id. Its row may not exist: its transaction may have been rolled back."""
        if event.attempt_id is None:
            return "-"
        url = reverse("admin:payments_paymentattempt_change", args=[event.attempt_id])
        return format_html('<a href="{}">{}</a>', url, public_id(Prefix.PAYMENT, event.attempt_id))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


@admin.register(ClockWitness)
class ClockWitnessAdmin(LookingOnly, admin.ModelAdmin):
    """Who attests that the database's clock ran true, from when to when."""

    list_display = ("process", "host", "since", "until", "crept_seconds", "domain")
    list_filter = ("host",)
    ordering = ("-until",)


@admin.register(PolicyChange)
class PolicyChangeAdmin(LookingOnly, admin.ModelAdmin):
    """Who changed the policy of which method, and when."""

    list_display = ("at", "method", "actor", "database_user", "old", "new")
    list_filter = ("method",)
    ordering = ("-id",)
