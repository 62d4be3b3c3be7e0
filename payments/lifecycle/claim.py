"""Claim: a worker takes an attempt, under the lock, if the window is open by a clock that was read after it.

The claim is committed before the first byte is sent, with the key and the request's hash: whatever happens next, the
row says that the gateway may know. The clock that decides is read last: writing can wait too, for a row that a rescue
holds or for the index entry of the customer's other claim.
"""

import enum
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import IntegrityError

from payments import clocks, config, locks
from payments.domain.states import AttemptState
from payments.domain.window import is_over
from payments.gateways.protocol import ChargeRequest
from payments.lifecycle.expire import expire_locked_orders
from payments.lifecycle.transition import move_attempt
from payments.models import GatewayCall, Order, PaymentAttempt
from payments.transactions import transaction

log = structlog.get_logger(__name__)

WORKER = "worker"


class NotClaimed(enum.StrEnum):
    """Why there is nothing to charge."""

    UNKNOWN = "unknown"  # No such attempt.
    NOT_QUEUED = "not_queued"  # Somebody else has it, or it has ended: a job delivered twice.
    EXPIRED = "expired"  # The window closed while the job waited.
    CUSTOMER_BUSY = "customer_busy"  # Another charge of this customer is in flight; this one waits its turn.


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to make one call, as long as nobody claims anew."""

    attempt_id: UUID
    order_id: str
    payment_id: str
    gateway: str
    fence: int
    call_id: UUID
    request: ChargeRequest
    correlation_id: str  # The web request that submitted the payment.
    ends_at_monotonic: float  # When the call must be over, on this process's monotonic clock.


class _TooLateError(Exception):
    """The window closed while the claim waited for its last lock: take it back, then expire."""


def claim_attempt(*, attempt_id: UUID) -> Claim | NotClaimed:
    """Take a queued attempt for charging. Claiming twice is safe: the second claim finds nothing to do."""
    try:
        return _claim(attempt_id=attempt_id)
    except _TooLateError:
        return _claim(attempt_id=attempt_id)  # Its first look at the clock expires it now.
    except IntegrityError as error:
        if "attempt_one_charging_per_customer" not in str(error):
            raise
    _put_off(attempt_id=attempt_id)
    return NotClaimed.CUSTOMER_BUSY


def _claim(*, attempt_id: UUID) -> Claim | NotClaimed:
    with transaction():
        order = locks.lock_order_of(attempt_id=attempt_id)
        if order is None:
            return NotClaimed.UNKNOWN
        now = clocks.database_now()
        attempt = PaymentAttempt.objects.get(id=attempt_id)
        if attempt.state != AttemptState.QUEUED:
            return NotClaimed.NOT_QUEUED
        if is_over(expires_at=attempt.expires_at, now=now):
            expire_locked_orders(order_ids=[order.id], now=now, actor=WORKER)
            return NotClaimed.EXPIRED
        claim = _take(attempt, order=order, now=now)
        if is_over(expires_at=attempt.expires_at, now=clocks.database_now()):
            raise _TooLateError
        return claim


def _take(attempt: PaymentAttempt, *, order: Order, now: datetime) -> Claim:
    limits = config.limits()
    ends_at_monotonic = time.monotonic() + limits.gateway_total_seconds
    request = ChargeRequest(
        idempotency_key=attempt.public_id,
        reference=attempt.public_id,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        payment_token=attempt.payment_token,
    )
    move_attempt(
        attempt,
        to=AttemptState.CHARGING,
        now=now,
        actor=WORKER,
        reason="claimed",
        due_at=now + timedelta(seconds=limits.lease_seconds),
        evidence={
            "now": now.isoformat(),
            "expires_at": attempt.expires_at.isoformat(),
            "fence": attempt.fence + 1,
        },
        fence=attempt.fence + 1,
        gateway_key=request.idempotency_key,
    )
    call = GatewayCall.objects.create(
        attempt=attempt,
        operation="charge",
        idempotency_key=request.idempotency_key,
        request_hash=request.request_hash,
        fence=attempt.fence,
        started_at=now,
        deadline_seconds=limits.gateway_total_seconds,
    )
    return Claim(
        attempt_id=attempt.id,
        order_id=order.order_id,
        payment_id=attempt.public_id,
        gateway=attempt.gateway,
        fence=attempt.fence,
        call_id=call.id,
        request=request,
        correlation_id=attempt.correlation_id,
        ends_at_monotonic=ends_at_monotonic,
    )


def _put_off(*, attempt_id: UUID) -> None:
    """Make the attempt due again in a second: the rescue task publishes it when the customer's other charge is over."""
    with transaction():
        locks.lock_order_of(attempt_id=attempt_id)
        due_at = clocks.database_now() + timedelta(seconds=1)
        PaymentAttempt.objects.filter(id=attempt_id, state=AttemptState.QUEUED).update(due_at=due_at)
    log.info("charge_waits_for_customer", attempt_id=str(attempt_id))
