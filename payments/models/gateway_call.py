"""Every call to a gateway, written before it is made: what is not here was never sent."""

import pgtrigger
from django.db import models
from django.db.models import Q

from payments.domain.ids import new_id
from payments.domain.outcomes import Operation
from payments.models.attempt import PaymentAttempt
from payments.models.compensation import Compensation
from payments.models.kept import kept_unless_archived


class GatewayCall(models.Model):
    """One call, with the key and the body's hash that it was made under, and how it ended."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    attempt = models.ForeignKey(PaymentAttempt, on_delete=models.PROTECT, related_name="gateway_calls")
    compensation = models.ForeignKey(
        Compensation, on_delete=models.PROTECT, null=True, blank=True, related_name="gateway_calls"
    )
    operation = models.CharField(max_length=16, choices=[(o.value, o.value) for o in Operation])
    idempotency_key = models.CharField(max_length=64)
    request_hash = models.CharField(max_length=64, help_text="SHA-256 of the canonical request.")
    fence = models.PositiveIntegerField(help_text="The claim that it was made under.")
    started_at = models.DateTimeField(help_text="Database time of the claim, before the call.")
    deadline_seconds = models.FloatField(help_text="How long the call may take in all.")
    finished_at = models.DateTimeField(null=True, blank=True, help_text="Database time of the record.")
    outcome = models.CharField(
        max_length=16, blank=True, help_text="Empty while the call runs, or if nobody saw its end."
    )
    code = models.CharField(max_length=64, blank=True)
    detail = models.CharField(max_length=500, blank=True)
    reference = models.CharField(max_length=255, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="gateway_call_ends_with_an_outcome",
                condition=Q(finished_at__isnull=True, outcome="") | (Q(finished_at__isnull=False) & ~Q(outcome="")),
            ),
        ]
        triggers = [
            pgtrigger.ReadOnly(
                name="gateway_call_facts",
                fields=[
                    "attempt",
                    "compensation",
                    "operation",
                    "idempotency_key",
                    "request_hash",
                    "fence",
                    "started_at",
                ],
            ),
            kept_unless_archived(name="gateway_call_kept", table="payments_gatewaycall"),
        ]

    def __str__(self) -> str:
        return f"{self.operation}: {self.outcome or 'no end seen'}"
