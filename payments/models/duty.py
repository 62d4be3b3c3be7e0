"""What has to be done again and again, and how often it was: so that workers notice when nobody does it."""

from django.db import models


class Duty(models.Model):
    """A counter that goes up with every run, whoever ran it. Watched by change alone: no clock is compared."""

    name = models.CharField(max_length=32, primary_key=True)
    runs = models.BigIntegerField(default=0)
    stands_still_since = models.DateTimeField(
        null=True, blank=True, help_text="Database time from which the duty could not be done; empty while it can."
    )
    stands_still_why = models.CharField(max_length=255, blank=True)

    class Meta:
        verbose_name_plural = "duties"

    def __str__(self) -> str:
        return self.name
