"""Settle: what a verdict does to the rows, in the transaction that took it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog

from payments import config, guard
from payments.domain.announcements import AnnouncementKind, GivenBack
from payments.domain.clock import Reading
from payments.domain.compensations import CompensationKind, Owed
from payments.domain.failures import FailureCode
from payments.domain.outcomes import BEGINS_CHARGE, Operation
from payments.domain.reduce import (
    AskAgain,
    BeginCancel,
    BeginCapture,
    BeginReplay,
    Confirm,
    Doubt,
    Expire,
    Fail,
    Leave,
    Requeue,
    Succeed,
    Verdict,
)
from payments.domain.states import AttemptState, OrderStatus, PaymentStatus
from payments.gateways.protocol import ChargeRequest, GatewayRequest
from payments.lifecycle.announce import stage
from payments.lifecycle.calls import Call, begin_call, capture_request, charge_request, question
from payments.lifecycle.expire import close_expired_order
from payments.lifecycle.owe import owe, write_down_returned
from payments.lifecycle.stock import consume_stock
from payments.lifecycle.transition import move_attempt
from payments.models import Compensation, Order, PaymentAttempt

log = structlog.get_logger(__name__)

MAX_WAIT_DOUBLINGS = 12  # Beyond any longest wait; keeps the power of two small.


def apply(verdict: Verdict, *, attempt: PaymentAttempt, order: Order, reading: Reading, actor: str) -> Call | None:
    """Do what a verdict says. Hold the order's lock. Returns the call that follows, begun and not yet made."""
    for owed in verdict.owed:
        owe(owed, attempt=attempt, order=order, now=reading.now, actor=actor)
    if verdict.already_returned is not None:
        _note_returned(verdict.already_returned, attempt=attempt, order=order, now=reading.now)
    now = reading.now
    match verdict.step:
        case Succeed(reference=reference):
            _succeed(attempt, order=order, reference=reference, now=now, actor=actor)
        case Fail() | Expire() as step:
            back = _going_back(verdict.owed, attempt=attempt)
            _end(step, attempt=attempt, order=order, reading=reading, actor=actor, given_back=back)
        case Confirm() | Requeue() | Doubt() as step:
            _go_on(step, attempt=attempt, now=now, actor=actor)
        case AskAgain():
            ask_again(attempt, order=order, now=now, actor=actor)
        case BeginCapture() | BeginReplay() | BeginCancel() as step:
            return _begin(step, attempt=attempt, reading=reading, actor=actor)
        case Leave():
            pass
    return None


def _note_returned(returned: Owed, *, attempt: PaymentAttempt, order: Order, now: datetime) -> None:
    row = write_down_returned(returned, attempt=attempt, order=order, now=now)
    if row is not None:
        announce_given_back(row, order=order, now=now)
    if attempt.state == AttemptState.SUCCEEDED:
        log.error("paid_charge_was_given_back", order_id=order.order_id, payment_id=attempt.public_id)
        _mark_refunded(order)


def _going_back(owed: Sequence[Owed], *, attempt: PaymentAttempt) -> GivenBack | None:
    """Say what is announced with an ending: of several that are owed, money that was taken before what is only held."""
    if not owed:
        return None
    first = min(owed, key=lambda one: one.kind is not CompensationKind.REFUND)
    return GivenBack(kind=first.kind, amount_minor=attempt.amount_minor, reason=first.reason)


def _end(
    step: Fail | Expire,
    *,
    attempt: PaymentAttempt,
    order: Order,
    reading: Reading,
    actor: str,
    given_back: GivenBack | None,
) -> None:
    now = reading.now
    move = partial(move_attempt, attempt, now=now, actor=actor, doubt_code="")
    match step:
        case Fail(code=code, reference=reference):
            move(
                to=AttemptState.FAILED,
                reason=code,
                evidence={"reference": reference},
                failure_code=code,
                gateway_reference=reference or attempt.gateway_reference,
            )
            # The stock stays held until the deadline, so that the customer can try again.
            open_order = Order.objects.filter(id=order.id, status=OrderStatus.UNDER_PAYING)
            open_order.update(payment_status=PaymentStatus.FAILED)
            failed = AnnouncementKind.PAYMENT_FAILED
            stage(kind=failed, order=order, attempt=attempt, now=now, given_back=given_back)
        case Expire(reference=reference):
            judgement = guard.judge(attempt, reading=reading)
            move(
                to=AttemptState.EXPIRED,
                reason="window_closed",
                evidence={
                    "now": now.isoformat(),
                    "expires_at": attempt.expires_at.isoformat(),
                    "reference": reference,
                    "clocks": judgement.as_evidence(),
                },
                gateway_reference=reference or attempt.gateway_reference,
            )
            close_expired_order(
                order, attempt=attempt, judgement=judgement, given_back=given_back, now=now, actor=actor
            )


def _go_on(step: Confirm | Requeue | Doubt, *, attempt: PaymentAttempt, now: datetime, actor: str) -> None:
    limits = config.limits()
    move = partial(move_attempt, attempt, now=now, actor=actor)
    match step:
        case Confirm(reference=reference, redirect_url=redirect_url):
            move(
                to=AttemptState.CONFIRMING,
                reason="gateway_confirms_later",
                due_at=min(now + timedelta(seconds=limits.webhook_wait_seconds), attempt.expires_at),
                evidence={"reference": reference},
                gateway_reference=reference,
                redirect_url=redirect_url,
                doubt_code="",
                questions=0,
            )
        case Requeue(code=code):
            # Provably nothing happened: the same request may go out again, as long as the window is open. At once if
            # only the claim went stale, which was nobody's fault.
            wait = 0 if code is FailureCode.STALE_CHECK else limits.redispatch_seconds
            due_at = now + timedelta(seconds=wait)
            move(to=AttemptState.QUEUED, reason="never_sent", due_at=due_at, evidence={"code": code})
        case Doubt(code=code, reference=reference):
            move(
                to=AttemptState.IN_DOUBT,
                reason=code,
                due_at=now + timedelta(seconds=limits.resolve_after_seconds),
                doubt_code=code,
                gateway_reference=reference or attempt.gateway_reference,
                questions=0,
            )


def ask_again(attempt: PaymentAttempt, *, order: Order, now: datetime, actor: str) -> None:
    """Make the attempt due for the next question, later each time; after too long a time a person has to look."""
    if is_exhausted(attempt, now=now):
        give_up(attempt, order=order, now=now, actor=actor)
        return
    due_at = now + timedelta(seconds=wait_seconds(attempt.questions))
    if now < attempt.expires_at < due_at:
        due_at = attempt.expires_at  # Then more is allowed: what is only pending is let go.
    PaymentAttempt.objects.filter(id=attempt.id).update(due_at=due_at, questions=attempt.questions + 1)
    attempt.due_at, attempt.questions = due_at, attempt.questions + 1


def wait_seconds(questions: int) -> int:
    """Say how long to wait after so many questions: each time twice as long, up to the longest wait."""
    limits = config.limits()
    doubled: int = limits.resolve_after_seconds * 2 ** min(questions, MAX_WAIT_DOUBLINGS)
    return min(doubled, limits.resolve_longest_wait_seconds)


def is_exhausted(attempt: PaymentAttempt, *, now: datetime) -> bool:
    """Tell whether the gateway was asked for so long that a person has to look."""
    since = attempt.unresolved_since or attempt.opened_at
    if attempt.state == AttemptState.CONFIRMING:
        since = max(since, attempt.expires_at)  # A customer may take the whole window on the gateway's page.
    return now - since >= timedelta(seconds=config.limits().resolve_give_up_seconds)


def give_up(attempt: PaymentAttempt, *, order: Order, now: datetime, actor: str) -> None:
    """Put an attempt that is in doubt or confirming under review, and say so loudly. Hold the order's lock."""
    move = partial(move_attempt, attempt, now=now, actor=actor)
    if attempt.state == AttemptState.CONFIRMING:
        code = FailureCode.CONFIRMATION_MISSING
        move(to=AttemptState.IN_DOUBT, reason=code, due_at=now, doubt_code=code)
    move(to=AttemptState.NEEDS_REVIEW, reason="asking_is_exhausted", evidence={"questions": attempt.questions})
    doubt = attempt.doubt_code
    stage(kind=AnnouncementKind.NEEDS_REVIEW, order=order, attempt=attempt, now=now, reason=doubt)
    log.error("payment_needs_review", order_id=order.order_id, payment_id=attempt.public_id, doubt=attempt.doubt_code)


def _succeed(attempt: PaymentAttempt, *, order: Order, reference: str, now: datetime, actor: str) -> None:
    move = partial(move_attempt, attempt, now=now, actor=actor)
    if attempt.state == AttemptState.QUEUED:
        # Given back as never sent, and yet the money came: the proof was wrong, the money is real.
        reason = "captured_although_never_sent"
        log.error(reason, payment_id=attempt.public_id, reference=reference)
        key, fence = charge_request(attempt).idempotency_key, attempt.fence + 1
        move(to=AttemptState.CHARGING, reason=reason, due_at=now, fence=fence, gateway_key=key)
    reason = "captured" if now < attempt.expires_at else "captured_and_accepted_late"
    move(
        to=AttemptState.SUCCEEDED,
        reason=reason,
        evidence={"reference": reference},
        gateway_reference=reference,
        doubt_code="",
    )
    mark_paid(order, attempt=attempt, now=now)


def mark_paid(order: Order, *, attempt: PaymentAttempt, now: datetime) -> None:
    """Close an order as paid by `attempt`, turn what it holds into sold stock, and announce it."""
    Order.objects.filter(id=order.id).update(status=OrderStatus.PAID, payment_status=PaymentStatus.PAID, closed_at=now)
    consume_stock(order_id=order.id, now=now)
    stage(kind=AnnouncementKind.ORDER_PAID, order=order, attempt=attempt, now=now)


def announce_given_back(row: Compensation, *, order: Order, now: datetime) -> None:
    """Announce that money went back, or that what was held was let go. Hold the order's lock."""
    given_back = GivenBack(kind=row.kind, amount_minor=row.amount_minor, reason=row.reason)
    stage(kind=AnnouncementKind.REFUNDED, order=order, attempt=row.attempt, now=now, given_back=given_back)


def note_refund(row: Compensation, *, order: Order) -> None:
    """Mark a paid order as refunded when `row`, which is done, gave its payment back whole. Hold the order's lock."""
    attempt = row.attempt
    gives_all_back = row.kind == CompensationKind.REFUND and row.amount_minor == attempt.amount_minor
    is_the_payment = attempt.state == AttemptState.SUCCEEDED and attempt.gateway_reference == row.charge_reference
    if gives_all_back and is_the_payment:
        _mark_refunded(order)


def _mark_refunded(order: Order) -> None:
    # For good: a refunded order is never revived.
    Order.objects.filter(id=order.id, status=OrderStatus.PAID).update(payment_status=PaymentStatus.REFUNDED)


def _begin(
    step: BeginCapture | BeginReplay | BeginCancel, *, attempt: PaymentAttempt, reading: Reading, actor: str
) -> Call:
    """Begin the call that follows, under the fence of the one that led to it, with a lease of its own."""
    limits = config.limits()
    total = timedelta(seconds=limits.gateway_total_seconds)
    columns: dict[str, object] = {"due_at": reading.now + timedelta(seconds=limits.lease_seconds)}
    request: GatewayRequest
    operation, request, deadline = Operation.CANCEL_KEY, question(attempt), total
    match step:
        case BeginCapture(reference=reference):
            columns["gateway_reference"] = reference
            operation, request = Operation.CAPTURE, capture_request(attempt, reference=reference)
        case BeginReplay():
            operation, request = _same_again(attempt)
            deadline = min(total, attempt.grace_ends_at - reading.now)
        case BeginCancel():
            pass
    PaymentAttempt.objects.filter(id=attempt.id).update(**columns)
    for name, value in columns.items():
        setattr(attempt, name, value)
    return begin_call(
        attempt=attempt, operation=operation, request=request, reading=reading, deadline=deadline, actor=actor
    )


def _same_again(attempt: PaymentAttempt) -> tuple[Operation, ChargeRequest]:
    """Build the attempt's first request once more: same key, same body, or nothing is sent.

    :raises RuntimeError: when it would be another body.
    """
    request = charge_request(attempt)
    first = attempt.gateway_calls.filter(operation__in=BEGINS_CHARGE).order_by("started_at", "id")[0]
    if first.request_hash != request.request_hash:
        message = f"{attempt.public_id} would be sent with another body under the same key"
        raise RuntimeError(message)
    return Operation(first.operation), request
