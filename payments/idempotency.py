"""Idempotency keys: a request that is repeated under its key is answered as before, and does nothing twice.

The record is committed before the work, with a lease. What the work did is written into the record by the transaction
that did it, so whoever finds a record whose holder died knows which of the two it was: nothing happened yet, then the
work is done now; or it happened, then it is only answered. The record's id is the claim. A repeat that takes over after
the lease gives it another, so that a holder which was merely slow cannot commit any more.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import Error as DatabaseFailure

from payments import clocks, config, locks
from payments.domain.errors import IdempotencyKeyInUse, IdempotencyKeyReused
from payments.domain.ids import new_id
from payments.models import IdempotencyRecord
from payments.models.idempotency import RequestState
from payments.transactions import require_transaction, transaction

RETRY_AFTER_SECONDS = 1  # A request takes some milliseconds; whoever meets it running may ask again soon.

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request under a user's key. What makes it the same request: method, path and body."""

    user_id: int
    key: str
    method: str
    path: str
    body_hash: str

    def is_that_of(self, record: IdempotencyRecord) -> bool:
        """Whether `record` was written for this request."""
        return (self.method, self.path, self.body_hash) == (record.method, record.path, record.body_hash)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to answer a request."""

    id: UUID
    effect: UUID | None  # The attempt that an earlier holder's work ended with; then there is nothing left to do.


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, byte for byte."""

    status: int
    content_type: str
    body: bytes


def claim(*, request: KeyedRequest) -> Claim | Answer:
    """Take a request's key, or find what was answered under it.

    :raises IdempotencyKeyReused: when the key belongs to another request.
    :raises IdempotencyKeyInUse: when the same request is running.
    """
    claim_id = new_id()
    with transaction():
        # Either ours is stored, or the one that was there first is waited for; from the lock on it stays as it is.
        IdempotencyRecord.objects.bulk_create(
            [_running(request, claim_id=claim_id, now=clocks.database_now())], ignore_conflicts=True
        )
        record = locks.lock_idempotency_record(user_id=request.user_id, key=request.key)
        if record is None:  # It was given back between the two statements.
            raise _in_use()
        if record.id == claim_id:
            return Claim(id=claim_id, effect=None)
        return _take_over(record, request=request, claim_id=claim_id, now=clocks.database_now())


def note_effect(*, claim_id: UUID | None, attempt_id: UUID) -> None:
    """Write what a request did into its record, inside the transaction that did it; without a claim do nothing.

    :raises IdempotencyKeyInUse: when a repeat has taken over; the caller's transaction must not be committed.
    """
    require_transaction()
    if claim_id is None:
        return
    rows = IdempotencyRecord.objects.filter(id=claim_id, state=RequestState.RUNNING)
    if rows.update(attempt_id=attempt_id) != 1:
        raise _in_use()


def finish(*, claim_id: UUID, answer: Answer) -> None:
    """Keep the answer. It may be given even when that fails: after the lease the repeat finds the effect."""
    try:
        IdempotencyRecord.objects.filter(id=claim_id, state=RequestState.RUNNING).update(
            state=RequestState.FINISHED,
            lease_expires_at=None,
            status=answer.status,
            content_type=answer.content_type,
            body=answer.body,
        )
    except DatabaseFailure as error:
        log.warning("idempotency_answer_not_kept", claim_id=str(claim_id), error=str(error))


def give_back(*, claim_id: UUID) -> None:
    """Free the key, because nothing was done and the next try may end better. A key whose work was done stays."""
    try:
        IdempotencyRecord.objects.filter(id=claim_id, state=RequestState.RUNNING, attempt=None).delete()
    except DatabaseFailure as error:  # Its lease ends.
        log.warning("idempotency_key_not_given_back", claim_id=str(claim_id), error=str(error))


def delete_old(*, now: datetime, limit: int) -> int:
    """Delete the oldest records that are kept no longer; returns how many they were."""
    rows = IdempotencyRecord.objects.filter(created_at__lte=now - _keep()).order_by("created_at")
    deleted, _ = IdempotencyRecord.objects.filter(id__in=list(rows.values_list("id", flat=True)[:limit])).delete()
    return deleted


def _take_over(record: IdempotencyRecord, *, request: KeyedRequest, claim_id: UUID, now: datetime) -> Claim | Answer:
    if now >= record.created_at + _keep():
        record.delete()
        _running(request, claim_id=claim_id, now=now).save(force_insert=True)
        return Claim(id=claim_id, effect=None)
    if not request.is_that_of(record):
        message = "This idempotency key was used for another request. Use a new key for each request."
        raise IdempotencyKeyReused(message)
    if record.status is not None and record.body is not None:
        return Answer(status=record.status, content_type=record.content_type, body=bytes(record.body))
    if record.lease_expires_at is not None and now < record.lease_expires_at:
        raise _in_use()
    IdempotencyRecord.objects.filter(id=record.id).update(id=claim_id, lease_expires_at=now + _lease())
    log.info("idempotency_key_taken_over", was_done=record.attempt_id is not None)
    return Claim(id=claim_id, effect=record.attempt_id)


def _running(request: KeyedRequest, *, claim_id: UUID, now: datetime) -> IdempotencyRecord:
    return IdempotencyRecord(
        id=claim_id,
        user_id=request.user_id,
        key=request.key,
        method=request.method,
        path=request.path,
        body_hash=request.body_hash,
        created_at=now,
        state=RequestState.RUNNING,
        lease_expires_at=now + _lease(),
    )


def _lease() -> timedelta:
    return timedelta(seconds=config.limits().idempotency_lease_seconds)


def _keep() -> timedelta:
    return timedelta(hours=config.limits().idempotency_keep_hours)


def _in_use() -> IdempotencyKeyInUse:
    message = "A request with this idempotency key is being carried out. Please ask again in a moment."
    return IdempotencyKeyInUse(message, retry_after_seconds=RETRY_AFTER_SECONDS)
