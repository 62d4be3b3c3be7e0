"""What the sandbox gateway's answers prove, as pure functions: an HTTP answer in, an outcome out.

Each answer is read against what was asked. A charge that is not ours, amounts that do not add up, a status or code
that does not belong there: all of it proves nothing, and what proves nothing is a doubt.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
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
from payments.gateways import failures
from payments.gateways.protocol import ActRequest, ChargeRequest, Question
from payments.gateways.reading import LONGEST_ID, content, declined, doubt, is_address, is_amount, is_text, spelled
from payments.gateways.transport import Answer

_C = FailureCode
Act = Literal[Operation.CAPTURE, Operation.VOID, Operation.REFUND]

FAILURES = failures.load("sandbox")

# Refusals at the door: this request did nothing. What an earlier one with the same key did, they do not say.
_AT_THE_DOOR: Mapping[int, FailureCode] = MappingProxyType(
    {400: _C.INVALID_REQUEST, 401: _C.CONFIGURATION, 403: _C.CONFIGURATION, 404: _C.CONFIGURATION}
)
# Refusals that say themselves that there is an earlier request with the same key.
_KEY_DOUBTS: Mapping[tuple[int, str], FailureCode] = MappingProxyType(
    {
        (400, "idempotency_key_mismatch"): _C.KEY_MISMATCH,
        (409, "idempotency_key_in_use"): _C.KEY_IN_FLIGHT,
    }
)
_KEY_CANCELLED = (409, "key_cancelled")
_CARD_DECLINED = (402, "card_declined")
_WRONG_STATE = frozenset(
    {(409, "invalid_state"), (409, "refund_exceeds_captured"), (409, "capture_exceeds_authorized")}
)
# As what a charge is shown inside the decline of an act that was not done to it.
_UNTOUCHED: Mapping[Act, tuple[type[ChargeSeen], ...]] = MappingProxyType(
    {
        Operation.CAPTURE: (Authorized,),
        Operation.VOID: (Authorized, Pending),
        Operation.REFUND: (Captured,),
    }
)
_OK, _CREATED, _TOO_MANY = 200, 201, 429

# docs/sandbox.md: a look-up shows at most so many. A full page may not be all of them.
CHARGES_PER_PAGE = 100


def read_creation(answer: Answer, *, request: ChargeRequest) -> Outcome:
    """Read the answer to a charge or an authorisation."""
    answered, asked = content(answer), _asked_by(request)
    if answer.status == _CREATED:
        seen = _read_charge(answered, asked=asked)
        return seen if isinstance(seen, Captured | Authorized | Pending | InDoubt) else _contradiction(answer, seen)
    error, code = _error(answered)
    if (answer.status, code) == _CARD_DECLINED:
        seen = _read_charge(error.get("charge"), asked=asked)
        return seen if isinstance(seen, Declined | InDoubt) else _contradiction(answer, seen)
    return _read_refusal(answer, code=code, reference=None)


def read_act(answer: Answer, *, operation: Act, request: ActRequest) -> Outcome:
    """Read the answer to a capture, a void or a refund.

    We take and let go of whole charges only, so a capture's or void's amount has to be the charge's.
    """
    asked: dict[str, object] = {"id": request.charge_reference, "currency": request.currency}
    if operation is not Operation.REFUND:
        asked["amount_minor"] = request.amount_minor
    answered = content(answer)
    error, code = _error(answered)
    if answer.status == _OK:
        seen = _read_charge(answered, asked=asked)
        if isinstance(seen, InDoubt) or _is_done(operation, seen, charge=answered, request=request):
            return seen
        return _contradiction(answer, seen)
    if (answer.status, code) == _CARD_DECLINED:
        seen = _read_charge(error.get("charge"), asked=asked)
        if isinstance(seen, InDoubt):
            return seen
        if not isinstance(seen, _UNTOUCHED[operation]):
            return _contradiction(answer, seen)
        return declined(FAILURES, error.get("decline_code"), reference=request.charge_reference)
    if (answer.status, code) in _WRONG_STATE:
        return Declined(code=_C.ALREADY_DONE, gateway_code=code, reference=request.charge_reference)
    return _read_refusal(answer, code=code, reference=request.charge_reference)


def read_look_up(answer: Answer, *, question: Question) -> Outcome:
    """Read the answer to a look-up by our reference."""
    answered = content(answer)
    if answer.status != _OK:
        return _read_refused_question(answer, code=_error(answered)[1])
    shown = answered.get("data")
    if not isinstance(shown, list):
        return doubt(f"HTTP {answer.status} without a list of charges")
    if len(shown) >= CHARGES_PER_PAGE:
        return doubt(f"{len(shown)} charges fill the page, there may be more")
    charges: list[ChargeSeen] = []
    for charge in shown:
        seen = _read_charge(charge, asked=_asked_by(question))
        if isinstance(seen, InDoubt):
            return seen
        charges.append(seen)
    match charges:
        case []:
            return NotFound()
        case [only]:
            return only
        case _:
            return Several(charges=tuple(charges))


def read_cancel(answer: Answer, *, question: Question) -> Outcome:
    """Read the answer to a cancel by key."""
    answered = content(answer)
    if answer.status != _OK:
        code = _error(answered)[1]
        if (answer.status, code) in _WRONG_STATE:  # The key was a capture's, void's or refund's.
            return InDoubt(code=_C.KEY_MISMATCH, detail=f"HTTP {answer.status} {code}")
        return _read_refused_question(answer, code=code)
    result, charge = answered.get("result"), answered.get("charge", "none shown")
    if result == "cancelled_before_execution" and charge is None:
        return Undone(how=Undoing.BARRED, reference=None)
    seen = _read_charge(charge, asked=_asked_by(question))
    match result, seen:
        case _, InDoubt():
            return seen
        case ("voided", Undone(how=Undoing.VOIDED)) | ("refunded", Undone(how=Undoing.REFUNDED)):
            return seen
        case "already_final", _:
            return seen
        case _:
            return doubt(f"a key with the result {result!r} and {seen}")


def _is_done(operation: Act, seen: ChargeSeen, *, charge: Mapping[str, Any], request: ActRequest) -> bool:
    match operation, seen:
        case (Operation.CAPTURE, Captured()) | (Operation.VOID, Undone(how=Undoing.VOIDED)):
            return True
        case (Operation.REFUND, Captured() | Undone(how=Undoing.REFUNDED)):
            return bool(charge["amount_refunded_minor"] >= request.amount_minor)
        case _:
            return False


def _read_refusal(answer: Answer, *, code: str, reference: str | None) -> Outcome:
    refused = (answer.status, code)
    detail = f"HTTP {answer.status} {code}"
    if refused == _KEY_CANCELLED:
        return Undone(how=Undoing.BARRED, reference=None)
    if refused in _KEY_DOUBTS:
        return InDoubt(code=_KEY_DOUBTS[refused], detail=detail)
    if answer.status == _TOO_MANY and code:
        return NeverSent(code=_C.RATE_LIMITED, detail=detail)
    if answer.status in _AT_THE_DOOR and code:
        return Declined(code=_AT_THE_DOOR[answer.status], gateway_code=code, reference=reference)
    return doubt(detail)


def _read_refused_question(answer: Answer, *, code: str) -> Outcome:
    detail = f"HTTP {answer.status} {code}"
    if answer.status == _TOO_MANY and code:
        return NeverSent(code=_C.RATE_LIMITED, detail=detail)
    # A question that was not let in says nothing about the charge, so nothing here is a decline.
    return InDoubt(code=_AT_THE_DOOR.get(answer.status, _C.GATEWAY_ERROR) if code else _C.GATEWAY_ERROR, detail=detail)


def _read_charge(charge: object, *, asked: Mapping[str, object]) -> ChargeSeen | InDoubt:
    """Tell as what a charge is seen, if it is the one that was `asked` about."""
    if not isinstance(charge, dict):
        return doubt(f"a {type(charge).__name__} where a charge belongs")
    reference = charge.get("id")
    if not is_text(reference, longest=LONGEST_ID):
        return doubt(f"a charge with the id {reference!r}")
    said = {name: charge.get(name) for name in asked}
    if said != asked:
        return doubt(f"the charge {reference} is another one: {said}")
    return _read_status(charge, reference=reference)


def _read_status(charge: Mapping[str, Any], *, reference: str) -> ChargeSeen | InDoubt:
    status = charge.get("status")
    names = ("amount_minor", "amount_captured_minor", "amount_refunded_minor")
    amount, taken, returned = (charge.get(name) for name in names)
    if not (is_amount(amount) and is_amount(taken) and is_amount(returned)):
        return doubt(f"the charge {reference} is {status!r} with {[amount, taken, returned]}")
    match status:
        case "captured" if taken == amount and returned < amount:
            return Captured(reference=reference, refunded_minor=returned)
        case "refunded" if taken == returned == amount:
            return Undone(how=Undoing.REFUNDED, reference=reference)
        case "pending" | "authorized" | "declined" | "voided" | "expired" if taken == returned == 0:
            return _read_untaken(charge, status=status, reference=reference)
        case _:
            return doubt(f"the charge {reference} is {status!r} with {[amount, taken, returned]}")


def _read_untaken(
    charge: Mapping[str, Any],
    *,
    status: Literal["pending", "authorized", "declined", "voided", "expired"],
    reference: str,
) -> ChargeSeen | InDoubt:
    match status:
        case "authorized":
            return Authorized(reference=reference)
        case "declined":
            return declined(FAILURES, charge.get("decline_code"), reference=reference)
        case "voided":
            return Undone(how=Undoing.VOIDED, reference=reference)
        case "expired":
            return Undone(how=Undoing.EXPIRED, reference=reference)
        case "pending":
            address = charge.get("redirect_url")
            if address is None or is_address(address):
                return Pending(reference=reference, redirect_url=address)
            return doubt(f"the charge {reference} leads to {address!r}")


def _asked_by(request: ChargeRequest | Question) -> dict[str, object]:
    return {"reference": request.reference, "amount_minor": request.amount_minor, "currency": request.currency}


def _error(answered: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    error = answered.get("error")
    if not isinstance(error, dict):
        return {}, ""
    return error, spelled(error.get("code"))


def _contradiction(answer: Answer, seen: ChargeSeen) -> InDoubt:
    return doubt(f"HTTP {answer.status} with {seen}")
