"""A page of the admin that changes something: what operators wish for the windows of a payment method."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from payments import config, policies
from payments.models import PaymentMethodPolicy
from payments.policies import MethodInForce

NOT_OFFERED = "not offered: without effect"


def _choices() -> list[tuple[str, str]]:
    return [(name, name) for name in config.payment_methods()]


def _not_offered(name: str) -> str:
    return f"{name!r} is not a configured payment method; configured are {', '.join(config.payment_methods())}."


class _PolicyForm(forms.ModelForm):
    method = forms.ChoiceField(choices=_choices)

    class Meta:
        model = PaymentMethodPolicy
        fields: ClassVar[list[str]] = [
            "method",
            "window_minutes",
            "grace_seconds",
            "late_allowance_seconds",
            "reminder_lead_minutes",
        ]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "method" in self.fields:  # Only while it is added; afterwards it is shown.
            self.fields["method"].error_messages["invalid_choice"] = _not_offered("%(value)s")

    def clean(self) -> dict[str, Any] | None:
        if self.instance.pk is not None and self.instance.method not in config.payment_methods():
            message = f"{_not_offered(self.instance.method)} Delete the policy, or configure the method."
            raise ValidationError(message)
        return super().clean()


@admin.register(PaymentMethodPolicy)
class PaymentMethodPolicyAdmin(admin.ModelAdmin):
    """Wishes as they were made, what holds instead where they cannot be followed, and why."""

    form = _PolicyForm
    actions = None  # Each is deleted on its own page, inside a transaction that says who does it.
    list_display = ("method", "window", "grace", "late_allowance", "reminder", "clamps")
    readonly_fields = ("window", "grace", "late_allowance", "reminder", "clamps")
    ordering = ("method",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "method",
                    "window_minutes",
                    "grace_seconds",
                    "late_allowance_seconds",
                    "reminder_lead_minutes",
                ),
                "description": "Empty: as the settings say. Holds for attempts that are opened from then on.",
            },
        ),
        ("What holds", {"fields": ("window", "grace", "late_allowance", "reminder", "clamps")}),
    )

    def get_readonly_fields(self, _request: HttpRequest, obj: PaymentMethodPolicy | None = None) -> tuple[str, ...]:
        """Show the method of a policy that exists: it is set once."""
        return self.readonly_fields if obj is None else ("method", *self.readonly_fields)

    def save_model(self, request: HttpRequest, obj: PaymentMethodPolicy, form: Any, change: bool) -> None:
        """Save it in the name of whoever is signed in, and say at once what is not followed."""
        policies.set_actor(actor=f"staff:{request.user.pk}")
        super().save_model(request, obj, form, change)
        in_force = _in_force(obj)
        for clamp in in_force.clamps if in_force else ():
            self.message_user(request, f"{obj.method}: {clamp}", messages.WARNING)

    def delete_model(self, request: HttpRequest, obj: PaymentMethodPolicy) -> None:
        """Delete it in the name of whoever is signed in."""
        policies.set_actor(actor=f"staff:{request.user.pk}")
        super().delete_model(request, obj)

    @admin.display(description="window")
    def window(self, policy: PaymentMethodPolicy) -> str:
        """Show how long a customer has."""
        in_force = _in_force(policy)
        return NOT_OFFERED if in_force is None else f"{in_force.method.window_minutes} minutes"

    @admin.display(description="grace")
    def grace(self, policy: PaymentMethodPolicy) -> str:
        """Show how long what was authorised in time may still be captured."""
        in_force = _in_force(policy)
        return NOT_OFFERED if in_force is None else f"{in_force.method.grace_seconds} s"

    @admin.display(description="late allowance")
    def late_allowance(self, policy: PaymentMethodPolicy) -> str:
        """Show how long money that is only now seen may still pay its order."""
        in_force = _in_force(policy)
        return NOT_OFFERED if in_force is None else f"{in_force.method.late_allowance_seconds} s"

    @admin.display(description="reminder")
    def reminder(self, policy: PaymentMethodPolicy) -> str:
        """Show when a reminder goes out."""
        in_force = _in_force(policy)
        if in_force is None:
            return NOT_OFFERED
        lead_minutes = in_force.method.reminder_lead_minutes
        return f"{lead_minutes} minutes before the deadline" if lead_minutes else "none"

    @admin.display(description="not as wished")
    def clamps(self, policy: PaymentMethodPolicy) -> SafeString | str:
        """Show every value that is not as wished, and why."""
        in_force = _in_force(policy)
        clamps = in_force.clamps if in_force else ()
        return format_html_join("", "<div>{}</div>", ((str(clamp),) for clamp in clamps)) or "-"


def _in_force(policy: PaymentMethodPolicy) -> MethodInForce | None:
    """Give what holds under a policy as it is in hand, or None when its method is not offered."""
    method = config.payment_methods().get(policy.method)
    return None if method is None else policies.apply(method=method, policy=policy)
