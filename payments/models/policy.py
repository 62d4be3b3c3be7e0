"""What operators wish for the windows of each payment method, and the record of every such wish."""

import pgtrigger
from django.db import models
from django.db.models import Q

from payments.domain.policy import Wishes

# A transaction says by this setting in whose name it changes a policy (payments/policies.py).
ACTOR_SETTING = "paywindow.actor"

_RECORD_SQL = """
    IF TG_OP = 'UPDATE' AND OLD IS NOT DISTINCT FROM NEW THEN
        RETURN NULL;
    END IF;
    INSERT INTO payments_policychange (method, at, actor, database_user, old, new) VALUES (
        CASE WHEN TG_OP = 'DELETE' THEN OLD.method ELSE NEW.method END,
        clock_timestamp(),
        coalesce(
            nullif(left(current_setting('{actor_setting}', true), 64), ''), left('database:' || session_user, 64)
        ),
        session_user,
        CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) - 'id' - 'method' END,
        CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) - 'id' - 'method' END
    );
    RETURN NULL;
"""


class PaymentMethodPolicy(models.Model):
    """Overrides the settings for one payment method, from the next attempt on; what is empty is as the settings say.

    A wish outside the limits is kept as it was made; what takes effect is held to them (payments/domain/policy.py).
    """

    method = models.CharField(max_length=32, unique=True, help_text="As PAYMENT_METHODS has it. Set once.")
    window_minutes = models.PositiveIntegerField(
        null=True, blank=True, help_text="How long a customer has, from opening the attempt: 5 minutes to 24 hours."
    )
    grace_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="After the window: how long what was authorised inside it may still be captured. 0 to 300 s.",
    )
    late_allowance_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="After the grace: how long money that is only now seen may still pay its order.",
    )
    reminder_lead_minutes = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="How long before the deadline a reminder goes out. 0: none does.",
    )

    class Meta:
        verbose_name_plural = "payment method policies"
        constraints = [
            models.CheckConstraint(name="policy_method_not_empty", condition=~Q(method="")),
            models.CheckConstraint(
                name="policy_window_positive",
                condition=Q(window_minutes__isnull=True) | Q(window_minutes__gt=0),
                violation_error_message="A window has at least a minute.",
            ),
        ]
        triggers = [
            pgtrigger.ReadOnly(name="policy_facts", fields=["method"]),
            # No console changes a policy without a trace.
            pgtrigger.Trigger(
                name="policy_recorded",
                when=pgtrigger.After,
                operation=pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete,
                func=_RECORD_SQL.replace("{actor_setting}", ACTOR_SETTING),
            ),
        ]

    def __str__(self) -> str:
        return self.method

    @property
    def wishes(self) -> Wishes:
        """What is wished, without whose it is."""
        return Wishes(
            window_minutes=self.window_minutes,
            grace_seconds=self.grace_seconds,
            late_allowance_seconds=self.late_allowance_seconds,
            reminder_lead_minutes=self.reminder_lead_minutes,
        )


class PolicyChange(models.Model):
    """One change of a policy, written by the database itself and never changed."""

    method = models.CharField(max_length=32)
    at = models.DateTimeField(help_text="Database time.")
    actor = models.CharField(max_length=64, help_text="Such as staff:7; database: and a name when nobody said who.")
    database_user = models.CharField(max_length=64, help_text="Whose session it was, as the database knows it.")
    old = models.JSONField(null=True, help_text="The values before; empty when there was no policy.")
    new = models.JSONField(null=True, help_text="The values from then on; empty when the policy was removed.")

    class Meta:
        indexes = [models.Index(name="policy_change_by_method", fields=["method", "id"])]
        triggers = [
            pgtrigger.Protect(name="policy_change_append_only", operation=pgtrigger.Update | pgtrigger.Delete),
            # Only what happened is on record: rows come from the policy's own trigger, never from a statement.
            pgtrigger.Protect(
                name="policy_change_by_trigger_only",
                operation=pgtrigger.Insert,
                condition=pgtrigger.Condition("pg_trigger_depth() = 0"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.method}: {self.actor}"
