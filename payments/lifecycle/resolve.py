"""Resolve: nobody knows what became of a call, so the gateway is asked, and its answer is evidence.

Three kinds of rows come here when they are due: `charging` whose worker fell silent past its lease, `in_doubt`, and
`confirming` past its wait. A doubt is never cured by charging again: the charge is looked up by our own reference;
only when there is none, the window is open and the gateway still knows the key, the very same request is repeated
under the very same key; and otherwise the key is cancelled, or nothing is believed before it has been found nowhere
for longer than anything sent can still be on its way.
"""

import enum
from datetime import timedelta
from uuid import UUID

import structlog

from payments import clocks, config, locks
from payments.domain.failures import FailureCode
from payments.domain.outcomes import Operation
from payments.domain.states import ASKED_ABOUT, AttemptState
from payments.failpoints import reach
from payments.lifecycle import settle
from payments.lifecycle.calls import Call, always_breaks_off, begin_call, question
from payments.lifecycle.charge import run_calls
from payments.lifecycle.transition import move_attempt
from payments.models import PaymentAttempt
from payments.transactions import transaction

log = structlog.get_logger(__name__)

RESOLVER = "resolver"


class NotResolved(enum.StrEnum):
    """Why there is nothing to ask."""

    UNKNOWN = "unknown"  # No such attempt.
    NOT_OPEN = "not_open"  # It has ended, or was never sent.
    NOT_DUE = "not_due"  # Somebody asks right now, or it is too early.


def resolve_attempt(*, attempt_id: UUID, charge_reference: str = "") -> AttemptState | NotResolved:
    """Ask what became of an attempt and do what follows. Safe to run twice, at once or in turn.

    `charge_reference` is the gateway's id of its charge, where word of it came and the attempt does not know it yet.

    Returns the state that the attempt was recorded in, or why there was nothing to ask.
    """
    call = take_for_asking(attempt_id=attempt_id, charge_reference=charge_reference)
    if not isinstance(call, Call):
        log.info("resolve_skipped", reason=call.value)
        return call
    return run_calls(call)


def take_for_asking(*, attempt_id: UUID, charge_reference: str = "") -> Call | NotResolved:
    """Take a due attempt under a new fence and begin its look-up. A lapsed claim becomes a doubt here."""
    limits = config.limits()
    with transaction():
        order = locks.lock_order_of(attempt_id=attempt_id)
        if order is None:
            return NotResolved.UNKNOWN
        reading = clocks.read()
        attempt = PaymentAttempt.objects.get(id=attempt_id)
        if attempt.state not in ASKED_ABOUT or attempt.due_at is None:
            return NotResolved.NOT_OPEN
        if reading.now < attempt.due_at <= reading.now + limits.longest_unresolved:
            return NotResolved.NOT_DUE
        lease_until = reading.now + timedelta(seconds=limits.lease_seconds)
        if attempt.state == AttemptState.CHARGING:
            move_attempt(
                attempt,
                to=AttemptState.IN_DOUBT,
                now=reading.now,
                actor=RESOLVER,
                reason=FailureCode.WORKER_LOST,
                due_at=lease_until,
                evidence={"fence": attempt.fence, "lease_until": attempt.due_at.isoformat()},
                doubt_code=FailureCode.WORKER_LOST,
            )
        if settle.is_exhausted(attempt, now=reading.now) and always_breaks_off(attempt.gateway_calls.all()):
            settle.give_up(attempt, order=order, now=reading.now, actor=RESOLVER)
            return NotResolved.NOT_OPEN
        fence = attempt.fence + 1
        PaymentAttempt.objects.filter(id=attempt.id).update(fence=fence, due_at=lease_until)
        attempt.fence, attempt.due_at = fence, lease_until
        call = begin_call(
            attempt=attempt,
            operation=Operation.LOOK_UP,
            request=question(attempt, charge_reference=attempt.gateway_reference or charge_reference),
            reading=reading,
            deadline=timedelta(seconds=limits.gateway_total_seconds),
            actor=RESOLVER,
        )
        reach("resolve.taken")
    return call
