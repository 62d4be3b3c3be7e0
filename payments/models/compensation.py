"""Money that goes back: a void or a refund, with a key, a fence, doubts and a history of its own."""

import pgtrigger
from django.db import models
from django.db.models import Q

from payments.domain.compensations import (
    CompensationKind,
    CompensationReason,
    CompensationState,
    compensation_edges,
)
from payments.domain.ids import Prefix, new_id, public_id
from payments.domain.money import MAX_AMOUNT_MINOR
from payments.models.attempt import PaymentAttempt
from payments.models.chain import ChainedEntry, chain_constraints, chain_triggers, every_transition_counts
from payments.models.kept import kept_unless_archived
from payments.models.order import Order

_AT_REST = sorted({CompensationState.DONE, CompensationState.NEEDS_REVIEW})


class Compensation(models.Model):
    """One void or refund of one charge. Changed only under the lock of its order."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="compensations")
    attempt = models.ForeignKey(PaymentAttempt, on_delete=models.PROTECT, related_name="compensations")
    gateway = models.CharField(max_length=32)
    charge_key = models.CharField(max_length=64, help_text="The key that the charge was made with.")
    charge_reference = models.CharField(max_length=255, blank=True, help_text="Empty when only the key is known.")
    kind = models.CharField(max_length=16, choices=[(k.value, k.value) for k in CompensationKind])
    reason = models.CharField(max_length=32, choices=[(r.value, r.value) for r in CompensationReason])
    amount_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)

    state = models.CharField(max_length=16, choices=[(s.value, s.value) for s in CompensationState])
    version = models.PositiveIntegerField(help_text="The number of its latest history entry.")
    created_at = models.DateTimeField(help_text="Database time.")
    closed_at = models.DateTimeField(null=True, blank=True, help_text="Database time of its end.")
    due_at = models.DateTimeField(null=True, blank=True, help_text="When somebody must look again.")
    published_at = models.DateTimeField(null=True, blank=True, help_text="When its job was last published.")
    fence = models.PositiveIntegerField(default=0, help_text="Counts the takings; an older one changes nothing.")
    tries = models.PositiveIntegerField(default=0, help_text="How often the gateway was asked; spaces the asking.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="compensation_state_known", condition=Q(state__in=[s.value for s in CompensationState])
            ),
            models.CheckConstraint(
                name="compensation_kind_known", condition=Q(kind__in=[k.value for k in CompensationKind])
            ),
            models.CheckConstraint(
                name="compensation_amount_positive",
                condition=Q(amount_minor__gt=0, amount_minor__lte=MAX_AMOUNT_MINOR),
            ),
            models.CheckConstraint(
                name="compensation_refund_names_its_charge", condition=~Q(kind="refund", charge_reference="")
            ),
            models.CheckConstraint(
                name="compensation_closed_when_done",
                condition=Q(state="done", closed_at__isnull=False) | (~Q(state="done") & Q(closed_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="compensation_due_unless_at_rest",
                condition=Q(state__in=_AT_REST, due_at__isnull=True)
                | (~Q(state__in=_AT_REST) & Q(due_at__isnull=False)),
            ),
            # A charge is voided once and refunded once, whoever found it and however often.
            models.UniqueConstraint(
                name="compensation_once_per_charge",
                fields=["gateway", "charge_reference", "kind"],
                condition=~Q(charge_reference=""),
            ),
            models.UniqueConstraint(
                name="compensation_once_per_key",
                fields=["gateway", "charge_key", "kind"],
                condition=Q(charge_reference=""),
            ),
        ]
        indexes = [
            models.Index(name="compensation_due", fields=["due_at"], condition=Q(due_at__isnull=False)),
        ]
        triggers = [
            pgtrigger.FSM(
                name="compensation_transitions",
                field="state",
                transitions=compensation_edges(),
                condition=pgtrigger.AnyChange("state"),
            ),
            every_transition_counts(name="compensation_transition_counts"),
            pgtrigger.ReadOnly(
                name="compensation_facts",
                fields=[
                    "order",
                    "attempt",
                    "gateway",
                    "charge_key",
                    "charge_reference",
                    "kind",
                    "reason",
                    "amount_minor",
                    "currency",
                    "created_at",
                ],
            ),
            kept_unless_archived(name="compensation_kept", table="payments_compensation"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        """The id that logs show and that its calls use as their key, `cmp_...`."""
        return public_id(Prefix.COMPENSATION, self.id)


class CompensationEntry(ChainedEntry):
    """Who moved a compensation from where to where, when and why. Its `version` refers to it as an attempt's does."""

    compensation = models.ForeignKey(Compensation, on_delete=models.PROTECT, related_name="history", db_index=False)
    to_state = models.CharField(max_length=16, choices=[(s.value, s.value) for s in CompensationState])

    class Meta:
        constraints = chain_constraints(name="compensation_history", owner="compensation")
        triggers = chain_triggers(name="compensation_history", owner="compensation", table="payments_compensationentry")
        verbose_name_plural = "compensation entries"
