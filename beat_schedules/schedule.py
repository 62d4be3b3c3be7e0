"""What runs when. Every entry may be late, run twice or not at all without harm: the rows hold the due times."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One periodic task."""

    name: str
    task: str
    every_seconds: int
    why: str


SCHEDULE = (
    Entry(
        name="sweep-expired",
        task="payments.sweep_expired",
        every_seconds=1,  # The expiry objective: terminal within a second of the deadline.
        why="Ends attempts and orders whose window has closed, and gives their stock back.",
    ),
    Entry(
        name="publish-owed",
        task="payments.publish_owed",
        every_seconds=2,
        why="Publishes the jobs of queued attempts that no worker took in time.",
    ),
)
