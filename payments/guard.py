"""Asks the clock guard about an attempt: with its stamp, the clocks that were read under the lock, and the topology.

Nothing else in Paywindow decides whether a window is open. What a judgement shows of the clocks is written down here,
too: every disagreement, with the attempt that it was seen with.
"""

from datetime import datetime
from typing import Any, Protocol

from payments import clockevents, config
from payments.domain import clock
from payments.domain.clock import MARGIN_SECONDS, RECORDED_FROM_SECONDS, Detection, Judgement, Reading, Ruling
from payments.domain.states import SWEEPABLE, AttemptState
from payments.models import PaymentAttempt


class Stamped(Protocol):
    """What a window is judged by: an attempt, or a candidate of the sweep."""

    @property
    def expires_at(self) -> datetime:
        """The deadline, on the database's clock."""

    @property
    def opened_at(self) -> datetime | None:
        """Database time; None only where there is a stamp."""

    @property
    def opened_stamp(self) -> dict[str, Any]:
        """What the clocks said then; empty for an attempt from before there were stamps."""


def judge(attempt: Stamped, *, reading: Reading, until: datetime | None = None) -> Judgement:
    """Judge whether an attempt's window is over at `reading`, or what ends at `until`, on the database's clock."""
    return clock.judge(
        stamp=_stamp(attempt),
        reading=reading,
        until=until or attempt.expires_at,
        topology=config.topology(),
    )


def _stamp(attempt: Stamped) -> Reading:
    if attempt.opened_stamp or attempt.opened_at is None:
        return Reading.from_stamp(attempt.opened_stamp)
    # Opened before there were stamps: the database alone can tell.
    return Reading(now=attempt.opened_at, boottime_seconds=0.0, round_trip=0.0, wall=0.0, domain="", host="")


def state_of(attempt: PaymentAttempt, *, reading: Reading) -> AttemptState:
    """Give the state that a reader must see: past its deadline an attempt is expired, swept or not."""
    state = AttemptState(attempt.state)
    if state in SWEEPABLE and judge(attempt, reading=reading).ruling is Ruling.EXPIRE:
        return AttemptState.EXPIRED
    return state


def note(attempt: PaymentAttempt, judgement: Judgement, *, reading: Reading) -> None:
    """Write down what the clocks of an attempt's opening, its enqueue and its judgement say of each other."""
    apart = judgement.disagreement
    # Of an attempt that is held it was told when the hold began; it is judged again every two seconds.
    if abs(apart) >= RECORDED_FROM_SECONDS and attempt.held_since is None:
        kind = Detection.DB_STEP_FORWARD if apart > 0 else Detection.DB_STEP_BACK
        detail = "since the opening the database's clock counted another time than passed"
        clockevents.record(
            kind=kind, seconds=apart, detail=detail, attempt_id=attempt.id, evidence=judgement.as_evidence()
        )
    if attempt.enqueued_stamp:
        _note_enqueue_skew(attempt, Reading.from_stamp(attempt.enqueued_stamp), reading)
    if judgement.ruling is Ruling.HOLD and attempt.held_since is None:
        clockevents.record(
            kind=Detection.NO_QUORUM,
            seconds=apart,
            detail=judgement.why,
            attempt_id=attempt.id,
            evidence=judgement.as_evidence(),
        )


def _note_enqueue_skew(attempt: PaymentAttempt, enqueued: Reading, reading: Reading) -> None:
    by_wall = reading.wall - enqueued.wall
    if enqueued.domain == reading.domain:
        apart, least = by_wall - (reading.boottime_seconds - enqueued.boottime_seconds), RECORDED_FROM_SECONDS
    else:  # Between two hosts a constant difference is no news.
        apart, least = by_wall - (reading.now - enqueued.now).total_seconds(), MARGIN_SECONDS
    if abs(apart) >= least + enqueued.round_trip + reading.round_trip:
        detail = f"from the enqueue on {enqueued.host} to the execution on {reading.host}"
        clockevents.record(kind=Detection.ENQUEUE_SKEW, seconds=apart, detail=detail, attempt_id=attempt.id)
