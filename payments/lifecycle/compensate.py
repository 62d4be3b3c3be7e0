"""Compensate: money goes back, under its own key, with doubts of its own.

A compensation is taken when it is due: `owed` calls the gateway; `in_doubt`, and a call whose worker fell silent, asks
first. A void or refund is repeated only under the same key with the same body, and only after the gateway was asked.
"""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog
from django.db.models import Max, Min

from payments import clocks, config, locks
from payments.domain import giveback
from payments.domain.announcements import AnnouncementKind, GivenBack
from payments.domain.clock import Reading
from payments.domain.compensations import CompensationKind, CompensationState
from payments.domain.failures import FailureCode
from payments.domain.giveback import AskLater, CallAgain, Finish, TryLater
from payments.domain.outcomes import BEGINS_CHARGE, NotFound, Operation, Outcome, Undoing
from payments.failpoints import reach
from payments.gateways import registry
from payments.gateways.protocol import ActRequest, GatewayRequest
from payments.lifecycle.announce import stage
from payments.lifecycle.calls import (
    Call,
    always_breaks_off,
    begin_call,
    checked_again,
    is_key_known,
    longest_in_flight,
    make_call,
    question,
)
from payments.lifecycle.owe import owe
from payments.lifecycle.record import NEGATIVES_NEEDED, fit, store_observation
from payments.lifecycle.reopen import STANDS_AGAIN
from payments.lifecycle.settle import announce_given_back, note_refund, wait_seconds
from payments.lifecycle.transition import move_compensation
from payments.limits import MAX_CALLS_PER_JOB
from payments.models import Compensation, Order
from payments.transactions import transaction

log = structlog.get_logger(__name__)

COMPENSATOR = "compensator"
# Endings in which a customer's money, or a hold on it, really went back.
GIVEN_BACK = frozenset({Undoing.VOIDED, Undoing.EXPIRED, Undoing.REFUNDED})


class NotTaken(enum.StrEnum):
    """Why there is nothing to give back."""

    UNKNOWN = "unknown"  # No such compensation.
    NOT_OPEN = "not_open"  # It is done, or a person has it.
    NOT_DUE = "not_due"  # Somebody is at it, or it is too early.


@dataclass(frozen=True, slots=True)
class _Recorded:
    state: CompensationState
    following: Call | None


def compensate(*, compensation_id: UUID) -> CompensationState | NotTaken:
    """Bring one compensation further. Safe to run twice, at once or in turn.

    Returns the state that it was recorded in, or why there was nothing to do.
    """
    call = _take(compensation_id=compensation_id)
    if not isinstance(call, Call):
        log.info("compensate_skipped", reason=call.value)
        return call
    recorded = _record(call, outcome=make_call(call))
    for _ in range(MAX_CALLS_PER_JOB - 1):
        if recorded.following is None:
            break
        recorded = _record(recorded.following, outcome=make_call(recorded.following))
    return recorded.state


def _take(*, compensation_id: UUID) -> Call | NotTaken:
    with transaction():
        order = locks.lock_order_of_compensation(compensation_id=compensation_id)
        if order is None:
            return NotTaken.UNKNOWN
        reading = clocks.read()
        row = Compensation.objects.select_related("attempt").get(id=compensation_id)
        if row.due_at is None:
            return NotTaken.NOT_OPEN
        if reading.now < row.due_at <= reading.now + config.limits().longest_unresolved:
            return NotTaken.NOT_DUE
        if row.state == CompensationState.CALLING:
            evidence: dict[str, object] = {"fence": row.fence, "lease_until": row.due_at.isoformat()}
            move_compensation(
                row,
                to=CompensationState.IN_DOUBT,
                now=reading.now,
                actor=COMPENSATOR,
                reason=FailureCode.WORKER_LOST,
                due_at=reading.now,
                evidence=evidence,
            )
        is_asking = row.state == CompensationState.IN_DOUBT
        if is_asking and _is_exhausted(row, now=reading.now) and always_breaks_off(row.gateway_calls.all()):
            _give_up(row, order=order, now=reading.now, code=FailureCode.WORKER_LOST)
            return NotTaken.NOT_OPEN
        Compensation.objects.filter(id=row.id).update(fence=row.fence + 1)
        row.fence += 1
        call = _begin(row, reading=reading, operation=Operation.LOOK_UP if is_asking else None)
        reach("compensate.taken")
        return checked_again(call, reading=clocks.read())


def _begin(row: Compensation, *, reading: Reading, operation: Operation | None) -> Call:
    """Begin a look-up, or (with no operation named) what the compensation is for."""
    limits = config.limits()
    lease_until = reading.now + timedelta(seconds=limits.lease_seconds)
    if operation is Operation.LOOK_UP:
        Compensation.objects.filter(id=row.id).update(due_at=lease_until)
        row.due_at = lease_until
    else:
        operation = _operation(row)
        evidence: dict[str, object] = {"operation": operation, "fence": row.fence}
        move_compensation(
            row,
            to=CompensationState.CALLING,
            now=reading.now,
            actor=COMPENSATOR,
            reason="called",
            due_at=lease_until,
            evidence=evidence,
        )
    return begin_call(
        attempt=row.attempt,
        compensation=row,
        operation=operation,
        request=_request(row, operation=operation),
        reading=reading,
        deadline=timedelta(seconds=limits.gateway_total_seconds),
        actor=COMPENSATOR,
    )


def _operation(row: Compensation) -> Operation:
    if row.charge_reference:
        return Operation.REFUND if row.kind == CompensationKind.REFUND else Operation.VOID
    can_cancel = registry.gateway(row.gateway).capabilities.cancels_keys
    return Operation.CANCEL_KEY if can_cancel else Operation.LOOK_UP


def _request(row: Compensation, *, operation: Operation) -> GatewayRequest:
    if operation in {Operation.LOOK_UP, Operation.CANCEL_KEY}:
        return question(row.attempt, charge_reference=row.charge_reference)
    return ActRequest(
        idempotency_key=_key(row),
        charge_reference=row.charge_reference,
        amount_minor=row.amount_minor,
        currency=row.currency,
    )


def _key(row: Compensation) -> str:
    """Choose the key of the next act: the last one again, as long as it may still do something.

    A gateway that keeps answers repeats a failure, too, or a success that was undone since, for as long as it knows the
    key. So when the charge was seen standing after all that was sent had ended, the key is a new one.
    """
    asks = {Operation.LOOK_UP, Operation.CANCEL_KEY}
    acts = list(row.gateway_calls.exclude(operation__in=asks).exclude(outcome="never_sent").order_by("started_at"))
    if not acts:
        return row.public_id
    longest = longest_in_flight(gateway=row.gateway)
    # What was answered has ended; what was not may be executed for as long as anything may.
    ends = [act.started_at + longest if act.outcome in {"", "in_doubt"} else act.finished_at for act in acts]
    ended_at = max(at for at in ends if at is not None)
    asked_at = row.gateway_calls.filter(operation=Operation.LOOK_UP).aggregate(at=Max("started_at"))["at"]
    reopened_at = row.history.filter(reason=STANDS_AGAIN).aggregate(at=Max("at"))["at"]
    seen_at = max((at for at in (asked_at, reopened_at) if at is not None), default=None)
    if seen_at is None or seen_at < ended_at or not registry.gateway(row.gateway).capabilities.key_life_seconds:
        last: str = acts[-1].idempotency_key
        return last
    return f"{row.public_id}-{len({act.idempotency_key for act in acts}) + 1}"


def _record(call: Call, *, outcome: Outcome) -> _Recorded:
    outcome = fit(outcome)
    with transaction():
        order = locks.lock_order_of(attempt_id=call.attempt_id)
        reading = clocks.read()
        store_observation(call, outcome=outcome, now=reading.now)
        row = Compensation.objects.select_related("attempt").get(gateway_calls=call.id)
        is_current = row.fence == call.fence and row.due_at is not None and reading.now < row.due_at
        if order is None or not is_current:
            # Somebody took it anew meanwhile, and will see at the gateway what this call did.
            log.info("compensation_recorded_after_its_taking", compensation_id=row.public_id, fence=call.fence)
            return _Recorded(CompensationState(row.state), None)
        verdict = giveback.reduce(outcome, _situation(row, outcome=outcome, now=reading.now))
        for owed in verdict.owed:
            evidence: dict[str, object] = {"after": row.public_id}
            owe(owed, attempt=row.attempt, order=order, now=reading.now, actor=COMPENSATOR, evidence=evidence)
        following = _apply(verdict.step, row=row, order=order, reading=reading)
        reach(f"{call.operation}.settled")
        if following is not None:
            following = checked_again(following, reading=clocks.read())
    reach(f"{call.operation}.recorded")
    log.info(
        "compensation_recorded",
        compensation_id=row.public_id,
        operation=call.operation,
        outcome=type(outcome).__name__,
        step=type(verdict.step).__name__,
        state=row.state,
    )
    return _Recorded(CompensationState(row.state), following)


def _situation(row: Compensation, *, outcome: Outcome, now: datetime) -> giveback.Situation:
    asks = {Operation.LOOK_UP, Operation.CANCEL_KEY}
    acts = row.gateway_calls.exclude(operation__in=asks).aggregate(first=Min("started_at"), last=Max("started_at"))
    longest = longest_in_flight(gateway=row.gateway)
    is_known = acts["first"] is None or is_key_known(first=acts["first"], gateway=row.gateway, now=now)
    negatives = row.gateway_calls.filter(
        operation=Operation.LOOK_UP, outcome="not_found", started_at__gte=row.created_at + longest
    )
    return giveback.Situation(
        kind=CompensationKind(row.kind),
        state=CompensationState(row.state),
        reference=row.charge_reference,
        amount_minor=row.amount_minor,
        may_repeat=is_known or now >= acts["last"] + longest,
        is_first=not row.gateway_calls.exclude(operation=Operation.LOOK_UP).exclude(outcome="never_sent").exists(),
        is_absence_proven=isinstance(outcome, NotFound) and negatives.count() >= NEGATIVES_NEEDED,
        may_still_land=_may_still_land(row, since=now - longest),
    )


def _may_still_land(row: Compensation, *, since: datetime) -> bool:
    """Tell whether a charge may come to be after it was let go: sent not longer ago, and never answered."""
    if registry.gateway(row.gateway).capabilities.voids_are_final:
        return False
    charges = row.attempt.gateway_calls.filter(operation__in=[*BEGINS_CHARGE, Operation.CAPTURE])
    return charges.filter(started_at__gt=since, outcome__in=["", "in_doubt"]).exists()


def _apply(step: giveback.Step, *, row: Compensation, order: Order, reading: Reading) -> Call | None:
    move = partial(move_compensation, row, now=reading.now, actor=COMPENSATOR)
    match step:
        case Finish(why=why):
            move(to=CompensationState.DONE, reason=why)
            if why in GIVEN_BACK:
                announce_given_back(row, order=order, now=reading.now)
            note_refund(row, order=order)
        case CallAgain():
            return _begin(row, reading=reading, operation=None)
        case TryLater(code=code) | AskLater(code=code):
            if _is_exhausted(row, now=reading.now):
                _give_up(row, order=order, now=reading.now, code=code)
                return None
            to = CompensationState.OWED if isinstance(step, TryLater) else CompensationState.IN_DOUBT
            due_at = reading.now + timedelta(seconds=wait_seconds(row.tries))
            if row.state == to:
                Compensation.objects.filter(id=row.id).update(due_at=due_at, tries=row.tries + 1)
            else:
                move(to=to, reason=code, due_at=due_at, tries=row.tries + 1)
    return None


def _is_exhausted(row: Compensation, *, now: datetime) -> bool:
    # From its beginning, or from when it was last opened again, by a person or by what the gateway showed.
    opened = row.history.filter(from_state__in=["", CompensationState.NEEDS_REVIEW, CompensationState.DONE])
    begun_at: datetime = opened.aggregate(at=Max("at"))["at"]
    return now - begun_at >= timedelta(seconds=config.limits().resolve_give_up_seconds)


def _give_up(row: Compensation, *, order: Order, now: datetime, code: FailureCode) -> None:
    evidence: dict[str, object] = {"code": code}
    to, reason = CompensationState.NEEDS_REVIEW, "asking_is_exhausted"
    move_compensation(row, to=to, now=now, actor=COMPENSATOR, reason=reason, evidence=evidence)
    owed = GivenBack(kind=row.kind, amount_minor=row.amount_minor, reason=row.reason)
    stage(kind=AnnouncementKind.NEEDS_REVIEW, order=order, attempt=row.attempt, now=now, given_back=owed, reason=reason)
    log.error("compensation_needs_review", compensation_id=row.public_id, order_id=order.order_id)
