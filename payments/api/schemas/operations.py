"""What staff ask for and are told: what is over and has not ended, and having it ended."""

from datetime import datetime
from typing import Self

from ninja import Schema
from pydantic import Field, ValidationInfo, field_validator

from payments.api.schemas.parts import Reason, Strict
from payments.domain.ids import Prefix, public_id
from payments.lifecycle import COUNTED_UP_TO, Backlog, Cleanup, Fate, Row


class ExpiredCountOut(Schema):
    """How many orders are over and have not ended, by the database's clock."""

    expired_count: int = Field(description=f"Due now, those that failed included; counted up to {COUNTED_UP_TO}.")
    is_capped: bool = Field(description="Whether there are more than were counted.")
    failed_count: int = Field(description="How many of them could not be ended; they are tried again by themselves.")
    oldest_expires_at: datetime | None = Field(description="The deadline of the oldest; null when there is none.")
    server_now: datetime

    @classmethod
    def of(cls, backlog: Backlog) -> Self:
        """Describe what is due at the moment when it was read."""
        return cls(
            expired_count=backlog.orders,
            is_capped=backlog.is_capped,
            failed_count=backlog.failed_orders,
            oldest_expires_at=backlog.oldest_expires_at,
            server_now=backlog.server_now,
        )


class CleanupIn(Strict):
    """How much of a cleanup is wanted, and why."""

    limit: int = Field(default=1000, ge=1, le=1000, description="How many are taken, the oldest first.")
    dry_run: bool = Field(default=False, description="Change nothing, and say what a run would do.")
    reason: Reason | None = Field(
        default=None,
        validate_default=True,
        description="Goes on record; only a dry run does without.",
        examples=["Stock is short before noon"],
    )

    @field_validator("reason")
    @classmethod
    def says_why(cls, reason: str | None, info: ValidationInfo) -> str | None:
        """Refuse a run that nobody gave a reason for."""
        if reason is None and not info.data.get("dry_run", False):
            message = "say why, or ask for a dry_run; it goes on record"
            raise ValueError(message)
        return reason


class TriggerIn(Strict):
    """Why a worker is to sweep now."""

    reason: Reason = Field(description="Goes on record.", examples=["The dashboard shows a backlog"])


class CleanupRowOut(Schema):
    """One order, and what the cleanup does with it."""

    order_id: str = Field(examples=["ORD-ABC123"])
    payment_id: str = Field(description="Its latest payment.", examples=["pay_0198f0c2e4b27c3a9d1e5f60718293a4"])
    expires_at: datetime
    fate: Fate = Field(
        description="expire: it ends. held: the clocks disagree about it. left: somebody else is at it, or it "
        "is not over. failed: it could not be ended, and is tried again later."
    )
    reason: str = Field(examples=["the window is over"])
    last_failure: str | None = Field(description="Why it could not be ended before, if it is tried again.")

    @classmethod
    def of(cls, row: Row) -> Self:
        """Describe a row of the sweep."""
        candidate = row.candidate
        return cls(
            order_id=candidate.order_number,
            payment_id=public_id(Prefix.PAYMENT, candidate.attempt_id),
            expires_at=candidate.expires_at,
            fate=row.fate,
            reason=row.why,
            last_failure=candidate.failure or None,
        )


class CleanupOut(Schema):
    """What a cleanup did or, dry, would do."""

    dry_run: bool
    ended_count: int
    held_count: int = Field(description="Left alone because the clocks disagree about them.")
    failed_count: int = Field(description="Could not be ended; tried again later by themselves.")
    left_count: int = Field(description="Somebody else was at them, or they were not over.")
    waiting_count: int = Field(description="Failed before, and not due again yet; not among the rows.")
    more_due_count: int = Field(description=f"Due, and past the limit; counted up to {COUNTED_UP_TO}.")
    duration_seconds: float
    rows: list[CleanupRowOut]

    @classmethod
    def of(cls, done: Cleanup, *, dry_run: bool, rows: list[CleanupRowOut]) -> Self:
        """Describe a cleanup by its rows and its counts."""
        return cls(
            dry_run=dry_run,
            ended_count=done.ended,
            held_count=done.held,
            failed_count=done.failed,
            left_count=done.left,
            waiting_count=done.waiting,
            more_due_count=done.more_due,
            duration_seconds=done.duration_seconds,
            rows=rows,
        )


class TriggeredOut(Schema):
    """A task that the broker has taken."""

    task: str = Field(examples=["payments.sweep_expired"])
    message: str = "The task was published; a worker takes it as soon as one is free."
