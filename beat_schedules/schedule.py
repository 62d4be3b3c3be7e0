"""What runs when. Every entry may be late, run twice or not at all without harm: the rows hold the due times."""

from dataclasses import dataclass

from payments import config


@dataclass(frozen=True, slots=True)
class Entry:
    """One periodic task."""

    name: str
    task: str
    every_seconds: float
    why: str


SCHEDULE = (
    Entry(
        name="sweep-expired",
        task="payments.sweep_expired",
        every_seconds=config.limits().sweep_period_seconds,  # The expiry objective (payments/limits.py).
        why="Ends attempts and orders whose window has closed, and gives their stock back.",
    ),
    Entry(
        name="publish-owed",
        task="payments.publish_owed",
        every_seconds=2,
        why="Publishes the jobs of whatever is due and was not taken: charges, doubts, compensations.",
    ),
    Entry(
        name="notify-staff",
        task="payments.notify_staff",
        every_seconds=30,
        why="Mails the administrators about orders that could not be ended.",
    ),
    Entry(
        name="check-invariants",
        task="payments.check_invariants",
        every_seconds=900,
        why="Looks for rows that break what must always hold.",
    ),
    Entry(
        name="forget-idempotency-keys",
        task="payments.forget_idempotency_keys",
        every_seconds=3600,
        why="Deletes the answers of idempotency keys that are kept no longer.",
    ),
    Entry(
        name="announce",
        task="payments.announce",
        every_seconds=2,
        why="Tells the host what happened: its function, and the receivers of webhooks.",
    ),
    Entry(
        name="send-reminders",
        task="payments.send_reminders",
        every_seconds=5,
        why="Reminds customers who have not paid, some minutes before their window closes.",
    ),
)
