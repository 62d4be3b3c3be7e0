"""What follows from what was seen: the one place that decides, for every answer in every state.

A charge's own answer, a worker's that woke up after its lease, a look-up, a webhook: all are observations, and all are
judged here, under the order's lock, by the situation that the lock protects. Pure: no clock, no rows.

Only money that moved acts whoever brings it. Every other observation counts only from the latest claim, because an
older one may have been overtaken by what happened since.
"""

from dataclasses import dataclass, replace

from payments.domain import late
from payments.domain.clock import Ruling
from payments.domain.compensations import CompensationKind, CompensationReason, Owed
from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    BEGINS_CHARGE,
    Authorized,
    Captured,
    ChargeSeen,
    Declined,
    InDoubt,
    NeverSent,
    NotFound,
    Operation,
    Outcome,
    Pending,
    Several,
    Undoing,
    Undone,
)
from payments.domain.states import ASKED_ABOUT, SWEEPABLE, TERMINAL, AttemptState, OrderStatus


@dataclass(frozen=True, slots=True)
class Situation:
    """What the order's lock protects, and the clock that was read after it."""

    state: AttemptState
    order_status: OrderStatus
    is_stock_held: bool
    window: Ruling  # Of the clock guard: whether a charge may begin.
    grace: Ruling  # Whether a capture of what was authorised in time may begin.
    is_in_time: bool  # Grace and late allowance included: money may still be accepted.
    operation: Operation  # Of the call that was answered.
    is_current: bool  # The call was made under the latest claim.
    known_reference: str  # The gateway's id of the charge, as far as the attempt knows it.
    doubt_code: str
    may_replay: bool  # Nothing is held, and the key is still known: repeating the request charges at most once.
    may_cancel_key: bool
    is_cancelling: bool  # A cancel of the key is written down: whatever the key did may be undone at any moment.
    is_absence_proven: bool  # Nothing was found often enough, and so late that nothing can still be on its way.

    @property
    def is_window_open(self) -> bool:
        """A charge may begin; otherwise it is over, or the clocks cannot tell."""
        return self.window is Ruling.CHARGE

    @property
    def is_window_over(self) -> bool:
        """Nothing may begin any more, proven."""
        return self.window is Ruling.EXPIRE


@dataclass(frozen=True, slots=True)
class Succeed:
    """The order is paid with this charge."""

    reference: str


@dataclass(frozen=True, slots=True)
class BeginCapture:
    """Take what is held."""

    reference: str


@dataclass(frozen=True, slots=True)
class BeginReplay:
    """Send the same request under the same key again."""


@dataclass(frozen=True, slots=True)
class BeginCancel:
    """Undo or bar whatever the key did or will do."""


@dataclass(frozen=True, slots=True)
class Fail:
    """Provably no money stays with us; the customer may try again if the code allows it."""

    code: FailureCode
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Expire:
    """The window closed first, and provably no money stays with us."""

    reference: str = ""


@dataclass(frozen=True, slots=True)
class Confirm:
    """The gateway will tell later."""

    reference: str
    redirect_url: str


@dataclass(frozen=True, slots=True)
class Requeue:
    """Nothing was sent: the same request may go out again."""

    code: FailureCode


@dataclass(frozen=True, slots=True)
class Doubt:
    """Nobody knows: ask. Under `reference`, where one is known."""

    code: FailureCode
    reference: str = ""


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Nothing new: ask later, or give it to a person when it took too long."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The attempt stays as it is."""


Step = Succeed | BeginCapture | BeginReplay | BeginCancel | Fail | Expire | Confirm | Requeue | Doubt | AskAgain | Leave


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the attempt, and what goes back."""

    step: Step
    owed: tuple[Owed, ...] = ()
    already_returned: Owed | None = None  # The gateway gave it back by itself: written down, and nothing to do.


_LEAVE = Verdict(Leave())


def reduce(outcome: Outcome, situation: Situation) -> Verdict:
    """Decide what follows from `outcome`."""
    match outcome:
        case Several(charges=charges):
            return _several(charges, situation)
        case Captured(reference=reference):
            return _captured(reference, situation)
        case Authorized(reference=reference):
            return _standing(reference, situation) or _authorized(reference, situation)
        case Pending(reference=reference):
            return _standing(reference, situation) or _pending(outcome, situation)
        case InDoubt(code=code, reference=reference):
            return _in_doubt(code, reference, situation)
        case Declined() | Undone() | NotFound() | NeverSent():
            return _no_money(outcome, situation)


def _no_money(outcome: Declined | Undone | NotFound | NeverSent, s: Situation) -> Verdict:
    if _is_payment_refunded(outcome, s):
        return Verdict(Leave(), already_returned=_returned(s.known_reference))
    if not s.is_current or _is_settled(s):
        return _LEAVE
    match outcome:
        case Declined():
            return _declined(outcome, s)
        case Undone(how=how, reference=reference):
            return _undone(how, reference or "", s)
        case NotFound():
            return _not_found(s)
        case NeverSent(code=code):
            return _never_sent(code, s)


def _is_payment_refunded(outcome: Outcome, s: Situation) -> bool:
    # By a cancel of ours that was on its way when the money was seen elsewhere, or by hand at the gateway.
    if not isinstance(outcome, Undone) or outcome.how is not Undoing.REFUNDED:
        return False
    return s.state is AttemptState.SUCCEEDED and outcome.reference == s.known_reference


def _is_settled(s: Situation) -> bool:
    # A review is settled by a person, or by money that came in time.
    return s.state in TERMINAL or s.state is AttemptState.NEEDS_REVIEW or s.state in SWEEPABLE


def _ended(code: FailureCode, s: Situation, *, reference: str = "") -> Fail | Expire:
    return Expire(reference) if s.is_window_over else Fail(code, reference)


def _captured(reference: str, s: Situation) -> Verdict:
    if s.state is AttemptState.SUCCEEDED and reference == s.known_reference:
        return _LEAVE
    reason = late.judge(
        late.Success(state=s.state, order_status=s.order_status, is_stock_held=s.is_stock_held, is_in_time=s.is_in_time)
    )
    if s.state is AttemptState.OPEN:
        reason = CompensationReason.SECOND_CHARGE  # Nobody asked for this one.
    if reason is None and s.is_cancelling and s.state is not AttemptState.NEEDS_REVIEW:
        reason = CompensationReason.TOO_LATE  # Our cancel may refund it after we had called it paid.
    if reason is None:
        return Verdict(Succeed(reference))
    if s.state is AttemptState.NEEDS_REVIEW:
        return _LEAVE  # The review is open, and a person sees this observation.
    owed = (Owed(CompensationKind.REFUND, reason, reference),)
    is_unasked = s.state is AttemptState.OPEN or (s.state is AttemptState.QUEUED and not s.is_window_over)
    if s.state in TERMINAL or is_unasked:
        return Verdict(Leave(), owed)
    return Verdict(_ended(FailureCode.GIVEN_BACK, s, reference=reference), owed)


def _standing(reference: str, s: Situation) -> Verdict | None:
    """Judge money that is held or pending where nothing may be; None when the attempt still runs."""
    if s.state is AttemptState.SUCCEEDED and reference == s.known_reference:
        return _LEAVE
    if s.state in TERMINAL or s.state is AttemptState.OPEN:
        was_paid = s.state is AttemptState.SUCCEEDED
        reason = CompensationReason.SECOND_CHARGE if was_paid else CompensationReason.TOO_LATE
        return Verdict(Leave(), (Owed(CompensationKind.VOID, reason, reference),))
    if not s.is_current or s.state in {AttemptState.NEEDS_REVIEW, AttemptState.QUEUED}:
        return _LEAVE  # The latest claim, or a person, sees it too.
    return None


def _authorized(reference: str, s: Situation) -> Verdict:
    if s.operation is Operation.CAPTURE:
        return _doubt(FailureCode.ALREADY_DONE, s)
    void = CompensationKind.VOID
    if s.order_status is not OrderStatus.UNDER_PAYING:
        closed = (Owed(void, CompensationReason.ORDER_CLOSED, reference),)
        return Verdict(_ended(FailureCode.GIVEN_BACK, s, reference=reference), closed)
    if not s.is_stock_held:
        gone = (Owed(void, CompensationReason.STOCK_GONE, reference),)
        return Verdict(_ended(FailureCode.GIVEN_BACK, s, reference=reference), gone)
    if s.is_cancelling:
        undone = (Owed(void, CompensationReason.TOO_LATE, reference),)
        return Verdict(_ended(FailureCode.GIVEN_BACK, s, reference=reference), undone)
    if s.grace in {Ruling.WAIT, Ruling.HOLD}:
        return _doubt(FailureCode.CLOCKS_DISAGREE, s)  # The money is held, and is neither taken nor let go.
    if s.grace is Ruling.EXPIRE:
        return Verdict(Expire(reference), (Owed(void, CompensationReason.TOO_LATE, reference),))
    return Verdict(BeginCapture(reference))


def _pending(seen: Pending, s: Situation) -> Verdict:
    reference = seen.reference
    if s.is_cancelling:
        undone = (Owed(CompensationKind.VOID, CompensationReason.TOO_LATE, reference),)
        return Verdict(_ended(FailureCode.GIVEN_BACK, s, reference=reference), undone)
    if s.is_window_over:
        late_void = Owed(CompensationKind.VOID, CompensationReason.TOO_LATE, reference)
        return Verdict(Expire(reference), (late_void,))
    if seen.is_approved and s.may_replay and s.is_window_open and s.operation not in BEGINS_CHARGE:
        return Verdict(BeginReplay())
    if s.state is AttemptState.CONFIRMING:
        return Verdict(AskAgain())
    return Verdict(Confirm(reference, seen.redirect_url or ""))


def _in_doubt(code: FailureCode, reference: str, s: Situation) -> Verdict:
    moves_money = s.operation in BEGINS_CHARGE or s.operation is Operation.CAPTURE
    if s.state in TERMINAL and s.state is not AttemptState.SUCCEEDED and moves_money:
        return Verdict(
            Leave(), (Owed(CompensationKind.VOID, CompensationReason.DOUBT_AFTER_THE_END, s.known_reference),)
        )
    if not s.is_current or _is_settled(s):
        return _LEAVE
    return _doubt(code, s, reference=reference)


def _doubt(code: FailureCode, s: Situation, *, reference: str = "") -> Verdict:
    return Verdict(Doubt(code, reference) if s.state is AttemptState.CHARGING else AskAgain())


# A refusal of the request itself says nothing of an earlier request under the same key.
_REFUSES_THE_REQUEST = frozenset({FailureCode.INVALID_REQUEST, FailureCode.CONFIGURATION})


def _declined(outcome: Declined, s: Situation) -> Verdict:
    reference = outcome.reference or ""
    if outcome.code is FailureCode.ALREADY_DONE:
        return _doubt(outcome.code, s)
    if outcome.code in _REFUSES_THE_REQUEST and s.state is not AttemptState.CHARGING:
        return Verdict(AskAgain())
    if s.operation is Operation.CAPTURE:
        held = Owed(CompensationKind.VOID, CompensationReason.CAPTURE_DECLINED, s.known_reference)
        return Verdict(Fail(outcome.code, s.known_reference), (held,))
    return Verdict(Fail(outcome.code, reference))


def _returned(reference: str) -> Owed:
    return Owed(CompensationKind.REFUND, CompensationReason.TOO_LATE, reference)


def _undone(how: Undoing, reference: str, s: Situation) -> Verdict:
    if how is Undoing.BARRED and s.operation is Operation.CAPTURE:
        return _doubt(FailureCode.KEY_MISMATCH, s)  # Of the capture's key this says nothing of the charge.
    code = FailureCode.CONFIRMATION_MISSING if s.state is AttemptState.CONFIRMING else FailureCode.GATEWAY_ERROR
    if s.doubt_code:
        code = FailureCode(s.doubt_code)
    returned, reference = None, reference or s.known_reference
    if how is Undoing.REFUNDED and reference:
        returned = _returned(reference)
        code = FailureCode.GIVEN_BACK
    return Verdict(_ended(code, s, reference=reference), already_returned=returned)


def _not_found(s: Situation) -> Verdict:
    if s.state is AttemptState.CHARGING:
        return _LEAVE  # Its call still runs, and its lease with it.
    if s.may_replay and s.is_window_open and not s.known_reference:
        return Verdict(BeginReplay())
    if not s.is_window_over and s.state is AttemptState.CONFIRMING:
        return Verdict(AskAgain())
    if s.may_cancel_key:
        return Verdict(BeginCancel())
    # A charge that was seen is not proven away: an account that does not see it would say the same.
    is_known = bool(s.known_reference) and s.state is AttemptState.IN_DOUBT
    if s.is_absence_proven and not is_known:
        return Verdict(_ended(FailureCode(s.doubt_code or FailureCode.CONFIRMATION_MISSING), s))
    return Verdict(AskAgain())


def _never_sent(code: FailureCode, s: Situation) -> Verdict:
    if s.state is AttemptState.CHARGING and s.operation in BEGINS_CHARGE:
        return Verdict(Requeue(code))
    return _doubt(code, s)


# Of several charges under one attempt the one that moved the most leads; whatever else stands goes back.
_LEADS = (Captured, Authorized, Pending, Undone, Declined)


def _several(charges: tuple[ChargeSeen, ...], s: Situation) -> Verdict:
    first = min(charges, key=lambda seen: (_LEADS.index(type(seen)), seen.reference != s.known_reference))
    verdict = reduce(first, s)
    if isinstance(verdict.step, Leave) and not s.is_current and s.state in ASKED_ABOUT:
        return verdict  # The latest claim decides which of them stands.
    kept = {first.reference, s.known_reference if s.state is AttemptState.SUCCEEDED else None}
    others = tuple(
        Owed(
            CompensationKind.REFUND if isinstance(seen, Captured) else CompensationKind.VOID,
            CompensationReason.SECOND_CHARGE,
            seen.reference,
        )
        for seen in charges
        if isinstance(seen, Captured | Authorized | Pending) and seen.reference not in kept
    )
    return replace(verdict, owed=verdict.owed + others)
