"""What the clock guard keeps: what clocks did, and who attests that the database's clock ran true."""

from django.db import models
from django.db.models import F, Q

from payments.domain.clock import Detection
from payments.domain.ids import new_id


class ClockEvent(models.Model):
    """One thing that a clock did, written on a connection of its own: no rollback erases it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(max_length=32, choices=[(kind.value, kind.value) for kind in Detection])
    # Not a foreign key: the attempt may be part of a transaction that is not committed, or never will be.
    attempt_id = models.UUIDField(null=True, blank=True, db_index=True, help_text="The attempt that it was seen with.")
    seconds = models.FloatField(help_text="How far the clock moved, forward if positive.")
    detail = models.CharField(max_length=255)
    host = models.CharField(max_length=255)
    domain = models.CharField(max_length=255, help_text="The boot whose boot clock it was seen by.")
    process = models.CharField(max_length=64, help_text="Such as celery:4711.")
    wall = models.DateTimeField(help_text="This host's wall clock when it was seen.")
    boottime_seconds = models.FloatField(help_text="This host's boot clock when it was seen.")
    recorded_at = models.DateTimeField(help_text="Database time when it was written.")
    evidence = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(name="clock_event_by_time", fields=["-recorded_at"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.seconds:+.3f} s"


class ClockWitness(models.Model):
    """A process attests that the database's clock ran as its own boot clock did, from `since` to `until`.

    Each process writes rows of its own only, so nobody waits for anybody; the latest `until` of all is the high-water
    mark of database time.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    host = models.CharField(max_length=255)
    domain = models.CharField(max_length=255)
    process = models.CharField(max_length=64)
    since = models.DateTimeField(help_text="Database time; its own beginning, or that of those it follows on.")
    until = models.DateTimeField(help_text="Database time of its last look that agreed.")
    boottime_at_until_seconds = models.FloatField()
    crept_seconds = models.FloatField(default=0.0, help_text="Steps that were too small to act on, added up.")
    steps = models.JSONField(default=dict, help_text="Where the clock lately stepped.")

    class Meta:
        verbose_name_plural = "clock witnesses"
        constraints = [
            models.CheckConstraint(name="clock_witness_in_order", condition=Q(until__gte=F("since"))),
        ]

    def __str__(self) -> str:
        return f"{self.process} on {self.host}"
