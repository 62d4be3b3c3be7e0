"""What Square's answers about payments and refunds prove, as pure functions. Those about its page are in pages.py.

A payment counts as ours only if everything that was asked of it is so: our reference (or its order), place, amount
and currency. What does not fit, or does not add up, proves nothing, and what proves nothing is a doubt.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeGuard

from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Authorized,
    Captured,
    ChargeSeen,
    Declined,
    InDoubt,
    NeverSent,
    Outcome,
    Pending,
    Undoing,
    Undone,
)
from payments.gateways import failures
from payments.gateways.protocol import ChargeRequest, Question
from payments.gateways.reading import content, doubt, inner, is_amount, is_text, spelled
from payments.gateways.transport import Answer

_C = FailureCode
Asked = Mapping[str, object]  # Fields of a payment, or an order, as they have to be.
Named = dict[str, Any]

FAILURES = failures.load("square")

OK, NOT_FOUND = 200, 404
_TOO_MANY = 429
_REFUSALS = range(400, 500)
_SERVER_CATEGORY = "API_ERROR"
# Refusals that say nothing of what an earlier request with the same key did, or whether this one was stopped in time.
_DOUBTS = frozenset({_C.KEY_MISMATCH, _C.KEY_IN_FLIGHT, _C.GATEWAY_TIMEOUT, _C.GATEWAY_ERROR})
_DOUBTFUL_STATUSES: Mapping[int, FailureCode] = MappingProxyType({408: _C.GATEWAY_TIMEOUT, 409: _C.KEY_IN_FLIGHT})
_GENERIC = "GENERIC_DECLINE"  # Comes along with codes that say more.
_RATE_LIMITED = "RATE_LIMITED"
_ID = re.compile(r"[A-Za-z0-9_\-]+")
_LONGEST_ID, _LONGEST_REFUND_ID = 192, 255  # So long its description lets them be.
MOST_PAYMENTS = 20  # Of one order, or under one reference, each of which is asked for.
_LONGEST_CURSOR = 2048  # Of ours: it has to fit into the address of the next question.


def is_id(value: object, *, longest: int = _LONGEST_ID) -> TypeGuard[str]:
    """Tell whether `value` is an id as Square makes them."""
    return isinstance(value, str) and len(value) <= longest and _ID.fullmatch(value) is not None


def shown(value: object) -> str:
    """Return what Square said, for a log; of what is no text where one belongs, its type alone."""
    return spelled(value) if isinstance(value, str) else type(value).__name__


def money(*, amount_minor: int, currency: str) -> dict[str, Any]:
    """Word an amount as Square does: in the smallest unit of the currency, which for JPY is the yen."""
    return {"amount": amount_minor, "currency": currency}


def asked_by(request: ChargeRequest | Question, *, location_id: str) -> dict[str, object]:
    """Say what a payment that `request` made, or asks about, has to be."""
    amount = money(amount_minor=request.amount_minor, currency=request.currency)
    return {
        "reference_id": request.reference,
        "location_id": location_id,
        "amount_money": amount,
        "total_money": amount,  # Nothing was added: neither a tip nor a tax.
    }


def read_creation(answer: Answer, *, asked: Asked) -> Outcome:
    """Read the answer to a payment that was asked for, with a token."""
    answered = content(answer)
    payment, errors = answered.get("payment"), _errors(answered)
    if answer.status != OK:
        return _read_refused_creation(answer, payment=payment, asked=asked)
    seen = read_payment(payment, asked=asked)
    if isinstance(seen, Declined):
        return _declined(errors or _errors(inner(payment, "card_details")), reference=seen.reference)
    if isinstance(seen, InDoubt):
        return seen
    if errors or isinstance(seen, Undone) or refund_ids(payment) != ():
        return doubt(f"HTTP 200 {errors} with {seen}", reference=seen.reference or "")
    return seen


def read_act(answer: Answer, *, asked: Asked) -> Outcome:
    """Read the answer to a capture or a void: the payment as it is now, or a refusal."""
    if answer.status != OK:
        return read_refusal(answer, reference=None)
    answered = content(answer)
    seen = read_payment(answered.get("payment"), asked=asked)
    return doubt(f"HTTP 200 {_errors(answered)} with {seen}") if _errors(answered) else seen


def read_payment(payment: object, *, asked: Asked, reference: str = "") -> ChargeSeen | InDoubt:
    """Tell as what a payment is seen, if it is the one that was `asked` about.

    :param reference: what it is called by, where that is not its own id. Refunds are not read here: of a payment
        that was completed, each has to be asked about (`refund_ids`).
    """
    if not isinstance(payment, dict) or not is_id(payment.get("id")):
        return doubt(f"no payment: {type(payment).__name__}")
    payment_id: str = payment["id"]
    said = {name: payment.get(name) for name in asked}
    if said != dict(asked):
        others = [name for name in asked if said[name] != asked[name]]
        return doubt(f"the payment {payment_id} is another one, by its {others}")
    return _read_status(payment, reference=reference or payment_id)


def _read_status(payment: Named, *, reference: str) -> ChargeSeen | InDoubt:
    status = payment.get("status")
    returned_by = refund_ids(payment)
    if isinstance(returned_by, InDoubt):
        return replace(returned_by, reference=reference)
    amount, currency = _amount(payment.get("total_money"))
    returned, returned_currency = _amount(payment.get("refunded_money", money(amount_minor=0, currency=currency)))
    approved, _ = _amount(payment.get("approved_money", payment.get("total_money")))
    if amount is None or returned is None or returned_currency != currency or returned > amount:
        return doubt(f"the payment {reference} is {shown(status)}, and its amounts do not add up", reference=reference)
    match status:
        case "COMPLETED":
            if returned and not returned_by:
                return doubt(f"the payment {reference} was refunded, and shows no refund", reference=reference)
            return Captured(reference=reference)
        case "APPROVED" if approved == amount and not returned:
            return Authorized(reference=reference)
        case "PENDING" if not returned:
            return Pending(reference=reference, redirect_url=None)
        case "CANCELED" if not returned:
            return Undone(how=_how_it_ended(payment), reference=reference)
        case "FAILED" if not returned:
            return _declined(_errors(inner(payment, "card_details")), reference=reference)
        case _:
            return doubt(f"the payment {reference} is {shown(status)}", reference=reference)


def _how_it_ended(payment: Named) -> Undoing:
    voided_at = _time(inner(payment, "card_details", "card_payment_timeline").get("voided_at"))
    until = _time(payment.get("delayed_until"))
    is_over = voided_at is not None and until is not None and voided_at >= until
    return Undoing.EXPIRED if is_over else Undoing.VOIDED


def refund_ids(payment: object) -> tuple[str, ...] | InDoubt:
    """Return the ids of a payment's refunds, of whatever status; a doubt if one of them cannot be asked about."""
    listed = payment.get("refund_ids") if isinstance(payment, dict) else None
    if listed is None:
        return ()
    if not isinstance(listed, list):
        return doubt(f"refunds that are {shown(listed)}")
    found = tuple(refund_id for refund_id in listed if is_id(refund_id, longest=_LONGEST_REFUND_ID))
    # One that is left out, or counted twice, would make another sum.
    return found if len(set(found)) == len(listed) else doubt(f"of {len(listed)} refunds not each has an id of its own")


def add_refunds(seen: Captured, *, payment: Named, returned_minor: int) -> ChargeSeen | InDoubt:
    """Say what of a completed payment went back, `returned_minor` being what its completed refunds add up to."""
    amount, _ = _amount(payment.get("total_money"))
    if amount is None or returned_minor > amount:
        return doubt(f"of the payment {seen.reference} more than all was refunded", reference=seen.reference)
    if returned_minor == amount:
        return Undone(how=Undoing.REFUNDED, reference=seen.reference)
    return Captured(reference=seen.reference, refunded_minor=returned_minor)


def read_refund(answer: Answer, *, asked: Asked) -> int | InDoubt:
    """Read the answer to a question about one refund: what it gave back, in minor units.

    One that is pending is a doubt: called nothing, it would be asked for again, under a key whose life nobody knows.
    """
    refund = content(answer).get("refund")
    if answer.status != OK:
        return as_doubt(read_refusal(answer, reference=None))
    if not isinstance(refund, dict) or {name: refund.get(name) for name in asked} != dict(asked):
        return doubt("no refund of the payment")
    amount, _ = _amount(refund.get("amount_money"))
    match refund.get("status"):
        case "COMPLETED" if amount is not None:
            return amount
        case "REJECTED" | "FAILED":
            return 0
        case status:
            return doubt(f"a refund that is {shown(status)}")


def read_refund_begun(answer: Answer, *, asked: Asked, reference: str) -> Declined | NeverSent | InDoubt | str:
    """Read the answer to a refund: a refusal, a doubt, or its id when Square has it in hand. That proves no more."""
    answered = content(answer)
    refund, errors = answered.get("refund"), _errors(answered)
    if answer.status != OK:
        return read_refusal(answer, reference=reference)
    if not isinstance(refund, dict) or {name: refund.get(name) for name in asked} != dict(asked):
        return doubt("HTTP 200 without the refund that was asked for", reference=reference)
    refund_id: object = refund.get("id")
    match refund.get("status"):
        case "REJECTED" | "FAILED":
            return _declined(errors, reference=reference)
        case "PENDING" | "COMPLETED" if not errors and is_id(refund_id, longest=_LONGEST_REFUND_ID):
            return refund_id
        case status:
            return doubt(f"HTTP 200 {errors} with a refund that is {shown(status)}", reference=reference)


def read_page(answer: Answer, *, of: str) -> tuple[Sequence[object], str] | InDoubt | NeverSent:
    """Read one page of a list: what is on it, and the cursor of the next one, empty on the last."""
    if answer.status != OK:
        refused = read_refusal(answer, reference=None)
        return refused if isinstance(refused, NeverSent) else as_doubt(refused)
    answered = content(answer)
    items, cursor = answered.get(of, []), answered.get("cursor", "")
    if not answered and answer.body.strip() != b"{}":
        return doubt("HTTP 200 with something that is no list")
    if _errors(answered) or not isinstance(items, list) or not _is_cursor(cursor):
        return doubt("HTTP 200 with something that is no list")
    return items, cursor


def _is_cursor(value: object) -> TypeGuard[str]:
    return value == "" or is_text(value, longest=_LONGEST_CURSOR)


def read_refusal(answer: Answer, *, reference: str | None) -> Declined | NeverSent | InDoubt:
    """Read an answer that is no success: what was asked was not done, or nobody knows."""
    errors = _errors(content(answer))
    codes = [code for _, code in errors]
    detail = f"HTTP {answer.status} {codes}"
    if answer.status == _TOO_MANY and set(codes) == {_RATE_LIMITED}:  # Beside another word it proves nothing.
        return NeverSent(code=_C.RATE_LIMITED, detail=detail)
    if answer.status in _DOUBTFUL_STATUSES:
        return doubt(detail, code=_DOUBTFUL_STATUSES[answer.status], reference=reference or "")
    is_theirs = any(category == _SERVER_CATEGORY for category, _ in errors)
    is_readable = bool(codes) and all(codes)
    if answer.status == _TOO_MANY or answer.status not in _REFUSALS or not is_readable or is_theirs:
        return doubt(detail, reference=reference or "")
    for code in codes:
        if FAILURES.codes.get(code) in _DOUBTS:
            return doubt(detail, code=FAILURES.codes[code], reference=reference or "")
    return _declined(errors, reference=reference)


def as_doubt(outcome: Outcome) -> InDoubt:
    """Return what a question that failed says of the charge: nothing, under the code that it failed with."""
    match outcome:
        case InDoubt():
            return outcome
        case Declined(code=code, gateway_code=gateway_code):
            return doubt(f"the question was refused: {gateway_code}", code=code)
        case NeverSent(code=code, detail=detail):
            return doubt(detail, code=code)
        case _:
            return doubt(f"{outcome} instead of an answer")


def _read_refused_creation(answer: Answer, *, payment: object, asked: Asked) -> Outcome:
    if payment is None:
        return read_refusal(answer, reference=None)
    seen = read_payment(payment, asked=asked)
    if not isinstance(seen, Declined):
        # Whatever the errors say: a payment that has not failed may have our money.
        return doubt(f"HTTP {answer.status} with {seen}", reference=getattr(seen, "reference", None) or "")
    refused = read_refusal(answer, reference=seen.reference)
    # One that failed was let in, so its request was not turned away at the door.
    is_strange = isinstance(refused, NeverSent)
    return replace(as_doubt(refused), reference=seen.reference or "") if is_strange else refused


def _declined(errors: Sequence[tuple[str, str]], *, reference: str | None) -> Declined:
    codes = [code for _, code in errors if code] or [_GENERIC]
    telling = next((code for code in codes if code != _GENERIC), _GENERIC)
    return Declined(code=FAILURES.meaning(telling), gateway_code=telling, reference=reference)


def _errors(answered: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return category and code of each error. What cannot be read of one is empty, and the error still one."""
    said = answered.get("errors")
    if said is None:
        return []
    return [(_word(error, "category"), _word(error, "code")) for error in (said if isinstance(said, list) else [said])]


def _word(error: object, name: str) -> str:
    said = error.get(name) if isinstance(error, dict) else None
    return spelled(said) if isinstance(said, str) else ""


def _amount(value: object) -> tuple[int | None, str]:
    amount, currency = inner({"money": value}, "money").get("amount"), inner({"money": value}, "money").get("currency")
    return (amount, currency) if is_amount(amount) and isinstance(currency, str) else (None, "")


def _time(value: object) -> dt.datetime | None:
    if not isinstance(value, str):
        return None
    try:
        at = dt.datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
