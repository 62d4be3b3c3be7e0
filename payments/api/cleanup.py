"""Staff: how much is over and has not ended, and having it ended now. The sweep does all of it by itself.

None of this takes an idempotency key: done twice it finds less to do, and ends nothing twice.
"""

from typing import Annotated

from django.http import HttpRequest
from ninja import Body, Router
from ninja.errors import HttpError
from ninja.responses import Status

from payments import dispatch, due, lifecycle
from payments.api import auth
from payments.api.schemas import CleanupIn, CleanupOut, CleanupRowOut, ExpiredCountOut, ProblemOut, TriggeredOut
from payments.due import Scope

orders = Router(tags=["cleanup"])
payments = Router(tags=["cleanup"])

OptionalCleanup = Annotated[CleanupIn | None, Body(description="May be left out.")]


@orders.get(
    "/admin/expired-count/",
    response={200: ExpiredCountOut, frozenset({401, 403}): ProblemOut},
    summary="Staff: count the orders that are over and have not ended",
)
def count_expired_orders(request: HttpRequest) -> ExpiredCountOut:
    """Count what is due now; a moment later the sweep has usually ended it. A number that stays needs somebody."""
    auth.staff_id(request)
    return ExpiredCountOut.of(lifecycle.read_backlog())


@orders.post(
    "/admin/cleanup/expired/",
    response={200: CleanupOut, frozenset({401, 403, 422}): ProblemOut},
    summary="Staff: end expired orders here and now",
)
def clean_up_orders(request: HttpRequest, payload: OptionalCleanup = None) -> CleanupOut:
    """End the oldest orders that are over, those after a failed payment too, and give their stock back.

    With `dry_run` nothing changes, and the rows are those that a run would take. Sending it again is safe.
    """
    return _clean_up(request, payload, scope=due.ORDERS)


@orders.post(
    "/admin/trigger-cleanup-task/",
    response={202: TriggeredOut, frozenset({401, 403, 503}): ProblemOut},
    summary="Staff: have a worker sweep",
)
def trigger_cleanup(request: HttpRequest) -> Status[TriggeredOut]:
    """Publish the sweep's task and return; 503 when the broker does not take it. Nothing is lost by that."""
    auth.staff_id(request)
    if not dispatch.publish(jobs=[dispatch.Job(dispatch.SWEEP_TASK)]):
        raise HttpError(
            503,
            "The broker did not take the task. The workers sweep without it; to have it done now, POST to "
            "/api/orders/admin/cleanup/expired/.",
        )
    return Status(202, TriggeredOut(task=dispatch.SWEEP_TASK))


@payments.post(
    "/cleanup/",
    response={200: CleanupOut, frozenset({401, 403, 422}): ProblemOut},
    summary="Staff: end expired payments here and now",
)
def clean_up_payments(request: HttpRequest, payload: OptionalCleanup = None) -> CleanupOut:
    """End the oldest payments that still wait although their time is over, each with its order.

    Orders whose last payment failed have none that waits: `/api/orders/admin/cleanup/expired/` ends those, too.
    """
    return _clean_up(request, payload, scope=due.PAYMENTS)


def _clean_up(request: HttpRequest, payload: CleanupIn | None, *, scope: Scope) -> CleanupOut:
    staff_id, asked = auth.staff_id(request), payload or CleanupIn()
    rows: list[CleanupRowOut] = []
    done = lifecycle.clean_up(
        scope=scope,
        actor=f"staff:{staff_id}",
        limit=asked.limit,
        is_dry_run=asked.dry_run,
        report=lambda row: rows.append(CleanupRowOut.of(row)),
    )
    return CleanupOut.of(done, dry_run=asked.dry_run, rows=rows)
