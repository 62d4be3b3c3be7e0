"""Sending reminders, step by step."""

from datetime import timedelta

from payments import clocks, lifecycle, locks
from payments.domain.reminders import Channel
from payments.lifecycle import remind
from payments.lifecycle.remind import ReminderRun
from payments.models import PaymentAttempt, Reminder
from payments.transactions import transaction

NOTHING = ReminderRun(sent=0, tried_again_later=0, skipped=0, failed=0, unknown=0)


def send_due() -> ReminderRun:
    return lifecycle.send_due_reminders(limit=100)


def take(attempt: PaymentAttempt, *, channel: Channel = Channel.EMAIL) -> remind._Taken:
    """Owe and take a reminder, and leave it at that, as a worker does that dies at once."""
    remind._owe_due(limit=100)
    with transaction():
        assert locks.lock_order_of_reminder_due(channel=channel, now=clocks.database_now()) is not None
        taken = remind._take(order_id=attempt.order_id, channel=channel)
    assert isinstance(taken, remind._Taken)
    return taken


def make_due() -> None:
    """Let the wait or the lease of whatever waits be over."""
    Reminder.objects.filter(due_at__isnull=False).update(due_at=clocks.database_now() - timedelta(seconds=1))


def states() -> list[tuple[str, str, str, int]]:
    """(channel, state, why, tries) of every reminder."""
    return list(Reminder.objects.order_by("id").values_list("channel", "state", "why", "tries"))
