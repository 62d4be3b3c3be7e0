"""Deliver: what was announced is told to every destination, at least once, and in order for each order.

A delivery is taken first: its try, fence and lease are committed, then the destination is called outside every
transaction, then the ending is recorded under the fence. Whoever dies in between leaves a lease that lapses, and the
announcement is told again. A later announcement of an order waits until the earlier one was delivered or given up.
"""

import enum
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from django.db.models import Max

from payments import clocks, config, destinations, locks
from payments.destinations import Delivered, Ending, Gone, NotDelivered
from payments.failpoints import reach
from payments.models import Announcement, AnnouncementDelivery
from payments.transactions import transaction

log = structlog.get_logger(__name__)

LOOK_AHEAD_ROWS = 20  # Locked to find one that is free; the others are let go, or put off behind what they wait for.
FAILURES_IN_A_ROW = 3  # After these a run leaves a destination alone: it is away, and not only one delivery bad.
_LONGEST_ERROR = 500


class Result(enum.StrEnum):
    """What became of one try."""

    DELIVERED = "delivered"
    TRIED_AGAIN_LATER = "tried_again_later"
    GIVEN_UP = "given_up"
    LEASE_LOST = "lease_lost"  # Somebody else took the delivery meanwhile; the ending is theirs to record.


@dataclass(frozen=True, slots=True)
class DeliveryRun:
    """What one run did, in deliveries."""

    delivered: int
    tried_again_later: int
    given_up: int
    is_finished: bool  # False when it ended at its limit or its time, or left a destination that fails alone.


@dataclass(frozen=True, slots=True)
class _Taken:
    """The right to one try, as long as nobody takes the delivery anew."""

    delivery_id: int
    destination: str
    announcement_id: str
    payload: Mapping[str, Any]
    order_id: UUID
    number: int
    tries: int
    fence: int
    first_tried_at: datetime
    taken_at: datetime
    ends_at_monotonic: float


def deliver_due(*, limit: int) -> DeliveryRun:
    """Deliver what is due, up to `limit` deliveries to each destination. Several runs at once share the work.

    Destinations that fail least come first, and each has its time, so that none keeps another waiting for long.
    """
    results: Counter[Result] = Counter()
    is_finished = True
    for destination in _destinations_due():
        here, is_drained = _deliver_to(destination, limit=limit)
        results += here
        is_finished = is_finished and is_drained
    run = DeliveryRun(
        delivered=results[Result.DELIVERED],
        tried_again_later=results[Result.TRIED_AGAIN_LATER],
        given_up=results[Result.GIVEN_UP],
        is_finished=is_finished,
    )
    if results:
        log.info("deliveries_finished", **asdict(run))
    return run


def _destinations_due() -> list[str]:
    is_due = locks.is_due(now=clocks.database_now(), longest=config.announcements().longest_due)
    due = AnnouncementDelivery.objects.filter(is_due)
    return list(
        due.values("destination").annotate(most=Max("tries")).order_by("most").values_list("destination", flat=True)
    )


def _deliver_to(destination: str, *, limit: int) -> tuple[Counter[Result], bool]:
    """Deliver to one destination; returns what became of it, and False when something may still be due there."""
    ends_at_monotonic = time.monotonic() + config.announcements().run_seconds
    results: Counter[Result] = Counter()
    failures = 0
    while failures < FAILURES_IN_A_ROW and results.total() < limit and time.monotonic() < ends_at_monotonic:
        with transaction():
            taken, looked_at = _look(destination=destination)
        if taken is None and looked_at < LOOK_AHEAD_ROWS:
            return results, True
        if taken is None:
            continue  # All of these wait for earlier ones and are put off now; behind them there may be others.
        reach("announce.taken")
        ending = destinations.deliver(
            destination=destination,
            payload=taken.payload,
            now=taken.taken_at,
            deadline_seconds=taken.ends_at_monotonic - time.monotonic(),
        )
        reach("announce.answered")
        results[_record(taken, ending=ending)] += 1
        reach("announce.recorded")
        failures = failures + 1 if isinstance(ending, NotDelivered) else 0
    return results, False


def _look(*, destination: str) -> tuple[_Taken | None, int]:
    """Lock some due deliveries, put off those that wait for an earlier one, take the first that does not.

    Returns it, and how many were locked.
    """
    known = config.announcements()
    ends_at_monotonic = time.monotonic() + known.total_seconds
    ids = locks.lock_deliveries_due(
        destination=destination, now=clocks.database_now(), longest=known.longest_due, limit=LOOK_AHEAD_ROWS
    )
    if not ids:
        return None, 0
    first_of = _first_waiting(destination=destination, delivery_ids=ids)
    free = [delivery_id for delivery_id in ids if first_of[delivery_id].id == delivery_id]
    waiting = [
        # Looked at again with the one that it waits for, and sooner if that one ends (`_wake_next`).
        AnnouncementDelivery(id=delivery_id, due_at=first_of[delivery_id].due_at)
        for delivery_id in ids
        if first_of[delivery_id].id != delivery_id
    ]
    AnnouncementDelivery.objects.bulk_update(waiting, ["due_at"])
    if not free:
        return None, len(ids)
    row = AnnouncementDelivery.objects.select_related("announcement").get(id=free[0])
    return _lease(row, now=clocks.database_now(), ends_at_monotonic=ends_at_monotonic), len(ids)


class _First(NamedTuple):
    id: int
    due_at: datetime | None


def _first_waiting(*, destination: str, delivery_ids: Collection[int]) -> dict[int, _First]:
    """Read for each delivery the first of its order that waits: itself, or the one that it has to wait for.

    A statement after the one that locks, so that what was recorded while that one looked is seen.
    """
    orders = Announcement.objects.filter(deliveries__in=delivery_ids).values("order_id")
    rows = AnnouncementDelivery.objects.filter(
        announcement__order_id__in=orders, destination=destination, due_at__isnull=False
    ).order_by("announcement__number")
    first_of_order: dict[UUID, _First] = {}
    first_of: dict[int, _First] = {}
    for delivery_id, order_id, due_at in rows.values_list("id", "announcement__order_id", "due_at"):
        first_of[delivery_id] = first_of_order.setdefault(order_id, _First(delivery_id, due_at))
    return first_of


def _lease(row: AnnouncementDelivery, *, now: datetime, ends_at_monotonic: float) -> _Taken:
    known = config.announcements()
    row.tries, row.fence = row.tries + 1, row.fence + 1
    row.first_tried_at = row.first_tried_at or now
    # A try that always takes its worker down is spaced like one that fails.
    row.due_at = now + max(timedelta(seconds=known.lease_seconds), _wait_after(tries=row.tries))
    row.save(update_fields=["tries", "fence", "first_tried_at", "due_at"])
    return _Taken(
        delivery_id=row.id,
        destination=row.destination,
        announcement_id=row.announcement.public_id,
        payload=row.announcement.payload,
        order_id=row.announcement.order_id,
        number=row.announcement.number,
        tries=row.tries,
        fence=row.fence,
        first_tried_at=row.first_tried_at,
        taken_at=now,
        ends_at_monotonic=ends_at_monotonic,
    )


def _wait_after(*, tries: int) -> timedelta:
    known = config.announcements()
    doublings = min(tries - 1, 30)  # Far past the longest wait, and still a number that a timedelta holds.
    return timedelta(seconds=min(known.first_wait_seconds * 2**doublings, known.longest_wait_seconds))


def _record(taken: _Taken, *, ending: Ending) -> Result:
    """Write down how a try ended, if the delivery is still this try's."""
    with transaction():
        now = clocks.database_now()
        result, changes = _judge(ending, taken=taken, now=now)
        mine = AnnouncementDelivery.objects.filter(id=taken.delivery_id, fence=taken.fence, due_at__isnull=False)
        if mine.update(**changes) != 1:
            result = Result.LEASE_LOST
        elif result is not Result.TRIED_AGAIN_LATER:
            _wake_next(taken, now=now)
    _log(taken, ending=ending, result=result)
    return result


def _judge(ending: Ending, *, taken: _Taken, now: datetime) -> tuple[Result, dict[str, object]]:
    given_up: dict[str, object] = {"due_at": None, "given_up_at": now}
    match ending:
        case Delivered():
            return Result.DELIVERED, {"due_at": None, "delivered_at": now, "last_error": ""}
        case Gone(detail=detail):
            return Result.GIVEN_UP, {**given_up, "last_error": _fit(detail)}
        case NotDelivered(detail=detail):
            give_up_after = timedelta(seconds=config.announcements().give_up_seconds)
            if now - taken.first_tried_at >= give_up_after:
                return Result.GIVEN_UP, {**given_up, "last_error": _fit(detail)}
            due_at = now + _wait_after(tries=taken.tries)
            return Result.TRIED_AGAIN_LATER, {"due_at": due_at, "last_error": _fit(detail)}


def _fit(text: str) -> str:
    # What a stranger writes must not keep us from writing down what happened.
    return text.replace("\x00", "")[:_LONGEST_ERROR]


def _wake_next(taken: _Taken, *, now: datetime) -> None:
    """Make what waited for this delivery due: the next one goes, and the others are put off behind it.

    Those that are due already are written too: another deliverer may be about to put them off behind this one.
    """
    AnnouncementDelivery.objects.filter(
        announcement__order_id=taken.order_id,
        announcement__number__gt=taken.number,
        destination=taken.destination,
        due_at__isnull=False,
    ).update(due_at=now)


def _log(taken: _Taken, *, ending: Ending, result: Result) -> None:
    facts = {
        "announcement_id": taken.announcement_id,
        "kind": taken.payload["kind"],
        "order_id": taken.payload["order_id"],
        "payment_id": taken.payload["payment_id"],
        "destination": taken.destination,
        "tries": taken.tries,
        "ending": type(ending).__name__,
        "detail": "" if isinstance(ending, Delivered) else ending.detail,
    }
    match result:
        case Result.DELIVERED:
            log.info("announcement_delivered", **facts)
        case Result.TRIED_AGAIN_LATER:
            log.warning("announcement_not_delivered", **facts)
        case Result.LEASE_LOST:
            log.warning("announcement_recorded_after_its_lease", **facts)
        case Result.GIVEN_UP:
            log.error("announcement_given_up", **facts)
