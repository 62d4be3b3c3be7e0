"""Charge: claim, ask the gateway, record. No transaction, no lock and no database connection is held in between."""

import time
from dataclasses import asdict
from uuid import UUID

import structlog

from payments.domain.states import AttemptState
from payments.gateways import registry
from payments.lifecycle.claim import Claim, NotClaimed, claim_attempt
from payments.lifecycle.record import record_outcome
from payments.transactions import release_connection

log = structlog.get_logger(__name__)


def charge_attempt(*, attempt_id: UUID) -> AttemptState | NotClaimed:
    """Run one attempt to the end of its call. Safe to run twice, at once or in turn.

    Returns the state that the attempt was recorded in, or why there was nothing to charge.
    """
    claim = claim_attempt(attempt_id=attempt_id)
    if not isinstance(claim, Claim):
        log.info("charge_skipped", reason=claim.value)
        return claim
    structlog.contextvars.bind_contextvars(
        order_id=claim.order_id, payment_id=claim.payment_id, request_id=claim.correlation_id
    )
    release_connection()
    # What the claim's commit and the pool took is time that the call no longer has.
    left_seconds = claim.ends_at_monotonic - time.monotonic()
    outcome = registry.gateway(claim.gateway).charge(claim.request, deadline_seconds=left_seconds)
    # If the database goes away now, this line still says what became of the money.
    log.info("gateway_answered", outcome=type(outcome).__name__, **asdict(outcome))
    return record_outcome(claim=claim, outcome=outcome)
