"""What gateways sent word of: stored before it is answered, and owed an act until that was done.

The row is the outbox of its own job: whatever is due is published again by the rescue.
"""

import enum

import pgtrigger
from django.db import models
from django.db.models import Q

from payments.domain.ids import new_id


class EventEnding(enum.StrEnum):
    """What came of an event."""

    ASKED = "asked"  # The gateway was asked after it came, and what it answered was recorded.
    NOTHING_NEW = "nothing_new"  # Our own records say so already.
    UNKNOWN_PAYMENT = "unknown_payment"  # It names none of ours; it is kept, and left.
    GIVEN_UP = "given_up"  # The gateway could not be asked for too long.


class WebhookEvent(models.Model):
    """One event of one gateway, however often it was sent."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    gateway = models.CharField(max_length=32)
    account = models.CharField(max_length=64, blank=True, help_text="Of ours at the gateway, where it has several.")
    event_id = models.CharField(max_length=255, help_text="The gateway's.")
    kind = models.CharField(max_length=64, help_text="In the gateway's own words.")
    tells = models.CharField(max_length=16, help_text="What it is about, in ours. It is a hint and no evidence.")
    payment_id = models.CharField(max_length=64, blank=True, help_text="Our public id, as the event has it.")
    charge_reference = models.CharField(max_length=255, blank=True, help_text="The gateway's id, as the event has it.")
    is_timely = models.BooleanField(help_text="Signed within the tolerance of our clock.")
    headers = models.JSONField(default=dict, help_text="As they came, names in lower case, without credentials.")
    body = models.BinaryField(help_text="Byte for byte as it came, at most 64 KB.")
    received_at = models.DateTimeField(help_text="Database time.")
    due_at = models.DateTimeField(null=True, blank=True, help_text="When somebody must look at it; empty when done.")
    due_since = models.DateTimeField(help_text="When it came, or was replayed: what was asked before is no answer.")
    published_at = models.DateTimeField(null=True, blank=True, help_text="When a job for it was last published.")
    tries = models.PositiveIntegerField(default=0)
    applied_at = models.DateTimeField(null=True, blank=True, help_text="Database time of its ending.")
    ending = models.CharField(max_length=16, blank=True, choices=[(e.value, e.value) for e in EventEnding])

    class Meta:
        constraints = [
            # However often it is sent, it is one event.
            models.UniqueConstraint(name="webhook_event_once", fields=["gateway", "account", "event_id"]),
            models.CheckConstraint(name="webhook_event_has_an_id", condition=~Q(event_id="")),
            models.CheckConstraint(
                name="webhook_event_is_due_or_done",
                condition=Q(due_at__isnull=False, applied_at__isnull=True, ending="")
                | (Q(due_at__isnull=True, applied_at__isnull=False) & ~Q(ending="")),
            ),
        ]
        indexes = [models.Index(name="webhook_event_due", fields=["due_at"], condition=Q(due_at__isnull=False))]
        triggers = [
            pgtrigger.ReadOnly(
                name="webhook_event_facts",
                fields=[
                    "gateway",
                    "account",
                    "event_id",
                    "kind",
                    "tells",
                    "payment_id",
                    "charge_reference",
                    "is_timely",
                    "headers",
                    "body",
                    "received_at",
                ],
            ),
            pgtrigger.Protect(name="webhook_event_kept", operation=pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return f"{self.gateway} {self.event_id}: {self.ending or 'due'}"
