"""`manage.py write_beat_schedules`."""

from typing import Any

from django.core.management.base import BaseCommand

from beat_schedules.write import write_schedule


class Command(BaseCommand):
    """Write the schedule."""

    help = "Write the periodic tasks to the database; entries that an operator changed are kept."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Write, and say what became of each entry."""
        for result in write_schedule():
            self.stdout.write(f"{result.name}: {result.written.value}")
