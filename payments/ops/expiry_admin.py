"""Orders that were over and could not be ended: a list of them, and a flag on each one's own page."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from payments.models import ExpiryFailure, Order
from payments.ops.looking import LookingOnly

NONE = "-"


class _OpenFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, _request: HttpRequest, _model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("open", "open: still not ended"), ("resolved", "resolved")]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[ExpiryFailure]) -> QuerySet[ExpiryFailure]:
        if self.value() is None:
            return queryset
        return queryset.filter(resolved_at__isnull=self.value() == "open")


@admin.register(ExpiryFailure)
class ExpiryFailureAdmin(LookingOnly, admin.ModelAdmin):
    """What stood in the way of an order's end, how often it was tried, and whether it has ended since."""

    list_display = ("order_number", "reason", "tries", "last_failed_at", "due_at", "notified_at", "resolved_at")
    list_filter = (_OpenFilter,)
    search_fields = ("order__order_id",)
    list_select_related = ("order",)
    ordering = ("-last_failed_at",)

    @admin.display(description="order")
    def order_number(self, failure: ExpiryFailure) -> str:
        """Show the shop's own number."""
        return failure.order.order_id


class FlagsExpiryFailures:
    """For the page of orders: a flag in the list, and the reason on the order's own page."""

    @admin.display(description="trouble")
    def trouble(self, order: Order) -> SafeString | str:
        """Flag an order that could not be ended."""
        return NONE if _open_failure(order) is None else _flagged("could not be ended")

    @admin.display(description="could not be ended")
    def expiry_trouble(self, order: Order) -> SafeString | str:
        """Say why an order could not be ended, and when it is tried next."""
        failure = _open_failure(order)
        if failure is None:
            return NONE
        url = reverse("admin:payments_expiryfailure_change", args=[failure.pk])
        return format_html(
            '{} <a href="{}">tries: {}, next {} UTC</a>',
            _flagged(failure.reason),
            url,
            failure.tries,
            f"{failure.due_at:%Y-%m-%d %H:%M:%S}",
        )


def _open_failure(order: Order) -> ExpiryFailure | None:
    failure: ExpiryFailure | None = getattr(order, "expiry_failure", None)
    return failure if failure is not None and failure.resolved_at is None else None


def _flagged(text: str) -> SafeString:
    return format_html('<strong style="color: var(--error-fg)">&#9888; {}</strong>', text)
