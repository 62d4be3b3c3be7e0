"""What was answered under an idempotency key, so that a repeated request is answered the same and does nothing."""

import enum

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import Q

from payments.domain.ids import new_id
from payments.models.attempt import PaymentAttempt


class RequestState(enum.StrEnum):
    """Where a request with a key stands."""

    RUNNING = "running"  # Committed before its work begins; after the lease, a repeat takes it over.
    FINISHED = "finished"  # Answered, and the answer is kept.


class IdempotencyRecord(models.Model):
    """One request under one user's key. Its id is the claim: a repeat that takes it over gives it another."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    key = models.CharField(max_length=255, help_text="As the client sent it.")
    method = models.CharField(max_length=8)
    path = models.TextField(help_text="With its query.")
    body_hash = models.CharField(max_length=64, help_text="SHA-256 of the body.")
    created_at = models.DateTimeField(help_text="Database time.")
    state = models.CharField(max_length=8, choices=[(s.value, s.value) for s in RequestState])
    lease_expires_at = models.DateTimeField(null=True, blank=True, help_text="From here on a repeat may take over.")
    attempt = models.ForeignKey(
        PaymentAttempt,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
        help_text="What the request did, written in the transaction that did it.",
    )
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    content_type = models.CharField(max_length=64, blank=True)
    body = models.BinaryField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="idempotency_key_once_per_user", fields=["user", "key"]),
            models.CheckConstraint(name="idempotency_key_not_empty", condition=~Q(key="")),
            # A failure on our side is no answer: the repeat must be able to do the work.
            models.CheckConstraint(
                name="idempotency_finished_with_an_answer",
                condition=Q(
                    state="running", lease_expires_at__isnull=False, status__isnull=True, content_type="", body=None
                )
                | (
                    Q(state="finished", lease_expires_at__isnull=True, status__gte=200, status__lt=500)
                    & Q(body__isnull=False)
                    & ~Q(content_type="")
                ),
            ),
        ]
        indexes = [
            models.Index(name="idempotency_oldest_first", fields=["created_at"]),
            # Nobody reads by it: the database asks whether an attempt that is archived is still referred to.
            models.Index(name="idempotency_by_attempt", fields=["attempt"], condition=Q(attempt__isnull=False)),
        ]
        triggers = [
            # Byte for byte, for as long as it is kept.
            pgtrigger.Protect(
                name="idempotency_answer_kept", operation=pgtrigger.Update, condition=pgtrigger.Q(old__state="finished")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.path}: {self.state}"
