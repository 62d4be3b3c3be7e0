"""A payment attempt: one chance to pay one order, inside one window, under one key at the gateway."""

from datetime import datetime, timedelta

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import F, Q

from payments.domain import states
from payments.domain.ids import Prefix, new_id, public_id
from payments.domain.money import MAX_AMOUNT_MINOR
from payments.domain.states import AttemptState
from payments.domain.window import MAX_GRACE, MAX_WINDOW, MIN_WINDOW
from payments.models.chain import every_transition_counts
from payments.models.kept import kept_unless_archived
from payments.models.order import Order

_TERMINAL = sorted(states.TERMINAL)
_ASKED_ABOUT = sorted(states.ASKED_ABOUT)
_IN_DOUBT = sorted({AttemptState.IN_DOUBT, AttemptState.NEEDS_REVIEW})
_NEEDS_NO_CLOCK = sorted({*states.TERMINAL, AttemptState.NEEDS_REVIEW})


class PaymentAttempt(models.Model):
    """The row that every decision is taken on, always under the lock of its order."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="attempts", db_index=False)
    customer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    number = models.PositiveSmallIntegerField(help_text="1 for the first attempt of its order.")
    method = models.CharField(max_length=32)
    gateway = models.CharField(max_length=32)
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)

    state = models.CharField(max_length=16, choices=[(s.value, s.value) for s in AttemptState])
    version = models.PositiveIntegerField(help_text="The number of its latest history entry.")
    opened_at = models.DateTimeField(help_text="Database time.")
    expires_at = models.DateTimeField(help_text="Nothing is charged from here on. Set once.")
    grace_seconds = models.PositiveSmallIntegerField(
        help_text="After the window: what was authorised inside it may still be captured. Set once."
    )
    late_allowance_seconds = models.PositiveIntegerField(
        help_text="After the grace: money that is only now seen may still pay the order. Set once."
    )
    closed_at = models.DateTimeField(null=True, blank=True, help_text="Database time of the terminal transition.")
    reminder_at = models.DateTimeField(
        null=True, blank=True, help_text="When its customer is reminded if it is still open; empty if not, or done."
    )
    due_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When somebody must look again: deadline, redispatch, lease or resolution.",
    )

    # What the clocks said, for the clock guard (payments/domain/clock.py, Reading.as_stamp).
    opened_stamp = models.JSONField(default=dict, help_text="What the clocks said when it was opened.")
    enqueued_stamp = models.JSONField(default=dict, help_text="What they said when its job was last enqueued.")
    held_since = models.DateTimeField(
        null=True, blank=True, help_text="Database time from which the clocks disagree about it; empty if they do not."
    )

    payment_token = models.CharField(max_length=255, blank=True, help_text="The gateway's token; never card data.")
    fence = models.PositiveIntegerField(default=0, help_text="Counts claims; an older claim changes nothing.")
    gateway_key = models.CharField(max_length=64, blank=True, help_text="One per attempt, the same at every call.")
    gateway_reference = models.CharField(max_length=255, blank=True, help_text="The gateway's id of the charge.")
    return_url = models.CharField(
        max_length=2048,
        blank=True,
        default="",
        db_default="",
        help_text="Where the gateway sends the customer back to. Written when it is submitted, and never again.",
    )
    redirect_url = models.CharField(max_length=2048, blank=True, help_text="The gateway's hosted page, if any.")
    failure_code = models.CharField(max_length=64, blank=True)
    doubt_code = models.CharField(max_length=64, blank=True, help_text="Why nobody knows what became of the money.")
    unresolved_since = models.DateTimeField(
        null=True, blank=True, help_text="Database time from which the gateway has been asked; a day of it is enough."
    )
    questions = models.PositiveIntegerField(default=0, help_text="How often the gateway was asked; spaces the asking.")
    published_at = models.DateTimeField(null=True, blank=True, help_text="When a job to resolve it was last published.")
    correlation_id = models.CharField(max_length=64, blank=True, help_text="The web request that submitted it.")

    class Meta:
        constraints = [
            models.CheckConstraint(name="attempt_state_known", condition=Q(state__in=[s.value for s in AttemptState])),
            models.CheckConstraint(
                name="attempt_window_5_minutes_to_24_hours",
                condition=Q(expires_at__gte=F("opened_at") + MIN_WINDOW, expires_at__lte=F("opened_at") + MAX_WINDOW),
            ),
            models.CheckConstraint(
                name="attempt_grace_at_most_5_minutes",
                condition=Q(grace_seconds__lte=int(MAX_GRACE.total_seconds())),
            ),
            models.CheckConstraint(
                name="attempt_number_within_limit",
                condition=Q(number__gte=1, number__lte=states.MAX_ATTEMPTS_PER_ORDER),
            ),
            models.CheckConstraint(
                name="attempt_amount_positive",
                condition=Q(amount_minor__gt=0, amount_minor__lte=MAX_AMOUNT_MINOR),
            ),
            models.CheckConstraint(
                name="attempt_closed_when_terminal",
                condition=Q(state__in=_TERMINAL, closed_at__isnull=False)
                | (~Q(state__in=_TERMINAL) & Q(closed_at__isnull=True)),
            ),
            # Nothing non-terminal without a next action.
            models.CheckConstraint(
                name="attempt_due_unless_at_rest",
                condition=Q(state__in=_NEEDS_NO_CLOCK, due_at__isnull=True)
                | (~Q(state__in=_NEEDS_NO_CLOCK) & Q(due_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="attempt_failed_with_code",
                condition=(Q(state="failed") & ~Q(failure_code="")) | (~Q(state="failed") & Q(failure_code="")),
            ),
            models.CheckConstraint(
                name="attempt_in_doubt_with_code",
                condition=(Q(state__in=_IN_DOUBT) & ~Q(doubt_code="")) | (~Q(state__in=_IN_DOUBT) & Q(doubt_code="")),
            ),
            models.CheckConstraint(
                name="attempt_claimed_with_fence_and_key",
                condition=Q(state__in=["open", "queued", "expired", "cancelled"])
                | (Q(fence__gte=1) & ~Q(gateway_key="")),
            ),
            models.CheckConstraint(
                name="attempt_held_while_queued", condition=Q(held_since__isnull=True) | Q(state="queued")
            ),
            models.UniqueConstraint(name="attempt_number_once", fields=["order", "number"]),
            # The heart of "never twice": a second live attempt cannot exist, whatever the code believes.
            models.UniqueConstraint(
                name="attempt_one_live_per_order",
                fields=["order"],
                condition=Q(state__in=sorted(states.SLOT_HOLDING)),
            ),
            models.UniqueConstraint(
                name="attempt_one_success_per_order", fields=["order"], condition=Q(state="succeeded")
            ),
            # A customer's second charge waits for the first.
            models.UniqueConstraint(
                name="attempt_one_charging_per_customer", fields=["customer"], condition=Q(state="charging")
            ),
        ]
        indexes = [
            # Which payment an event is about that names the gateway's own id alone.
            models.Index(
                name="attempt_by_gateway_reference",
                fields=["gateway", "gateway_reference"],
                condition=~Q(gateway_reference=""),
            ),
            # What the sweep asks for, oldest first; it stays as small as the number of live attempts.
            models.Index(
                name="attempt_due_for_expiry",
                fields=["expires_at", "order"],
                condition=Q(state__in=sorted(states.SWEEPABLE)),
            ),
            # Whose customer is still to be reminded; an attempt leaves it when it is submitted.
            models.Index(
                name="attempt_due_for_reminder",
                fields=["reminder_at"],
                condition=Q(state="open", reminder_at__isnull=False),
            ),
            # Whose stock is given back although nobody knows their end.
            models.Index(
                name="attempt_unresolved",
                fields=["expires_at", "order"],
                condition=Q(state__in=sorted(states.UNRESOLVED)),
            ),
            # What the rescue task asks for.
            models.Index(name="attempt_due_for_dispatch", fields=["due_at"], condition=Q(state="queued")),
            models.Index(name="attempt_due_for_asking", fields=["due_at"], condition=Q(state__in=_ASKED_ABOUT)),
        ]
        triggers = [
            pgtrigger.FSM(
                name="attempt_transitions",
                field="state",
                transitions=states.edges(),
                condition=pgtrigger.AnyChange("state"),
            ),
            # With the version's foreign key to the history: no state changes without an entry.
            every_transition_counts(name="attempt_transition_counts"),
            # A deadline that could be moved would be no deadline.
            pgtrigger.ReadOnly(
                name="attempt_facts",
                fields=[
                    "order",
                    "customer",
                    "number",
                    "method",
                    "gateway",
                    "amount_minor",
                    "currency",
                    "opened_at",
                    "expires_at",
                    "grace_seconds",
                    "late_allowance_seconds",
                    "opened_stamp",
                ],
            ),
            # It is part of what is sent under the attempt's key, and every repeat has to send the same.
            pgtrigger.Protect(
                name="attempt_return_url_once",
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(old__return_url__df=pgtrigger.F("new__return_url"))
                & ~pgtrigger.Q(old__state="open"),
            ),
            kept_unless_archived(name="attempt_kept", table="payments_paymentattempt"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        """The id that the API and the logs show, `pay_...`."""
        return public_id(Prefix.PAYMENT, self.id)

    @property
    def grace_ends_at(self) -> datetime:
        """From here on nothing is captured, and no answer is waited for."""
        return self.expires_at + timedelta(seconds=self.grace_seconds)

    @property
    def late_allowance_ends_at(self) -> datetime:
        """From here on money that is seen no longer pays the order."""
        return self.grace_ends_at + timedelta(seconds=self.late_allowance_seconds)
