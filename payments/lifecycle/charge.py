"""Charge: claim, ask the gateway, record, and go on with the call that the record asks for.

No transaction, no lock and no database connection is held while a call runs.
"""

from uuid import UUID

import structlog

from payments.domain.states import AttemptState
from payments.lifecycle.calls import Call, make_call
from payments.lifecycle.claim import NotClaimed, claim_attempt
from payments.lifecycle.record import record_outcome
from payments.limits import MAX_CALLS_PER_JOB

log = structlog.get_logger(__name__)


def charge_attempt(*, attempt_id: UUID) -> AttemptState | NotClaimed:
    """Run one attempt to the end of its calls. Safe to run twice, at once or in turn.

    Returns the state that the attempt was recorded in, or why there was nothing to charge.
    """
    call = claim_attempt(attempt_id=attempt_id)
    if not isinstance(call, Call):
        log.info("charge_skipped", reason=call.value)
        return call
    return run_calls(call)


def run_calls(call: Call) -> AttemptState:
    """Make `call`, record it, and whatever call follows from it; returns the state that the last record left.

    A call that would be one too many stays written down and unmade: its lease lapses, and the resolver goes on.
    """
    structlog.contextvars.bind_contextvars(payment_id=call.payment_id, request_id=call.correlation_id)
    recorded = record_outcome(call=call, outcome=make_call(call))
    for _ in range(MAX_CALLS_PER_JOB - 1):
        if recorded.following is None:
            break
        recorded = record_outcome(call=recorded.following, outcome=make_call(recorded.following))
    return recorded.state
