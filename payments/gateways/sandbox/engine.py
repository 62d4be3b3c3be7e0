"""The gateway without a face: executes commands against the ledger and keeps its promises about keys.

Every method is synchronous and runs in the event loop's one thread, so nothing can come between a check and
the commit that relies on it. A face passes in how it words an outcome, because the wording is saved under
the key in the same transaction that moves the money.
"""

import dataclasses
import datetime as dt
import hmac
import secrets
from collections.abc import Callable, Mapping

from payments.gateways.sandbox import rules
from payments.gateways.sandbox.behaviours import CREATES
from payments.gateways.sandbox.clock import read_clock, stamp
from payments.gateways.sandbox.ledger import Ledger
from payments.gateways.sandbox.records import (
    Act,
    Answer,
    Cancelled,
    Cause,
    Change,
    Charge,
    Create,
    Declined,
    Done,
    Outcome,
    Refused,
    Settlement,
    Status,
)
from payments.gateways.sandbox.settings import Settings

Wording = Callable[[Outcome], Answer]
EventWording = Callable[[str, Change, dt.datetime], str]

KEY_CANCELLED = Refused("key_cancelled", "This idempotency key was cancelled; nothing will be executed with it.")
DUE_BATCH = 200
CHARGES_PER_LOOKUP = 100


@dataclasses.dataclass(frozen=True, slots=True)
class Opened:
    """The key is new: its request is now in flight and must be closed with `Engine.close`."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What identifies one request to the engine. One from before a reset (its epoch) executes nothing."""

    key: str
    fingerprint: str
    request_id: int
    epoch: int


class EmptiedError(Exception):
    """The ledger was emptied while this request was on its way: it must neither execute nor answer."""


class Engine:
    """Executes authorise, capture, charge, void, refund, look up and cancel by key."""

    def __init__(self, *, ledger: Ledger, settings: Settings, wordings: Mapping[str, EventWording]) -> None:
        self.ledger = ledger
        self.settings = settings
        self.epoch = 0
        self._wordings = wordings  # Of events, by dialect.
        self._in_flight: dict[str, str] = {}  # key -> fingerprint; a restart forgets them, as it should

    # Keys.

    def open(self, *, key: str, fingerprint: str) -> Opened | Answer | Refused:
        """Ask to use `key`: a new one is marked in flight, a finished one gives back its saved answer."""
        if self.ledger.has_tombstone(key):
            return KEY_CANCELLED
        running = self._in_flight.get(key)
        saved = None if running is not None else self.ledger.saved_answer(key, not_before=self._keys_live_since())
        known = running if saved is None else saved[0]
        if known is not None and not hmac.compare_digest(known, fingerprint):
            return Refused("idempotency_key_mismatch", "This idempotency key was used with another request.")
        if running is not None:
            return Refused("idempotency_key_in_use", "A request with this idempotency key is still running.")
        if saved is not None:
            return saved[2]
        self._in_flight[key] = fingerprint
        return Opened()

    def is_running(self, key: str) -> bool:
        """Tell whether a request with `key` is in flight."""
        return key in self._in_flight

    def close(self, *, key: str, epoch: int) -> None:
        """Take the in-flight mark off `key`."""
        if epoch == self.epoch:
            self._in_flight.pop(key, None)

    def _keys_live_since(self) -> str:
        return stamp(read_clock() - dt.timedelta(seconds=self.settings.key_ttl_seconds))

    # Commands.

    def execute(
        self, command: Create | Act, *, ticket: Ticket, word: Wording, instead: Answer | None = None
    ) -> Answer | Refused:
        """Execute `command` and save the answer under its key, in one transaction.

        `instead` is saved in place of the true answer: a gateway that charges and then fails with a 500
        replays the 500. A Refused is an answer that is not saved: the key was cancelled meanwhile, or the
        charge does not exist.

        :raises EmptiedError: the ledger was emptied since the request arrived.
        """
        self._check_epoch(ticket)
        with self.ledger.transaction():
            if self.ledger.has_tombstone(ticket.key):
                return KEY_CANCELLED
            now = read_clock()
            outcome = (
                self._create(command, ticket, now) if isinstance(command, Create) else self._act(command, ticket, now)
            )
            if isinstance(outcome, Refused) and outcome.code == "not_found":
                return outcome
            charge_id = command.charge_id if isinstance(command, Act) else None
            if not isinstance(outcome, Refused):
                charge_id = outcome.charge.id
            answer = instead or word(outcome)
            self.ledger.save_answer(
                answer, key=ticket.key, fingerprint=ticket.fingerprint, charge_id=charge_id, now=stamp(now)
            )
            if not isinstance(outcome, Refused):
                self.ledger.mark_executed(ticket.request_id, charge_id=outcome.charge.id)
            return answer

    def save_unexecuted(self, answer: Answer, *, ticket: Ticket) -> Answer | Refused:
        """Save `answer` under the key without executing anything: a 500 that is replayed, and no charge.

        :raises EmptiedError: the ledger was emptied since the request arrived.
        """
        self._check_epoch(ticket)
        with self.ledger.transaction():
            if self.ledger.has_tombstone(ticket.key):
                return KEY_CANCELLED
            self.ledger.save_answer(
                answer,
                key=ticket.key,
                fingerprint=ticket.fingerprint,
                charge_id=None,
                now=stamp(read_clock()),
            )
            return answer

    def look_up(self, charge_id: str) -> Charge | None:
        """Return the charge as it stands now, or None."""
        charge = self.ledger.charge(charge_id)
        if charge is None or not rules.is_overdue(charge, now=read_clock()):
            return charge
        with self.ledger.transaction():
            return self._expire_if_due(charge, now=read_clock())

    def look_up_reference(self, reference: str) -> list[Charge]:
        """Return the charges with `reference` as they stand now, newest first."""
        charges = self.ledger.charges_of_reference(reference, limit=CHARGES_PER_LOOKUP)
        return [found for charge in charges if (found := self.look_up(charge.id)) is not None]

    def cancel_key(self, key: str) -> Cancelled | Refused:
        """Undo whatever `key` charged, and bar the key for ever.

        Race-free against a request in flight: either that one has committed, and is undone here, or it will
        find the tombstone in its own transaction. Saved answers may have been forgotten; charges remember
        their key. Of several charges (a key that was forgotten and used again) the first undone is shown.
        """
        with self.ledger.transaction():
            now = read_clock()
            made = [self._expire_if_due(charge, now=now) for charge in self.ledger.charges_of_key(key)]
            saved = self.ledger.saved_answer(key, not_before="")
            if not made and saved is not None and saved[1] is not None:
                return Refused("invalid_state", "This key did not create a charge; cancel the charge's own key.")
            self.ledger.write_tombstone(key, now=stamp(now))
            if not made:
                return Cancelled("cancelled_before_execution", None)
            open_ones = [charge for charge in made if not charge.final]
            first, *_ = [self._undo(charge, key=key, now=now) for charge in open_ones or made]
            return first

    def settle(self, charge_id: str, settlement: Settlement, *, cause: Cause) -> Outcome:
        """Decide a pending charge from the hosted page or the control endpoint."""
        with self.ledger.transaction():
            now = read_clock()
            charge = self.ledger.charge(charge_id)
            if charge is None:
                return Refused("not_found", "No such charge.")
            charge = self._expire_if_due(charge, now=now)
            change = rules.settle(charge, settlement=settlement, now=now)
            if isinstance(change, Refused):
                return change
            return Done(self._commit(change, cause=cause, key=charge.idempotency_key, now=now))

    def run_timers(self) -> int:
        """Expire and settle what is due, at most a batch; return how many charges changed."""
        now = read_clock()
        due = self.ledger.charges_due(now=stamp(now), limit=DUE_BATCH)
        if not due:
            return 0
        with self.ledger.transaction():
            for charge in due:
                current = self._expire_if_due(charge, now=now)
                if current.status is Status.PENDING and current.settles_as is not None:
                    change = rules.settle(current, settlement=current.settles_as, now=now)
                    if isinstance(change, Change):
                        self._commit(change, cause=Cause.TIMER, key=charge.idempotency_key, now=now)
        return len(due)

    def empty(self) -> None:
        """Throw the books away; requests that are on their way will execute nothing."""
        self.epoch += 1
        self._in_flight.clear()
        self.ledger.empty()

    # Steps inside a transaction.

    def _create(self, command: Create, ticket: Ticket, now: dt.datetime) -> Outcome:
        change = rules.create(command, key=ticket.key, now=now)
        charge = self._commit(change, cause=Cause.REQUEST, key=ticket.key, now=now)
        return Done(charge) if charge.decline_code is None else Declined(charge, charge.decline_code)

    def _act(self, command: Act, ticket: Ticket, now: dt.datetime) -> Outcome:
        charge = self.ledger.charge(command.charge_id)
        if charge is None:
            return Refused("not_found", "No such charge.")
        charge = self._expire_if_due(charge, now=now)
        if command.decline_code is not None and command.operation not in CREATES:
            return Declined(charge, command.decline_code)
        change = rules.act(charge, command=command, now=now)
        if isinstance(change, Refused):
            return change
        charge = self._commit(change, cause=Cause.REQUEST, key=ticket.key, now=now)
        return Done(charge) if charge.decline_code is None else Declined(charge, charge.decline_code)

    def _undo(self, charge: Charge, *, key: str, now: dt.datetime) -> Cancelled:
        if charge.final:
            return Cancelled("already_final", charge)
        if charge.status is Status.CAPTURED:
            change, result = rules.refund(charge, amount_minor=None, now=now), "refunded"
        else:
            change, result = rules.void(charge, now=now), "voided"
        if isinstance(change, Refused):
            return Cancelled("already_final", charge)
        return Cancelled(result, self._commit(change, cause=Cause.CANCEL_BY_KEY, key=key, now=now))

    def _expire_if_due(self, charge: Charge, *, now: dt.datetime) -> Charge:
        if not rules.is_overdue(charge, now=now):
            return charge
        change = rules.expire(charge, now=now)
        if isinstance(change, Refused):
            return charge
        return self._commit(change, cause=Cause.TIMER, key=charge.idempotency_key, now=now)

    def _commit(self, change: Change, *, cause: Cause, key: str, now: dt.datetime) -> Charge:
        self.ledger.write_change(change, cause=cause, key=key)
        road = self.settings.webhook
        event_id = f"evt_{secrets.token_hex(12)}"
        payload = self._wordings[change.charge.dialect](event_id, change, now)
        if not payload:
            return change.charge  # The dialect sends no word of such a change.
        self.ledger.write_event(
            event_id=event_id,
            change=change,
            payload=payload,
            state="unsent" if road.url is None else "dropped" if road.drop else "waiting",
            now=stamp(now),
            due_at=stamp(now + dt.timedelta(seconds=road.delay_seconds)),
        )
        return change.charge

    def _check_epoch(self, ticket: Ticket) -> None:
        if ticket.epoch != self.epoch:
            raise EmptiedError
