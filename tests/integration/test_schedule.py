"""The schedule in code becomes rows, and an operator's changes stay."""

import pytest
from django_celery_beat.models import IntervalSchedule, PeriodicTask

import beat_schedules.write
from beat_schedules.schedule import SCHEDULE, Entry
from beat_schedules.write import Written, write_schedule
from project.celery import app

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def empty_schedule() -> None:
    """Begin without a schedule: that of the database is written by whoever starts a system."""
    PeriodicTask.objects.all().delete()


def outcomes() -> set[Written]:
    return {result.written for result in write_schedule()}


def test_writing_twice_changes_nothing() -> None:
    assert outcomes() == {Written.CREATED}
    before = list(PeriodicTask.objects.order_by("name").values())
    assert outcomes() == {Written.UNCHANGED}
    assert list(PeriodicTask.objects.order_by("name").values()) == before
    assert {row["name"] for row in before} == {entry.name for entry in SCHEDULE}


def test_every_entry_names_a_task_that_exists() -> None:
    app.loader.import_default_modules()
    assert {entry.task for entry in SCHEDULE} <= set(app.tasks)


@pytest.mark.parametrize("change", ["interval", "enabled"])
def test_what_an_operator_changed_is_kept(change: str) -> None:
    write_schedule()
    row = PeriodicTask.objects.get(name="sweep-expired")
    if change == "interval":
        row.interval = IntervalSchedule.objects.create(every=5, period=IntervalSchedule.SECONDS)
    else:
        row.enabled = False
    row.save()
    assert outcomes() == {Written.KEPT, Written.UNCHANGED}
    kept = PeriodicTask.objects.get(name="sweep-expired")
    assert (kept.interval, kept.enabled) == (row.interval, row.enabled)


def test_a_new_version_updates_what_nobody_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    write_schedule()
    newer = Entry(name="sweep-expired", task="payments.sweep_expired", every_seconds=3, why="A newer version.")
    monkeypatch.setattr(beat_schedules.write, "SCHEDULE", (newer,))
    assert outcomes() == {Written.UPDATED}
    assert PeriodicTask.objects.get(name="sweep-expired").interval.every == 3
    assert outcomes() == {Written.UNCHANGED}
