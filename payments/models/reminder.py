"""One reminder of one attempt over one channel: the row is what makes it one."""

import pgtrigger
from django.db import models
from django.db.models import Q

from payments.domain.reminders import EDGES, ENDED_WITHOUT, WAITING, Channel, ReminderState
from payments.models.attempt import PaymentAttempt
from payments.models.kept import kept_unless_archived

_WAITING = sorted(WAITING)
_ENDED_WITHOUT = sorted(ENDED_WITHOUT)


class Reminder(models.Model):
    """It is owed, being sent, or has ended for good. Its address is not in it: that is the customer's own row."""

    attempt = models.ForeignKey(PaymentAttempt, on_delete=models.PROTECT, related_name="reminders", db_index=False)
    channel = models.CharField(max_length=8, choices=[(c.value, c.value) for c in Channel])
    state = models.CharField(max_length=8, choices=[(s.value, s.value) for s in ReminderState])
    why = models.CharField(max_length=64, blank=True, help_text="Why it was not sent, or not yet, as a code.")
    owed_at = models.DateTimeField(help_text="Database time at which it became due.")
    due_at = models.DateTimeField(
        null=True, blank=True, help_text="When it is sent next, or the lease of the sending that runs."
    )
    tries = models.PositiveIntegerField(default=0, help_text="Sendings that were begun.")
    fence = models.PositiveIntegerField(default=0, help_text="Counts the takings; an older one changes nothing.")
    sent_at = models.DateTimeField(null=True, blank=True, help_text="Database time after its carrier took it.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="reminder_channel_known", condition=Q(channel__in=[channel.value for channel in Channel])
            ),
            models.CheckConstraint(
                name="reminder_state_known", condition=Q(state__in=[state.value for state in ReminderState])
            ),
            # Once an attempt and channel, whoever sends and however often.
            models.UniqueConstraint(name="reminder_once_per_attempt_and_channel", fields=["attempt", "channel"]),
            models.CheckConstraint(
                name="reminder_due_until_it_ends",
                condition=Q(state__in=_WAITING, due_at__isnull=False)
                | (~Q(state__in=_WAITING) & Q(due_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="reminder_sent_when_sent",
                condition=Q(state="sent", sent_at__isnull=False) | (~Q(state="sent") & Q(sent_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="reminder_not_sent_for_a_reason", condition=~Q(state__in=_ENDED_WITHOUT) | ~Q(why="")
            ),
            models.CheckConstraint(
                name="reminder_tried_before_it_is_sent",
                condition=~Q(state__in=["sending", "sent", "unknown"]) | Q(tries__gte=1, fence__gte=1),
            ),
        ]
        indexes = [
            # What a sender asks for, oldest first; it holds only what waits.
            models.Index(name="reminder_due", fields=["channel", "due_at"], condition=Q(due_at__isnull=False)),
        ]
        triggers = [
            # What has ended stays as it ended: no edge leads back, and none from what may have been sent to a second.
            pgtrigger.FSM(
                name="reminder_transitions",
                field="state",
                transitions=[(before.value, after.value) for before, after in EDGES],
                condition=pgtrigger.AnyChange("state"),
            ),
            # The sender holds the order's lock, so the attempt cannot be submitted between this look and the commit.
            pgtrigger.Trigger(
                name="reminder_only_while_open",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update,
                condition=pgtrigger.Q(new__state="sending"),
                func="""
                    IF NOT EXISTS (
                        SELECT FROM payments_paymentattempt WHERE id = NEW.attempt_id AND state = 'open'
                    ) THEN
                        RAISE EXCEPTION 'attempt % is not open: nobody is reminded of it', NEW.attempt_id;
                    END IF;
                    RETURN NEW;
                """,
            ),
            pgtrigger.ReadOnly(name="reminder_facts", fields=["attempt", "channel", "owed_at"]),
            kept_unless_archived(name="reminder_kept", table="payments_reminder"),
        ]

    def __str__(self) -> str:
        return f"{self.channel} of {self.attempt_id}: {self.state}"
