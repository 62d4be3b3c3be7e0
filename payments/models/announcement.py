"""What the host must be told, and how far each telling is. The rows are the outbox: a message is only a hint."""

import pgtrigger
from django.db import models
from django.db.models import Q

from payments.domain.announcements import AnnouncementKind
from payments.domain.ids import Prefix, new_id, public_id
from payments.models.attempt import PaymentAttempt
from payments.models.kept import kept_unless_archived
from payments.models.order import Order


class Announcement(models.Model):
    """One fact, written in the transaction that made it true and never changed."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="announcements", db_index=False)
    attempt = models.ForeignKey(
        PaymentAttempt, on_delete=models.PROTECT, related_name="announcements", null=True, blank=True, db_index=False
    )
    number = models.PositiveIntegerField(help_text="1 for the first of its order: the order of their delivery.")
    kind = models.CharField(max_length=32, choices=[(k.value, k.value) for k in AnnouncementKind])
    payload = models.JSONField(help_text="What is sent, whole.")
    created_at = models.DateTimeField(help_text="Database time.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="announcement_kind_known", condition=Q(kind__in=[k.value for k in AnnouncementKind])
            ),
            models.CheckConstraint(name="announcement_number_positive", condition=Q(number__gte=1)),
            models.UniqueConstraint(name="announcement_numbered_per_order", fields=["order", "number"]),
        ]
        indexes = [
            # Nobody reads by it: the database asks whether an attempt that is archived is still referred to.
            models.Index(name="announcement_by_attempt", fields=["attempt"], condition=Q(attempt__isnull=False)),
        ]
        triggers = [
            kept_unless_archived(
                name="announcement_append_only", table="payments_announcement", forbids="update or delete"
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        """The id that receivers know, `ann_...`."""
        return public_id(Prefix.ANNOUNCEMENT, self.id)


class AnnouncementDelivery(models.Model):
    """One announcement on its way to one destination: it waits, it was delivered, or it was given up."""

    announcement = models.ForeignKey(Announcement, on_delete=models.PROTECT, related_name="deliveries", db_index=False)
    destination = models.CharField(max_length=64, help_text="hook, or webhook: and the webhook's name.")
    due_at = models.DateTimeField(
        null=True, blank=True, help_text="When it is tried next, or the lease of the try that runs."
    )
    tries = models.PositiveIntegerField(default=0, help_text="Tries that were begun; they space the next.")
    first_tried_at = models.DateTimeField(null=True, blank=True, help_text="Database time; giving up counts from here.")
    fence = models.PositiveIntegerField(default=0, help_text="Counts the takings; an older one changes nothing.")
    delivered_at = models.DateTimeField(null=True, blank=True, help_text="Database time after the receiver took it.")
    given_up_at = models.DateTimeField(null=True, blank=True, help_text="Database time. Nobody tries it again.")
    last_error = models.CharField(max_length=500, blank=True, help_text="Why the last try failed.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="delivery_waits_or_is_delivered_or_given_up",
                condition=Q(due_at__isnull=False, delivered_at__isnull=True, given_up_at__isnull=True)
                | Q(due_at__isnull=True, delivered_at__isnull=False, given_up_at__isnull=True)
                | Q(due_at__isnull=True, delivered_at__isnull=True, given_up_at__isnull=False),
            ),
            # Whatever has ended was tried, and what was tried says since when.
            models.CheckConstraint(
                name="delivery_tried_since",
                condition=Q(tries=0, first_tried_at__isnull=True, due_at__isnull=False)
                | Q(tries__gte=1, first_tried_at__isnull=False),
            ),
            models.CheckConstraint(
                name="delivery_given_up_with_its_error", condition=Q(given_up_at__isnull=True) | ~Q(last_error="")
            ),
            models.CheckConstraint(name="delivery_names_its_destination", condition=~Q(destination="")),
            models.UniqueConstraint(name="delivery_once_per_destination", fields=["announcement", "destination"]),
        ]
        indexes = [
            # What a deliverer asks for, oldest first; it holds only what waits.
            models.Index(name="delivery_due", fields=["destination", "due_at"], condition=Q(due_at__isnull=False)),
        ]
        triggers = [
            pgtrigger.ReadOnly(name="delivery_facts", fields=["announcement", "destination"]),
            pgtrigger.Protect(
                name="delivery_made_stays_made",
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(old__delivered_at__isnull=False),
            ),
            kept_unless_archived(name="delivery_kept", table="payments_announcementdelivery"),
        ]
        verbose_name_plural = "announcement deliveries"

    def __str__(self) -> str:
        return f"{self.announcement_id} to {self.destination}"
