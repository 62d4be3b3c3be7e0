"""Claim: a worker takes an attempt, under the lock, if the window is open by a clock that was read after it.

The claim is committed before the first byte is sent, with the key and the request's hash: whatever happens next, the
row says that the gateway may know. The clocks that decide are read last: writing can wait too, for a row that a rescue
holds or for the index entry of the customer's other claim. While they do not agree the attempt is held: it stays
queued, is judged again when it is due, and ends by evidence.
"""

import enum
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import IntegrityError

from payments import clocks, config, guard, locks
from payments.domain.clock import Judgement, Reading, Ruling
from payments.domain.outcomes import Operation
from payments.domain.states import AttemptState
from payments.failpoints import reach
from payments.gateways import registry
from payments.lifecycle.calls import Call, begin_call, charge_request, checked_again
from payments.lifecycle.expire import Over, expire_locked_orders
from payments.lifecycle.transition import move_attempt
from payments.models import PaymentAttempt
from payments.transactions import transaction

log = structlog.get_logger(__name__)

WORKER = "worker"
WAIT_SECONDS = 1  # For the customer's other charge, or for clocks that differ by less than this.


class NotClaimed(enum.StrEnum):
    """Why there is nothing to charge."""

    UNKNOWN = "unknown"  # No such attempt.
    NOT_QUEUED = "not_queued"  # Somebody else has it, or it has ended: a job delivered twice.
    EXPIRED = "expired"  # The window closed while the job waited.
    HELD = "held"  # The clocks do not agree whether it closed.
    CUSTOMER_BUSY = "customer_busy"  # Another charge of this customer is in flight; this one waits its turn.


class _TooLateError(Exception):
    """The window may have closed while the claim waited for its last lock: take it back, and judge anew."""


def claim_attempt(*, attempt_id: UUID) -> Call | NotClaimed:
    """Take a queued attempt for charging. Claiming twice is safe: the second claim finds nothing to do."""
    try:
        return _claim(attempt_id=attempt_id)
    except _TooLateError:
        return _claim(attempt_id=attempt_id)  # Its first look at the clocks expires or holds it now.
    except IntegrityError as error:
        if "attempt_one_charging_per_customer" not in str(error):
            raise
    _put_off(attempt_id=attempt_id)
    return NotClaimed.CUSTOMER_BUSY


def _claim(*, attempt_id: UUID) -> Call | NotClaimed:
    with transaction():
        order = locks.lock_order_of(attempt_id=attempt_id)
        if order is None:
            return NotClaimed.UNKNOWN
        reading = clocks.read()
        attempt = PaymentAttempt.objects.get(id=attempt_id)
        if attempt.state != AttemptState.QUEUED:
            return NotClaimed.NOT_QUEUED
        judgement = guard.judge(attempt, reading=reading)
        guard.note(attempt, judgement, reading=reading)
        if judgement.ruling is Ruling.EXPIRE:
            over = Over(order.id, order.order_id, attempt.id, attempt.expires_at, judgement)
            expire_locked_orders([over], now=reading.now, actor=WORKER)
            return NotClaimed.EXPIRED
        if judgement.ruling is not Ruling.CHARGE:
            _hold(attempt, judgement, reading=reading)
            return NotClaimed.HELD
        call = _take(attempt, judgement, reading=reading)
        reach("claim.written")
        latest = clocks.read()
        if guard.judge(attempt, reading=latest).ruling is not Ruling.CHARGE:
            raise _TooLateError
    return checked_again(call, reading=latest)


def _take(attempt: PaymentAttempt, judgement: Judgement, *, reading: Reading) -> Call:
    limits, method = config.limits(), config.payment_method(attempt.method)
    can_authorize = method.authorizes_first and registry.gateway(attempt.gateway).capabilities.authorizes
    request = charge_request(attempt)
    move_attempt(
        attempt,
        to=AttemptState.CHARGING,
        now=reading.now,
        actor=WORKER,
        reason="claimed",
        due_at=reading.now + timedelta(seconds=limits.lease_seconds),
        evidence={
            "now": reading.now.isoformat(),
            "expires_at": attempt.expires_at.isoformat(),
            "fence": attempt.fence + 1,
            "clocks": judgement.as_evidence(),
        },
        fence=attempt.fence + 1,
        gateway_key=request.idempotency_key,
        questions=0,
        held_since=None,
        unresolved_since=reading.now,
    )
    return begin_call(
        attempt=attempt,
        operation=Operation.AUTHORIZE if can_authorize else Operation.CHARGE,
        request=request,
        reading=reading,
        deadline=min(timedelta(seconds=limits.gateway_total_seconds), attempt.grace_ends_at - reading.now),
        actor=WORKER,
    )


def _hold(attempt: PaymentAttempt, judgement: Judgement, *, reading: Reading) -> None:
    """Put a charge off that the clocks cannot allow. The first time is a line in its history."""
    guard_settings = config.clock_guard()
    is_waiting = judgement.ruling is Ruling.WAIT
    due_at = reading.now + timedelta(seconds=WAIT_SECONDS if is_waiting else guard_settings.hold_seconds)
    if is_waiting or attempt.held_since is not None:
        PaymentAttempt.objects.filter(id=attempt.id).update(due_at=due_at)
    else:
        move_attempt(
            attempt,
            to=AttemptState.QUEUED,
            now=reading.now,
            actor=WORKER,
            reason="held",
            due_at=due_at,
            evidence={"clocks": judgement.as_evidence()},
            held_since=reading.now,
        )
    held_since = attempt.held_since or reading.now
    held_seconds = abs((reading.now - held_since).total_seconds())
    tell = log.error if held_seconds >= guard_settings.hold_alert_seconds else log.warning
    tell("charge_held", payment_id=attempt.public_id, held_seconds=held_seconds, **judgement.as_evidence())


def _put_off(*, attempt_id: UUID) -> None:
    """Make the attempt due again in a second: the rescue task publishes it when the customer's other charge is over."""
    with transaction():
        locks.lock_order_of(attempt_id=attempt_id)
        due_at = clocks.database_now() + timedelta(seconds=WAIT_SECONDS)
        PaymentAttempt.objects.filter(id=attempt_id, state=AttemptState.QUEUED).update(due_at=due_at)
    log.info("charge_waits_for_customer", attempt_id=str(attempt_id))
