"""Record: the gateway's answer is written down under the lock, and the order follows it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

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
    """An outcome in the words of the `GatewayCall` row, each fit for its column."""

    outcome: str
    code: str = ""
    detail: str = ""
    reference: str = ""
    redirect_url: str = ""


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
            detail=observation.detail,
            reference=observation.reference,
        )
        attempt = PaymentAttempt.objects.get(id=claim.attempt_id)
        is_current = attempt.fence == claim.fence and attempt.state == AttemptState.CHARGING
        if is_current and order is not None:
            _apply(outcome, seen=observation, attempt=attempt, order=order, now=now)
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
            return _Observation("captured", reference=_fit(reference, length=255))
        case Authorized(reference=reference):
            return _Observation("authorized", reference=_fit(reference, length=255))
        case Pending(reference=reference, redirect_url=url):
            return _Observation(
                "pending", reference=_fit(reference, length=255), redirect_url=_fit(url or "", length=2048)
            )
        case Declined(code=code, gateway_code=gateway_code, reference=reference):
            return _Observation(
                "declined", code, detail=_fit(gateway_code, length=64), reference=_fit(reference or "", length=255)
            )
        case NeverSent(code=code, detail=detail):
            return _Observation("never_sent", code, detail=_fit(detail, length=500))
        case InDoubt(code=code, detail=detail):
            return _Observation("in_doubt", code, detail=_fit(detail, length=500))


def _fit(text: str, *, length: int) -> str:
    # What a stranger writes must not keep us from writing down what happened.
    return text.replace("\x00", "")[:length]


def _apply(outcome: Outcome, *, seen: _Observation, attempt: PaymentAttempt, order: Order, now: datetime) -> None:
    limits = config.limits()
    move = partial(move_attempt, attempt, now=now, actor=WORKER)
    look_again_at = now + timedelta(seconds=limits.resolve_after_seconds)
    match outcome:
        case Captured():
            evidence = {"reference": seen.reference}
            move(to=AttemptState.SUCCEEDED, reason="captured", evidence=evidence, gateway_reference=seen.reference)
            _mark_paid(order, now=now)
        case Declined():
            evidence = {"code": seen.code, "gateway_code": seen.detail}
            move(
                to=AttemptState.FAILED,
                reason="declined",
                evidence=evidence,
                failure_code=seen.code,
                gateway_reference=seen.reference,
            )
            # The stock stays held until the deadline, so that the customer can try again.
            Order.objects.filter(id=order.id).update(payment_status=PaymentStatus.FAILED)
        case Pending():
            move(
                to=AttemptState.CONFIRMING,
                reason="gateway_confirms_later",
                due_at=now + timedelta(seconds=limits.webhook_wait_seconds),
                evidence={"reference": seen.reference},
                gateway_reference=seen.reference,
                redirect_url=seen.redirect_url,
            )
        case NeverSent():
            # Provably nothing happened: the same request may go out again, as long as the window is open.
            due_at = now + timedelta(seconds=limits.redispatch_seconds)
            evidence = {"code": seen.code, "detail": seen.detail}
            move(to=AttemptState.QUEUED, reason="never_sent", due_at=due_at, evidence=evidence)
        case InDoubt():
            move(to=AttemptState.IN_DOUBT, reason=seen.code, due_at=look_again_at, evidence={"detail": seen.detail})
        case Authorized():
            # We asked for a capture and got a promise: the money is held there, so only asking tells what follows.
            move(
                to=AttemptState.IN_DOUBT,
                reason="authorized_not_captured",
                due_at=look_again_at,
                evidence={"reference": seen.reference},
                gateway_reference=seen.reference,
            )


def _mark_paid(order: Order, *, now: datetime) -> None:
    Order.objects.filter(id=order.id).update(status=OrderStatus.PAID, payment_status=PaymentStatus.PAID, closed_at=now)
    consume_stock(order_id=order.id, now=now)
