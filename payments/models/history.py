"""The history of every attempt: one row per transition, numbered without gaps, never changed."""

from django.db import models

from payments.domain.states import AttemptState
from payments.models.attempt import PaymentAttempt
from payments.models.chain import ChainedEntry, chain_constraints, chain_triggers


class HistoryEntry(ChainedEntry):
    """Who moved an attempt from where to where, when and why.

    The attempt's `version` refers to its latest entry by a deferred foreign key on (attempt, number), so a transition
    without its entry cannot be committed.
    """

    attempt = models.ForeignKey(PaymentAttempt, on_delete=models.PROTECT, related_name="history", db_index=False)
    to_state = models.CharField(max_length=16, choices=[(s.value, s.value) for s in AttemptState])

    class Meta:
        constraints = chain_constraints(name="history", owner="attempt")
        triggers = chain_triggers(name="history", owner="attempt", table="payments_historyentry")
        verbose_name_plural = "history entries"
