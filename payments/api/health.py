"""Tells whether the process is alive, and whether it can do its work."""

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from payments import clocks, clockwatch
from payments.api.problems import plain_problem
from payments.domain.course import Course
from payments.lifecycle import duties
from payments.lifecycle.duties import DutyName


@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """Answer as long as the process runs."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(_request: HttpRequest) -> HttpResponse:
    """Answer 200 when the database does. A broker that is away stops no order: the row is the outbox.

    Nor does a clock that cannot be believed: the process judges by the others. `degraded` says that somebody has to
    look after the clocks, before held payments become late ones.
    """
    try:
        now = clocks.database_now()
        still_since, why = duties.standstill(duty=DutyName.SWEEP)
    except DatabaseError:
        return plain_problem(503, "The database does not answer.")
    course = clocks.course()
    is_disputed = course is not None and not course.attests()
    return JsonResponse(
        {
            "status": "degraded" if is_disputed or still_since is not None else "ready",
            "database_time": now.isoformat(),
            "clocks": _told(course),
            "sweep": {"stands_still_since": still_since and still_since.isoformat(), "why": why},
        }
    )


def _told(course: Course | None) -> dict[str, object]:
    """Tell what this process knows of the database's clock."""
    watching = {"watching": clockwatch.is_watching()}
    if course is None:
        return {**watching, "database": "unknown", "offset_seconds": None, "watched_since": None}
    return {
        **watching,
        "database": "true" if course.attests() else "disputed",
        "offset_seconds": round(course.offset_seconds, 3),
        "watched_since": course.since.isoformat(),
    }
