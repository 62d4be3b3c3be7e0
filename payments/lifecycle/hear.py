"""Hear: a gateway sends word, and is asked whether it is so.

The event is committed before it is answered, once however often it is sent. A job then finds its payment and has the
gateway asked for the charge as it is now: what an event says is a reason to ask and never evidence, so a forged, an old
or an overtaken one changes nothing. The answer takes the road of every other observation (record), where money that
comes late to a payment that has ended is given back.

While a payment is asked about, only the resolver asks, under its fence; the event waits until a question that began
after it came has been answered.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from payments import clocks, config, dispatch, locks
from payments.domain.compensations import CompensationKind
from payments.domain.errors import NotFound, WebhookRefused
from payments.domain.ids import Prefix, parse_public_id
from payments.domain.outcomes import Operation
from payments.domain.states import ASKED_ABOUT, TERMINAL, AttemptState
from payments.failpoints import reach
from payments.gateways import registry
from payments.gateways.protocol import Event, NotGenuine, Tells
from payments.lifecycle.ask import ask_soon
from payments.lifecycle.calls import Call, begin_call, question
from payments.lifecycle.charge import run_calls
from payments.lifecycle.resolve import resolve_attempt
from payments.lifecycle.settle import wait_seconds
from payments.models import Compensation, GatewayCall, PaymentAttempt, WebhookEvent
from payments.models.inbox import EventEnding
from payments.transactions import after_commit, release_connection, transaction

log = structlog.get_logger(__name__)

GATEWAY = "gateway"
_NO_ANSWERS = ("", "in_doubt", "never_sent")
# Nor is "not found" one, to word of money: a list or a search may be behind what happened.
_NO_ANSWERS_TO_MONEY = (*_NO_ANSWERS, "not_found")
# What opens doors elsewhere is kept nowhere. PhonePe's whole proof is such a header.
_CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie"})


def hear_event(*, gateway: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Store an event that a gateway sent, and leave its job to be published.

    Returns whether it is new. `body` is as it came, byte for byte.

    :raises NotFound: for a gateway that does not exist, or of which no events are taken.
    :raises WebhookRefused: for what is not signed by it, or is no event.
    """
    if not registry.takes_events(gateway):
        message = "There is no such gateway."
        raise NotFound(message)
    now = clocks.database_now()
    release_connection()  # To verify an event may take a question to the gateway.
    event = registry.gateway(gateway).read_event(headers=headers, body=body, unix_seconds=int(now.timestamp()))
    if isinstance(event, NotGenuine):
        log.warning("webhook_refused", gateway=gateway, reason=event.why, length_bytes=len(body))
        message = f"This was not taken: {event.why}."
        raise WebhookRefused(message)
    is_new = _store(event, gateway=gateway, headers=headers, body=body, now=now)
    log.info(
        "webhook_heard",
        gateway=gateway,
        event_id=event.event_id,
        kind=event.kind,
        payment_id=event.payment_id,
        is_new=is_new,
        is_timely=event.is_timely,
    )
    return is_new


def _store(event: Event, *, gateway: str, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    row = WebhookEvent(
        gateway=gateway,
        account=event.account,
        event_id=event.event_id,
        kind=event.kind,
        tells=event.tells,
        payment_id=event.payment_id,
        charge_reference=event.charge_reference,
        is_timely=event.is_timely,
        headers={
            name.lower(): "(not kept)" if name.lower() in _CREDENTIALS else value.replace("\x00", "")
            for name, value in headers.items()
        },
        body=body,
        received_at=now,
        due_at=now,
        due_since=now,
        published_at=now,
    )
    with transaction():
        WebhookEvent.objects.bulk_create([row], ignore_conflicts=True)
        is_new = WebhookEvent.objects.filter(id=row.id).exists()
        if is_new:
            after_commit(lambda: dispatch.publish_later(job=dispatch.apply_event(event_id=row.id)))
    reach("event.heard")
    return is_new


def apply_event(*, event_id: UUID) -> EventEnding | None:
    """Have the gateway asked about what an event is about. Safe to run twice, at once or in turn.

    Returns what came of it; None when there is nothing to do, or not yet.
    """
    row = _take(event_id=event_id)
    if not isinstance(row, WebhookEvent):
        return row
    ending = _apply(row)
    reach("event.applied")
    with transaction():
        now = clocks.database_now()
        same = WebhookEvent.objects.filter(id=row.id, tries=row.tries, ending="")
        if ending is None:
            same.update(due_at=now + timedelta(seconds=wait_seconds(row.tries - 1)))
        else:
            same.update(due_at=None, applied_at=now, ending=ending)
    log.info("webhook_applied", event_id=row.event_id, payment_id=row.payment_id, ending=ending)
    return ending


def _take(*, event_id: UUID) -> WebhookEvent | EventEnding | None:
    """Take a due event for as long as a question takes; whoever dies leaves it to be due again, ever more seldom.

    Returns the ending of one that was tried for too long, and None when there is nothing to take.
    """
    limits = config.limits()
    with transaction():
        row = locks.lock_webhook_event(event_id=event_id)
        if row is None or row.due_at is None:
            return None
        now = clocks.database_now()
        if now < row.due_at <= now + limits.longest_unresolved:
            return None
        if row.tries and now - row.due_since >= timedelta(seconds=limits.resolve_give_up_seconds):
            # Here, so that one whose tries all break off ends, too.
            WebhookEvent.objects.filter(id=row.id).update(due_at=None, applied_at=now, ending=EventEnding.GIVEN_UP)
            log.error("webhook_given_up", gateway=row.gateway, event_id=row.event_id, payment_id=row.payment_id)
            return EventEnding.GIVEN_UP
        lease_seconds = max(limits.lease_seconds, wait_seconds(row.tries))
        row.due_at, row.tries = now + timedelta(seconds=lease_seconds), row.tries + 1
        row.save(update_fields=["due_at", "tries"])
    reach("event.taken")
    return row


def _apply(row: WebhookEvent) -> EventEnding | None:
    attempt = _payment_of(row)
    if attempt is None:
        return EventEnding.UNKNOWN_PAYMENT
    if _is_nothing_new(row, attempt=attempt):
        return EventEnding.NOTHING_NEW
    if attempt.state in ASKED_ABOUT:
        if ask_soon(attempt_id=attempt.id):
            resolve_attempt(attempt_id=attempt.id, charge_reference=row.charge_reference)
    else:
        call = _begin_question(attempt_id=attempt.id, charge_reference=row.charge_reference)
        if call is not None:
            run_calls(call)
    return EventEnding.ASKED if _is_answered(row, attempt_id=attempt.id) else None


def _payment_of(row: WebhookEvent) -> PaymentAttempt | None:
    """Find the payment by our own id, and where the event has none by the gateway's."""
    ours = PaymentAttempt.objects.filter(gateway=row.gateway)
    attempt_id = parse_public_id(Prefix.PAYMENT, row.payment_id)
    if attempt_id is not None:
        return ours.filter(id=attempt_id).first()
    if row.payment_id or not row.charge_reference:
        return None
    return ours.filter(gateway_reference=row.charge_reference).order_by("-opened_at").first()


def _is_nothing_new(row: WebhookEvent, *, attempt: PaymentAttempt) -> bool:
    """Tell whether our own records already say what the event tells: then nobody needs to be asked."""
    tells = Tells(row.tells)
    if attempt.state == AttemptState.SUCCEEDED:
        if tells is Tells.MONEY:
            return attempt.gateway_reference == row.charge_reference
    elif attempt.state in TERMINAL and tells is Tells.NO_MONEY:
        return True
    # Our own refund is followed up by itself.
    refunds = Compensation.objects.filter(
        gateway=row.gateway, charge_reference=row.charge_reference, kind=CompensationKind.REFUND
    )
    return tells is Tells.RETURNED and refunds.filter(amount_minor=attempt.amount_minor).exists()


def _begin_question(*, attempt_id: UUID, charge_reference: str) -> Call | None:
    """Begin a look-up of an attempt that nobody asks about, of the very charge that the event names.

    It takes no claim, so only money that moved acts.
    """
    limits = config.limits()
    with transaction():
        if locks.lock_order_of(attempt_id=attempt_id) is None:
            return None
        reading = clocks.read()
        attempt = PaymentAttempt.objects.get(id=attempt_id)
        if attempt.state in ASKED_ABOUT:
            return None  # It has moved on, and is asked about by the resolver.
        return begin_call(
            attempt=attempt,
            operation=Operation.LOOK_UP,
            request=question(attempt, charge_reference=charge_reference),
            reading=reading,
            deadline=timedelta(seconds=limits.gateway_total_seconds),
            actor=GATEWAY,
        )


def _is_answered(row: WebhookEvent, *, attempt_id: UUID) -> bool:
    """Tell whether the gateway has answered something that it was asked after the event had come."""
    calls = GatewayCall.objects.filter(attempt_id=attempt_id, compensation=None, started_at__gte=row.due_since)
    says_nothing = _NO_ANSWERS_TO_MONEY if row.tells == Tells.MONEY else _NO_ANSWERS
    return calls.filter(operation=Operation.LOOK_UP).exclude(outcome__in=says_nothing).exists()
