"""Remind: a customer who has submitted nothing hears of it some minutes before the window closes. Once, or not at all.

First it is owed: under the order's lock the attempt's `reminder_at` is cleared, and a row for each channel written.
Then each row is taken by itself: under the lock again, if the attempt is open and the clock guard says that the window
is, the row becomes `sending`, and that is committed before anything is sent. Right before the sending all is looked at
once more, without a lock. What the sending proves is recorded under the row's fence.

Whoever dies while a row is `sending` leaves a lease that lapses, and nobody knows: the row ends as `unknown`, and is
never sent again. Only what provably was not sent is sent anew, and only while the window is open. What remains is a
customer who submits in the milliseconds between the last look and the first byte: docs/reminders.md.
"""

import enum
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from payments import clocks, config, guard, locks, queries
from payments.clocks import DatabaseClock
from payments.domain.clock import Reading, Ruling
from payments.domain.reminders import Channel, ReminderState
from payments.domain.states import AttemptState
from payments.failpoints import reach
from payments.locks import Candidate
from payments.messaging.endings import Ending, NotSent, Sent, Unclear
from payments.messaging.mail import send_email
from payments.messaging.sms import send_sms
from payments.messaging.texts import Texts, compose
from payments.models import CustomerContact, PaymentAttempt, Reminder
from payments.transactions import after_commit, transaction

log = structlog.get_logger(__name__)

OWED_PER_BATCH = 200
FAILURES_IN_A_ROW = 3  # After these a run leaves a channel alone: it is away, and not only one address bad.
_LONGEST_WHY = 64


class Obstacle(enum.StrEnum):
    """Why no reminder may be sent now, in the order in which it is asked."""

    NOT_OPEN = "not_open"  # Submitted, paid, ended: there is nothing to remind of.
    CLOCKS_DISAGREE = "clocks_disagree"
    TOO_LATE = "too_late"
    CHANNEL_OFF = "channel_off"
    UNSUBSCRIBED = "unsubscribed"
    NO_ADDRESS = "no_address"


@dataclass(frozen=True, slots=True)
class ReminderRun:
    """What one run did, in reminders. Those that must wait for the clocks are in none of these."""

    sent: int
    tried_again_later: int
    skipped: int
    failed: int
    unknown: int


@dataclass(frozen=True, slots=True)
class _Taken:
    """The right to send one reminder, as long as its lease has not lapsed."""

    reminder_id: int
    attempt_id: UUID
    channel: Channel
    tries: int
    fence: int


@dataclass(frozen=True, slots=True)
class _Hindered:
    """It must not be sent, and was not."""

    by: Obstacle


def stop_reminders(*, customer_id: int) -> bool:
    """Send a customer no reminders any more; False when there is no such customer. Repeating it changes nothing."""
    if not User.objects.filter(id=customer_id).exists():
        return False
    CustomerContact.objects.get_or_create(customer_id=customer_id)
    rows = CustomerContact.objects.filter(customer_id=customer_id, reminders_stopped_at=None)
    if rows.update(reminders_stopped_at=DatabaseClock()):
        log.info("reminders_stopped", customer_id=customer_id)
    return True


def send_due_reminders(*, limit: int) -> ReminderRun:
    """Send what is due, up to `limit` reminders over each channel. Several runs at once share the work."""
    _owe_due(limit=limit)
    results: Counter[ReminderState] = Counter()
    for channel in Channel:  # One that was switched off has its rows ended, too.
        results += _send_over(channel, limit=limit)
    return ReminderRun(
        sent=results[ReminderState.SENT],
        tried_again_later=results[ReminderState.OWED],
        skipped=results[ReminderState.SKIPPED],
        failed=results[ReminderState.FAILED],
        unknown=results[ReminderState.UNKNOWN],
    )


def _owe_due(*, limit: int) -> None:
    after: Candidate | None = None
    for _ in range(-(-limit // OWED_PER_BATCH)):
        after = _owe_batch(after=after)
        if after is None:
            return


def _owe_batch(*, after: Candidate | None) -> Candidate | None:
    """Owe the reminders of one batch of attempts; returns where the next one goes on, None when nothing is left."""
    with transaction():
        found = locks.lock_orders_to_remind(now=clocks.database_now(), after=after, limit=OWED_PER_BATCH)
        reading = clocks.read()
        attempts = PaymentAttempt.objects.filter(
            order_id__in=[candidate.order_id for candidate in found],
            state=AttemptState.OPEN,
            reminder_at__lte=reading.now,
        )
        due = [attempt.id for attempt in attempts if _is_time(attempt, reading=reading)]
        PaymentAttempt.objects.filter(id__in=due).update(reminder_at=None)
        Reminder.objects.bulk_create(
            Reminder(
                attempt_id=attempt_id,
                channel=channel,
                state=ReminderState.OWED,
                owed_at=reading.now,
                due_at=reading.now,
            )
            for attempt_id in due
            for channel in config.reminders().channels
        )
    return found[-1] if len(found) == OWED_PER_BATCH else None


def _is_time(attempt: PaymentAttempt, *, reading: Reading) -> bool:
    """Tell whether an attempt's reminder is due by more than the database's clock, which may have leapt."""
    is_due = guard.judge(attempt, reading=reading, until=attempt.reminder_at).ruling is Ruling.EXPIRE
    return is_due and guard.judge(attempt, reading=reading).ruling is Ruling.CHARGE


def _send_over(channel: Channel, *, limit: int) -> Counter[ReminderState]:
    ends_at_monotonic = time.monotonic() + config.reminders().run_seconds
    results: Counter[ReminderState] = Counter()
    failures = 0
    after: Candidate | None = None
    while failures < FAILURES_IN_A_ROW and results.total() < limit and time.monotonic() < ends_at_monotonic:
        with transaction():
            after = locks.lock_order_of_reminder_due(channel=channel, now=clocks.database_now(), after=after)
            taken = None if after is None else _take(order_id=after.order_id, channel=channel)
        if after is None:
            break
        if isinstance(taken, ReminderState):
            results[taken] += 1
        if not isinstance(taken, _Taken):
            continue
        reach("remind.taken")
        ending = _send(taken)
        reach("remind.answered")
        result = _record(taken, ending=ending)
        results[result] += 1
        failures = failures + 1 if result in {ReminderState.OWED, ReminderState.UNKNOWN} else 0
    return results


def _take(*, order_id: UUID, channel: Channel) -> _Taken | ReminderState | None:
    """Take the due reminder of an order whose lock is held.

    Returns the right to send it, or how it has ended instead; None when it has to wait.
    """
    reading = clocks.read()
    rows = Reminder.objects.select_related("attempt__customer", "attempt__order").filter(
        attempt__order_id=order_id, channel=channel
    )
    row = rows.filter(due_at__lte=reading.now).order_by("due_at").first()
    if row is None:
        return None
    if row.state == ReminderState.SENDING:
        return _end(row, ReminderState.UNKNOWN, why="sender_lost")
    obstacle = _obstacle(row.attempt, channel=channel, reading=reading)
    if obstacle is Obstacle.CLOCKS_DISAGREE:
        return None
    if obstacle is Obstacle.TOO_LATE and row.tries:
        return _end(row, ReminderState.FAILED, why=row.why)
    if obstacle is not None:
        return _end(row, ReminderState.SKIPPED, why=obstacle)
    row.state, row.why = ReminderState.SENDING, ""
    row.tries, row.fence = row.tries + 1, row.fence + 1
    row.due_at = reading.now + timedelta(seconds=config.reminders().lease_seconds)
    row.save(update_fields=["state", "why", "tries", "fence", "due_at"])
    return _Taken(reminder_id=row.id, attempt_id=row.attempt_id, channel=channel, tries=row.tries, fence=row.fence)


def _end(row: Reminder, state: ReminderState, *, why: str) -> ReminderState:
    row.state, row.why, row.due_at = state, why, None
    row.save(update_fields=["state", "why", "due_at"])
    facts = _facts(row.attempt, channel=Channel(row.channel), tries=row.tries, why=why)
    after_commit(lambda: _log(state, facts))
    return state


def _obstacle(attempt: PaymentAttempt, *, channel: Channel, reading: Reading) -> Obstacle | None:
    """Say why no reminder of an attempt may be sent at `reading`, if so."""
    known = config.reminders()
    if attempt.state != AttemptState.OPEN:
        return Obstacle.NOT_OPEN
    # It must have left before the window closes, and may take its whole time.
    until = attempt.expires_at - timedelta(seconds=known.total_seconds)
    ruling = guard.judge(attempt, reading=reading, until=until).ruling
    if ruling is Ruling.HOLD:
        return Obstacle.CLOCKS_DISAGREE
    if ruling is not Ruling.CHARGE:
        return Obstacle.TOO_LATE
    if channel not in known.channels:
        return Obstacle.CHANNEL_OFF
    contact = CustomerContact.objects.filter(customer_id=attempt.customer_id).first()
    if contact is not None and contact.reminders_stopped_at is not None:
        return Obstacle.UNSUBSCRIBED
    return None if _address(attempt, channel=channel, contact=contact) else Obstacle.NO_ADDRESS


def _address(attempt: PaymentAttempt, *, channel: Channel, contact: CustomerContact | None) -> str:
    """Give where a customer is reached over a channel; empty when nowhere."""
    match channel:
        case Channel.SMS:
            return "" if contact is None else contact.phone
        case Channel.EMAIL:
            try:
                validate_email(attempt.customer.email)
            except ValidationError:
                return ""
            return attempt.customer.email


def _send(taken: _Taken) -> Ending | _Hindered:
    """Look once more, then send."""
    view = queries.attempt_for(attempt_id=taken.attempt_id, customer_id=None)
    attempt, channel = view.attempt, taken.channel
    obstacle = _obstacle(attempt, channel=channel, reading=view.reading)
    if obstacle is Obstacle.CLOCKS_DISAGREE:
        return NotSent(why=obstacle, may_retry=True)
    if obstacle is not None:
        return _Hindered(obstacle)
    contact = CustomerContact.objects.filter(customer_id=attempt.customer_id).first()
    to = _address(attempt, channel=channel, contact=contact)
    try:
        texts = compose(attempt, now=view.server_now)
    except Exception as error:  # noqa: BLE001 - a template of the host may raise anything; nothing has left yet
        return NotSent(why=type(error).__name__, may_retry=True)
    return _hand_over(texts, channel=channel, to=to)


def _hand_over(texts: Texts, *, channel: Channel, to: str) -> Ending:
    match channel:
        case Channel.EMAIL:
            return send_email(to=to, texts=texts)
        case Channel.SMS:
            return send_sms(to=to, text=texts.sms)


def _record(taken: _Taken, *, ending: Ending | _Hindered) -> ReminderState:
    """Write down how a sending ended, if its lease has not lapsed."""
    with transaction():
        state, changes = _judge(ending, now=clocks.database_now())
        mine = Reminder.objects.filter(id=taken.reminder_id, fence=taken.fence, state=ReminderState.SENDING)
        is_mine = mine.update(state=state, **changes) == 1
        attempt = PaymentAttempt.objects.select_related("order").get(id=taken.attempt_id)
    facts = _facts(attempt, channel=taken.channel, tries=taken.tries, why=str(changes.get("why", "")))
    if not is_mine:
        log.warning("reminder_recorded_after_its_lease", state=state.value, **facts)
        return ReminderState.UNKNOWN
    _log(state, facts)
    return state


def _facts(attempt: PaymentAttempt, *, channel: Channel, tries: int, why: str) -> dict[str, object]:
    """Give what a log line says of a reminder: never an address."""
    return {
        "order_id": attempt.order.order_id,
        "payment_id": attempt.public_id,
        "channel": channel.value,
        "tries": tries,
        **({"why": why} if why else {}),
    }


def _log(state: ReminderState, facts: dict[str, object]) -> None:
    match state:
        case ReminderState.SENT:
            log.info("reminder_sent", **facts)
        case ReminderState.SKIPPED:
            log.info("reminder_skipped", **facts)
        case ReminderState.OWED:
            log.warning("reminder_not_sent", **facts)
        case ReminderState.FAILED | ReminderState.UNKNOWN | ReminderState.SENDING:
            log.warning("reminder_lost", state=state.value, **facts)


def _judge(ending: Ending | _Hindered, *, now: datetime) -> tuple[ReminderState, dict[str, object]]:
    match ending:
        case Sent():
            return ReminderState.SENT, {"due_at": None, "sent_at": now}
        case NotSent(why=why, may_retry=True):
            due_at = now + timedelta(seconds=config.reminders().retry_seconds)
            return ReminderState.OWED, {"due_at": due_at, "why": _fit(why)}
        case NotSent(why=why):
            return ReminderState.FAILED, {"due_at": None, "why": _fit(why)}
        case Unclear(why=why):
            return ReminderState.UNKNOWN, {"due_at": None, "why": _fit(why)}
        case _Hindered(by=obstacle):
            return ReminderState.SKIPPED, {"due_at": None, "why": obstacle.value}


def _fit(why: str) -> str:
    # What a sender of the host says must not keep us from writing down what happened.
    return why.replace("\x00", "")[:_LONGEST_WHY] or "no_reason"
