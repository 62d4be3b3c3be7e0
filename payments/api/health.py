"""Tells whether the process is alive, and whether it can do its work."""

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from payments import clocks
from payments.api.problems import plain_problem


@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """Answer as long as the process runs."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(_request: HttpRequest) -> HttpResponse:
    """Answer 200 when the database does. A broker that is away stops no order: the row is the outbox."""
    try:
        now = clocks.database_now()
    except DatabaseError:
        return plain_problem(503, "The database does not answer.")
    return JsonResponse({"status": "ready", "database_time": now.isoformat()})
