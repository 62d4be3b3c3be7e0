"""What follows from what was seen of a compensation: the pure counterpart of reduce.py, for money that goes back."""

from dataclasses import dataclass

from payments.domain.compensations import CompensationKind, CompensationReason, CompensationState, Owed
from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Authorized,
    Captured,
    ChargeSeen,
    Declined,
    InDoubt,
    NeverSent,
    NotFound,
    Outcome,
    Pending,
    Several,
    Undoing,
    Undone,
)


@dataclass(frozen=True, slots=True)
class Situation:
    """A compensation under its order's lock."""

    kind: CompensationKind
    state: CompensationState
    reference: str  # Of the charge; empty when only the key is known.
    amount_minor: int
    may_repeat: bool  # The gateway still knows the key, or an earlier call can no longer be on its way.
    is_first: bool  # Nothing that moves money was sent under its key before.
    is_absence_proven: bool
    may_still_land: bool  # A charge that was sent may be executed yet, although what is there was let go.


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing is left to give back here; what is still owed has a compensation of its own."""

    why: str


@dataclass(frozen=True, slots=True)
class CallAgain:
    """It was provably not done, or doing it under the same key does it once: call again."""


@dataclass(frozen=True, slots=True)
class TryLater:
    """Nothing was sent: owed as before."""

    code: FailureCode


@dataclass(frozen=True, slots=True)
class AskLater:
    """Nobody knows: ask, a while later."""

    code: FailureCode


Step = Finish | CallAgain | TryLater | AskLater


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the compensation, and what is owed instead."""

    step: Step
    owed: tuple[Owed, ...] = ()


def reduce(outcome: Outcome, s: Situation) -> Verdict:
    """Decide what follows from `outcome`, of a void, a refund, a cancelled key, or a look-up."""
    match outcome:
        case Several(charges=charges):
            return _several(charges, s)
        case Captured() | Authorized() | Pending() | Undone():
            return _seen(outcome, s)
        case Declined(code=code) if s.state is CompensationState.CALLING:
            return Verdict(AskLater(code))  # It refused; what the charge is now, a look-up tells.
        case Declined(reference=reference) if s.kind is CompensationKind.VOID and s.reference in {"", reference}:
            return Verdict(Finish("declined"))  # Looked up: the charge never took any money.
        case Declined():
            return Verdict(AskLater(FailureCode.KEY_MISMATCH))
        case NotFound() if s.is_absence_proven and not s.reference:  # A charge that was seen is not proven away.
            return Verdict(Finish("nothing_found"))
        case NotFound():
            return Verdict(AskLater(FailureCode.GATEWAY_ERROR))
        case NeverSent(code=code) if s.state is CompensationState.CALLING and s.is_first:
            return Verdict(TryLater(code))  # A repeat that was not sent says nothing of the first try.
        case NeverSent(code=code) | InDoubt(code=code):
            return Verdict(AskLater(code))


def _several(charges: tuple[ChargeSeen, ...], s: Situation) -> Verdict:
    if s.reference:
        ours = [seen for seen in charges if seen.reference == s.reference]
        return reduce(ours[0], s) if ours else Verdict(AskLater(FailureCode.GATEWAY_ERROR))
    # Known by its key alone, and there is more than one: each gets a compensation of its own.
    owed = tuple(_instead(seen) for seen in charges if isinstance(seen, Captured | Authorized | Pending))
    return Verdict(Finish("several_found"), owed)


def _instead(seen: Captured | Authorized | Pending) -> Owed:
    if isinstance(seen, Captured):
        return Owed(CompensationKind.REFUND, CompensationReason.CAPTURED_MEANWHILE, seen.reference)
    return Owed(CompensationKind.VOID, CompensationReason.DOUBT_AFTER_THE_END, seen.reference)


def _seen(seen: Captured | Authorized | Pending | Undone, s: Situation) -> Verdict:
    if s.reference and seen.reference != s.reference:
        # Another charge, or a key that is barred: neither says anything of this one.
        return Verdict(AskLater(FailureCode.KEY_MISMATCH))
    if isinstance(seen, Undone) and s.may_still_land and seen.how is not Undoing.REFUNDED:
        return Verdict(AskLater(FailureCode.GATEWAY_TIMEOUT))
    if isinstance(seen, Undone):
        return Verdict(Finish(seen.how))
    if not s.reference:
        return Verdict(Finish("found_by_its_key"), (_instead(seen),))
    if isinstance(seen, Captured) and s.kind is CompensationKind.VOID:
        return Verdict(Finish("captured_meanwhile"), (_instead(seen),))
    if isinstance(seen, Captured) and seen.refunded_minor >= s.amount_minor:
        return Verdict(Finish("refunded"))
    if s.state is CompensationState.CALLING:
        return Verdict(AskLater(FailureCode.GATEWAY_ERROR))  # Answered, and yet not done.
    return Verdict(CallAgain()) if s.may_repeat else Verdict(AskLater(FailureCode.GATEWAY_ERROR))
