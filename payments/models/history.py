"""The history of every attempt: one row per transition, numbered without gaps, never changed (requirement W9)."""

import pgtrigger
from django.db import models
from django.db.models import Q

from payments.domain.states import AttemptState
from payments.models.attempt import PaymentAttempt


class HistoryEntry(models.Model):
    """Who moved an attempt from where to where, when and why.

    The attempt's `version` refers to its latest entry by a deferred foreign key on (attempt, number), so a transition
    without its entry cannot be committed.
    """

    attempt = models.ForeignKey(PaymentAttempt, on_delete=models.PROTECT, related_name="history", db_index=False)
    number = models.PositiveIntegerField(help_text="1 for the opening.")
    from_state = models.CharField(max_length=16, blank=True, help_text="Empty for the opening.")
    to_state = models.CharField(max_length=16, choices=[(s.value, s.value) for s in AttemptState])
    at = models.DateTimeField(help_text="Database time, read after the lock was granted.")
    actor = models.CharField(max_length=64, help_text="Such as customer:7, worker, sweep.")
    reason = models.CharField(max_length=64)
    evidence = models.JSONField(default=dict)

    class Meta:
        constraints = [
            models.UniqueConstraint(name="history_numbered_per_attempt", fields=["attempt", "number"]),
            models.CheckConstraint(
                name="history_starts_with_the_opening",
                condition=Q(number=1, from_state="") | (Q(number__gt=1) & ~Q(from_state="")),
            ),
        ]
        triggers = [
            pgtrigger.Protect(name="history_append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        ]
        verbose_name_plural = "history entries"

    def __str__(self) -> str:
        return f"{self.number}. {self.to_state}"
