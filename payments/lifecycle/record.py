"""Record: the gateway's answer is written down under the lock, and the order follows it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from payments import clocks, config, locks
from payments.domain.outcomes import Authorized, Captured, Declined, InDoubt, NeverSent, Outcome, Pending
from payments.domain.states import AttemptState, OrderStatus, PaymentStatus
from payments.lifecycle.claim import WORKER, Claim
from payments.lifecycle.stock import consume_stock
from payments.lifecycle.transition import move_attempt
from payments.models import GatewayCall, Order, PaymentAttempt
from payments.transactions import transaction

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Observation:
    """An outcome in the words of the `GatewayCall` row."""

    outcome: str
    code: str = ""
    detail: str = ""
    reference: str = ""


def _fit(text: str, *, length: int) -> str:
    """Make a gateway's text fit a column: what a stranger writes must not keep us from writing down what happened."""
    return text.replace("\x00", "")[:length]


def record_outcome(*, claim: Claim, outcome: Outcome) -> AttemptState:
    """Store what the gateway answered, and move the attempt if the claim is still the latest.

    An older claim moves nothing, but what it saw is stored too. Returns the attempt's state afterwards.
    """
    observation = _observe(outcome)
    with transaction():
        order = locks.lock_order_of(attempt_id=claim.attempt_id)
        now = clocks.database_now()
        GatewayCall.objects.filter(id=claim.call_id, finished_at__isnull=True).update(
            finished_at=now,
            outcome=observation.outcome,
            code=observation.code,
            detail=_fit(observation.detail, length=500),
            reference=_fit(observation.reference, length=255),
        )
        attempt = PaymentAttempt.objects.get(id=claim.attempt_id)
        is_current = attempt.fence == claim.fence and attempt.state == AttemptState.CHARGING
        if is_current and order is not None:
            _apply(outcome, attempt=attempt, order=order, now=now)
    state = AttemptState(attempt.state)
    log.info(
        "charge_recorded" if is_current else "charge_recorded_after_its_claim",
        outcome=observation.outcome,
        code=observation.code,
        state=state.value,
        fence=claim.fence,
    )
    return state


def _observe(outcome: Outcome) -> _Observation:
    match outcome:
        case Captured(reference=reference):
            return _Observation("captured", reference=reference)
        case Authorized(reference=reference):
            return _Observation("authorized", reference=reference)
        case Pending(reference=reference):
            return _Observation("pending", reference=reference)
        case Declined(code=code, gateway_code=gateway_code, reference=reference):
            return _Observation("declined", code=code.value, detail=gateway_code, reference=reference or "")
        case NeverSent(code=code, detail=detail):
            return _Observation("never_sent", code=code.value, detail=detail)
        case InDoubt(code=code, detail=detail):
            return _Observation("in_doubt", code=code.value, detail=detail)


def _apply(outcome: Outcome, *, attempt: PaymentAttempt, order: Order, now: datetime) -> None:
    limits = config.limits()
    match outcome:
        case Captured(reference=reference):
            move_attempt(
                attempt,
                to=AttemptState.SUCCEEDED,
                now=now,
                actor=WORKER,
                reason="captured",
                evidence={"reference": _fit(reference, length=255)},
                gateway_reference=_fit(reference, length=255),
            )
            _mark_paid(order, now=now)
        case Declined(code=code, gateway_code=gateway_code, reference=reference):
            move_attempt(
                attempt,
                to=AttemptState.FAILED,
                now=now,
                actor=WORKER,
                reason="declined",
                evidence={"code": code.value, "gateway_code": _fit(gateway_code, length=64)},
                failure_code=code.value,
                gateway_reference=_fit(reference or "", length=255),
            )
            # The stock stays held until the deadline, so that the customer can try again.
            Order.objects.filter(id=order.id).update(payment_status=PaymentStatus.FAILED)
        case Pending(reference=reference, redirect_url=redirect_url):
            move_attempt(
                attempt,
                to=AttemptState.CONFIRMING,
                now=now,
                actor=WORKER,
                reason="gateway_confirms_later",
                due_at=now + timedelta(seconds=limits.webhook_wait_seconds),
                evidence={"reference": _fit(reference, length=255)},
                gateway_reference=_fit(reference, length=255),
                redirect_url=_fit(redirect_url or "", length=2048),
            )
        case NeverSent(code=code, detail=detail):
            # Provably nothing happened: the same request may go out again, as long as the window is open.
            move_attempt(
                attempt,
                to=AttemptState.QUEUED,
                now=now,
                actor=WORKER,
                reason="never_sent",
                due_at=now + timedelta(seconds=limits.redispatch_seconds),
                evidence={"code": code.value, "detail": _fit(detail, length=500)},
            )
        case InDoubt(code=code, detail=detail):
            _doubt(attempt, now=now, reason=code.value, evidence={"detail": _fit(detail, length=500)})
        case Authorized(reference=reference):
            # We asked for a capture and got a promise: the money is held there, so only asking tells what follows.
            _doubt(
                attempt,
                now=now,
                reason="authorized_not_captured",
                evidence={"reference": _fit(reference, length=255)},
                reference=_fit(reference, length=255),
            )


def _doubt(
    attempt: PaymentAttempt, *, now: datetime, reason: str, evidence: dict[str, object], reference: str = ""
) -> None:
    move_attempt(
        attempt,
        to=AttemptState.IN_DOUBT,
        now=now,
        actor=WORKER,
        reason=reason,
        due_at=now + timedelta(seconds=config.limits().resolve_after_seconds),
        evidence=evidence,
        gateway_reference=reference,
    )


def _mark_paid(order: Order, *, now: datetime) -> None:
    Order.objects.filter(id=order.id).update(status=OrderStatus.PAID, payment_status=PaymentStatus.PAID, closed_at=now)
    consume_stock(order_id=order.id, now=now)
