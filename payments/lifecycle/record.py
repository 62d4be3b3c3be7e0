"""Record: what a call brought is written down under the lock, judged, and followed.

The observation is always stored, whoever brings it. What follows is decided in payments/domain/reduce.py and done in
settle.py, in the same transaction; a call that has to be made next is begun in it and made after its commit.
"""

from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from django.db.models import Max, Min

from payments import clocks, guard, locks, queries
from payments.domain.clock import Reading, Ruling
from payments.domain.outcomes import (
    BEGINS_CHARGE,
    Authorized,
    Captured,
    Declined,
    InDoubt,
    NeverSent,
    NotFound,
    Operation,
    Outcome,
    Pending,
    Several,
    Undone,
)
from payments.domain.reduce import Situation, reduce
from payments.domain.states import TERMINAL, AttemptState, OrderStatus
from payments.failpoints import reach
from payments.gateways import registry
from payments.lifecycle import settle
from payments.lifecycle.calls import Call, checked_again, is_key_known, longest_in_flight
from payments.lifecycle.reopen import reopen_what_stands
from payments.models import GatewayCall, Order, PaymentAttempt
from payments.transactions import transaction

log = structlog.get_logger(__name__)

# Only asking leads to a cancel, and only these are asked about.
_MAY_BE_CANCELLED = frozenset({AttemptState.CONFIRMING, AttemptState.IN_DOUBT, AttemptState.NEEDS_REVIEW})

# Nothing found has to be found this often before it can mean that there is nothing.
NEGATIVES_NEEDED = 3


@dataclass(frozen=True, slots=True)
class Recorded:
    """The attempt's state after a record, and the call that follows from it."""

    state: AttemptState
    following: Call | None


class _TooLateError(Exception):
    """The deadline of the following call may have passed while it was written down: judge again, by later clocks."""


def record_outcome(*, call: Call, outcome: Outcome) -> Recorded:
    """Store what a call brought, and do what follows from it. Recording twice changes nothing more.

    A call of an older claim begins nothing, but money that it took is not lost.
    """
    seen = fit(outcome)
    try:
        recorded = _record(call, outcome=seen)
    except _TooLateError:
        recorded = _record(call, outcome=seen)
    reach(f"{call.operation}.recorded")
    return recorded


def _record(call: Call, *, outcome: Outcome) -> Recorded:
    with transaction():
        order = locks.lock_order_of(attempt_id=call.attempt_id)
        reading = clocks.read()
        store_observation(call, outcome=outcome, now=reading.now)
        attempt = PaymentAttempt.objects.get(id=call.attempt_id)
        if order is None:
            message = f"{call.payment_id} has no order"
            raise RuntimeError(message)
        situation = _situation(call, outcome=outcome, attempt=attempt, order=order, reading=reading)
        verdict = reduce(outcome, situation)
        reopen_what_stands(outcome, call=call, attempt=attempt, order=order, now=reading.now)
        following = settle.apply(verdict, attempt=attempt, order=order, reading=reading, actor=call.actor)
        reach(f"{call.operation}.settled")
        if following is not None:
            latest = clocks.read()
            if not _may_begin(following.operation, attempt=attempt, reading=latest):
                raise _TooLateError
            following = checked_again(following, reading=latest)
    state = AttemptState(attempt.state)
    log.info(
        "call_recorded",
        order_id=order.order_id,
        operation=call.operation,
        outcome=type(outcome).__name__,
        step=type(verdict.step).__name__,
        state=state.value,
        fence=call.fence,
        is_current=situation.is_current,
    )
    return Recorded(state=state, following=following)


def store_observation(call: Call, *, outcome: Outcome, now: datetime) -> None:
    """Write an outcome into its `GatewayCall` row; a row that has one keeps it."""
    name, code, detail, reference = _spelled(outcome)
    GatewayCall.objects.filter(id=call.id, finished_at__isnull=True).update(
        finished_at=now,
        outcome=name,
        code=code,
        detail=detail[:500],
        reference=reference,
    )


def _spelled(outcome: Outcome) -> tuple[str, str, str, str]:
    """(outcome, code, detail, reference) as the row has them."""
    match outcome:
        case Captured(reference=reference, refunded_minor=refunded):
            return "captured", "", f"{refunded} given back" if refunded else "", reference
        case Authorized(reference=reference):
            return "authorized", "", "", reference
        case Pending(reference=reference):
            return "pending", "", "", reference
        case Declined(code=code, gateway_code=gateway_code, reference=declined):
            return "declined", code, gateway_code, declined or ""
        case Undone(how=how, reference=undone):
            return "undone", "", how, undone or ""
        case Several(charges=charges):
            return "several", "", ", ".join(f"{type(seen).__name__} {seen.reference}" for seen in charges), ""
        case NotFound():
            return "not_found", "", "", ""
        case NeverSent(code=code, detail=detail):
            return "never_sent", code, detail, ""
        case InDoubt(code=code, detail=detail, reference=known):
            return "in_doubt", code, detail, known


# What the columns hold.
_LENGTHS = {"reference": 255, "redirect_url": 2048, "detail": 500, "gateway_code": 64}


def fit(outcome: Outcome) -> Outcome:
    """Make every text of an outcome fit its column: a stranger's words must not keep us from writing down the rest."""
    if isinstance(outcome, Several):
        return outcome
    texts = {
        name: text.replace("\x00", "")[:length]
        for name, length in _LENGTHS.items()
        if isinstance(text := getattr(outcome, name, None), str)
    }
    return replace(outcome, **texts)  # type: ignore[arg-type] # texts replace texts


def _situation(call: Call, *, outcome: Outcome, attempt: PaymentAttempt, order: Order, reading: Reading) -> Situation:
    state, now = AttemptState(attempt.state), reading.now
    # What is open now is open for whatever may be done for longer, and what is not over there is not over here.
    window = guard.judge(attempt, reading=reading).ruling
    grace = window
    if window is not Ruling.CHARGE:
        grace = guard.judge(attempt, reading=reading, until=attempt.grace_ends_at).ruling
    accepted_until = attempt.late_allowance_ends_at
    is_too_late = (
        grace is Ruling.EXPIRE and guard.judge(attempt, reading=reading, until=accepted_until).ruling is Ruling.EXPIRE
    )
    is_leased = attempt.due_at is not None and now < attempt.due_at
    is_current = attempt.fence == call.fence and is_leased and state not in TERMINAL
    capabilities = registry.gateway(attempt.gateway).capabilities
    has_nothing = isinstance(outcome, NotFound)
    is_approved = isinstance(outcome, Pending) and outcome.is_approved
    return Situation(
        state=state,
        order_status=OrderStatus(order.status),
        # Inside the window nobody gives it back; later a statement finds out.
        is_stock_held=window is Ruling.CHARGE or queries.is_stock_held(order=order),
        window=window,
        grace=grace,
        is_in_time=not is_too_late,
        operation=call.operation,
        is_current=is_current,
        known_reference=attempt.gateway_reference,
        doubt_code=attempt.doubt_code,
        may_replay=(has_nothing or is_approved) and is_current and _is_key_known(attempt, now=now),
        may_cancel_key=capabilities.cancels_keys,
        is_cancelling=state in _MAY_BE_CANCELLED and _is_cancelling(attempt),
        is_absence_proven=has_nothing and _is_absence_proven(attempt),
    )


def _is_cancelling(attempt: PaymentAttempt) -> bool:
    return attempt.gateway_calls.filter(operation=Operation.CANCEL_KEY, compensation=None).exists()


def _is_key_known(attempt: PaymentAttempt, *, now: datetime) -> bool:
    first = attempt.gateway_calls.filter(operation__in=BEGINS_CHARGE).aggregate(at=Min("started_at"))["at"]
    return first is not None and is_key_known(first=first, gateway=attempt.gateway, now=now)


def _is_absence_proven(attempt: PaymentAttempt) -> bool:
    """Tell whether nothing was found often enough, and later than anything that was sent could still be executed."""
    sent = attempt.gateway_calls.filter(operation__in=BEGINS_CHARGE).aggregate(at=Max("started_at"))["at"]
    if sent is None:
        return False
    proves_from = sent + longest_in_flight(gateway=attempt.gateway)
    negatives = attempt.gateway_calls.filter(
        operation=Operation.LOOK_UP, outcome="not_found", started_at__gte=proves_from
    )
    return negatives.count() >= NEGATIVES_NEEDED


def _may_begin(operation: Operation, *, attempt: PaymentAttempt, reading: Reading) -> bool:
    if operation in BEGINS_CHARGE:
        return guard.judge(attempt, reading=reading).ruling is Ruling.CHARGE
    if operation is Operation.CAPTURE:
        return guard.judge(attempt, reading=reading, until=attempt.grace_ends_at).ruling is Ruling.CHARGE
    return True
