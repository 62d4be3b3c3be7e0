"""Staff: how much is over and has not ended, and having it ended now. The sweep does all of it by itself.

None of this takes an idempotency key: done twice it finds less to do, and ends nothing twice.
"""

from django.http import HttpRequest
from ninja import Router
from ninja.errors import HttpError
from ninja.responses import Status

from payments import dispatch, due, lifecycle
from payments.api import auth
from payments.api.limiting import limited
from payments.api.openapi import refuses
from payments.api.schemas import (
    CleanupIn,
    CleanupOut,
    CleanupRowOut,
    ExpiredCountOut,
    TriggeredOut,
    TriggerIn,
)
from payments.due import Scope
from payments.ratelimits import Act

orders = Router(tags=["cleanup"], auth=auth.STAFF_AUTH)
payments = Router(tags=["cleanup"], auth=auth.STAFF_AUTH)


@orders.get(
    "/admin/expired-count/",
    response={200: ExpiredCountOut},
    openapi_extra=refuses(is_for_staff=True),
    summary="Staff: count the orders that are over and have not ended",
)
@limited(Act.OPERATE)
def count_expired_orders(request: HttpRequest) -> ExpiredCountOut:
    """Count what is due now; a moment later the sweep has usually ended it. A number that stays needs somebody."""
    return ExpiredCountOut.of(lifecycle.read_backlog())


@orders.post(
    "/admin/cleanup/expired/",
    response={200: CleanupOut},
    openapi_extra=refuses(is_for_staff=True),
    summary="Staff: end expired orders here and now",
)
@limited(Act.OPERATE)
def clean_up_orders(request: HttpRequest, payload: CleanupIn) -> CleanupOut:
    """End the oldest orders that are over, those after a failed payment too, and give their stock back.

    With `dry_run` nothing changes, and the rows are those that a run would take. Sending it again is safe.
    """
    return _clean_up(request, payload, scope=due.ORDERS, action="clean_up_orders")


@orders.post(
    "/admin/trigger-cleanup-task/",
    response={202: TriggeredOut},
    openapi_extra=refuses(is_for_staff=True),
    summary="Staff: have a worker sweep",
)
@limited(Act.OPERATE)
def trigger_cleanup(request: HttpRequest, payload: TriggerIn) -> Status[TriggeredOut]:
    """Publish the sweep's task and return; 503 when the broker does not take it. Nothing is lost by that."""
    actor = auth.staff_actor(request)
    lifecycle.note_staff_action(actor=actor, action="trigger_sweep", reason=payload.reason)
    if not dispatch.publish(jobs=[dispatch.Job(dispatch.SWEEP_TASK)]):
        raise HttpError(
            503,
            "The broker did not take the task. The workers sweep without it; to have it done now, POST to "
            "/api/orders/admin/cleanup/expired/.",
        )
    return Status(202, TriggeredOut(task=dispatch.SWEEP_TASK))


@payments.post(
    "/cleanup/",
    response={200: CleanupOut},
    openapi_extra=refuses(is_for_staff=True),
    summary="Staff: end expired payments here and now",
)
@limited(Act.OPERATE)
def clean_up_payments(request: HttpRequest, payload: CleanupIn) -> CleanupOut:
    """End the oldest payments that still wait although their time is over, each with its order.

    Orders whose last payment failed have none that waits: `/api/orders/admin/cleanup/expired/` ends those, too.
    """
    return _clean_up(request, payload, scope=due.PAYMENTS, action="clean_up_payments")


def _clean_up(request: HttpRequest, asked: CleanupIn, *, scope: Scope, action: str) -> CleanupOut:
    actor = auth.staff_actor(request)
    if not asked.dry_run:
        lifecycle.note_staff_action(
            actor=actor, action=action, reason=asked.reason or "", evidence={"limit": asked.limit}
        )
    rows: list[CleanupRowOut] = []
    done = lifecycle.clean_up(
        scope=scope,
        actor=actor,
        limit=asked.limit,
        is_dry_run=asked.dry_run,
        report=lambda row: rows.append(CleanupRowOut.of(row)),
    )
    return CleanupOut.of(done, dry_run=asked.dry_run, rows=rows)
