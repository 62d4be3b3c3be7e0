"""What PhonePe's answers prove, as pure functions: an HTTP answer in, an outcome out.

The reference of a charge is our own id of the order at PhonePe, `merchantOrderId`: the only one that a look-up, a
refund and an event have in common. An order's status says nothing of refunds; they have one of their own (refunds.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Captured,
    ChargeSeen,
    Declined,
    InDoubt,
    NeverSent,
    NotFound,
    Outcome,
    Pending,
    Undoing,
    Undone,
)
from payments.gateways import failures
from payments.gateways.protocol import ActRequest, ChargeRequest, Question
from payments.gateways.reading import LONGEST_ID, content, declined, doubt, is_address, is_amount, is_text, spelled
from payments.gateways.tokens import Token
from payments.gateways.transport import Answer, Broken, CallResult, Refused

_C = FailureCode

FAILURES = failures.load("phonepe")
CURRENCY = "INR"

OK, UNAUTHORIZED, TOO_MANY = 200, 401, 429
CLIENT_ERRORS = range(400, 500)
_REFUSED_CREDENTIALS = frozenset({400, 401, 403})
_LONGEST_TOKEN = 8192
# Refusals at the door: this request did nothing. What an earlier one for the same order did, they do not say.
AT_THE_DOOR: Mapping[int, FailureCode] = MappingProxyType(
    {
        400: _C.INVALID_REQUEST,
        401: _C.CONFIGURATION,
        403: _C.CONFIGURATION,
        404: _C.CONFIGURATION,
        422: _C.INVALID_REQUEST,
    }
)
# There is an order under this id: PhonePe takes each once. A repeat is refused (417), and not answered like the first.
_TAKEN_ALREADY = frozenset(
    {
        "INVALID_MERCHANT_ORDER_ID",
        "INVALID_TRANSACTION_ID",
        "DUPLICATE_TRANSACTION",
        "DUPLICATE_TXN_REQUEST",
        "PREVIOUS_ORDER_IN_PROGRESS",
        "TXN_ALREADY_PROCESSED",
    }
)
_UNKNOWN_ORDER = "INVALID_MERCHANT_ORDER_ID"  # To a question: there is none under this id.
_EXPIRED = "ORDER_EXPIRED"
# Published beside the failures, and none: an order that failed with one of them contradicts itself.
_NO_FAILURES = frozenset({"SUCCESS", "PENDING", "TXN_STATUS_AWAITED", "REFUND_SUBMITTED"})


@dataclass(frozen=True, slots=True)
class NoToken:
    """There is no token, so nothing was sent that would need one."""

    code: FailureCode
    detail: str
    is_refused: bool = False  # PhonePe does not know our credentials; otherwise it only did not answer.


NO_TOKEN_YET = NoToken(_C.GATEWAY_TIMEOUT, "the deadline passed while another thread was fetching a token")


def read_creation(answer: Answer, *, request: ChargeRequest) -> Outcome:
    """Read the answer to a new order: the customer is to go to its page."""
    answered, code = content(answer), error_code(answer)
    if answer.status == OK:
        state, address = answered.get("state"), answered.get("redirectUrl")
        if state == "PENDING" and is_text(answered.get("orderId"), longest=LONGEST_ID) and is_address(address):
            return Pending(reference=request.reference, redirect_url=address)
        # Not the address itself: it lets whoever has it into the customer's session.
        return doubt(f"a new order that is {spelled(state)!r}, without an id or an address that can be used")
    if answer.status == TOO_MANY:
        return NeverSent(code=_C.RATE_LIMITED, detail=refusal(answer))
    if code in _TAKEN_ALREADY and answer.status in CLIENT_ERRORS:
        return doubt(refusal(answer), code=_C.KEY_MISMATCH)
    if answer.status in AT_THE_DOOR and code:
        return Declined(code=AT_THE_DOOR[answer.status], gateway_code=code, reference=None)
    return doubt(refusal(answer))


def read_look_up(answer: Answer, *, question: Question) -> Outcome:
    """Read the answer to a question after an order. One that was seen before is not unknown now, whatever is said.

    Asked as another merchant, PhonePe says the same as of an order that never was.
    """
    seen = read_order(
        answer, reference=question.reference, amount_minor=question.amount_minor, currency=question.currency
    )
    if isinstance(seen, NotFound) and question.charge_reference:
        detail = "an order that was seen before is unknown: are these the credentials that it was made with?"
        return doubt(detail, code=_C.CONFIGURATION, reference=question.charge_reference)
    return seen


def read_void(answer: Answer, *, request: ActRequest) -> Outcome:
    """Read an order's status as the answer to a void: PhonePe ends no order on request, an unpaid one runs out."""
    reference = request.charge_reference
    seen = read_order(answer, reference=reference, amount_minor=request.amount_minor, currency=request.currency)
    match seen:
        case Pending():
            return doubt("the order is unpaid, and nothing but its time can end it", reference=reference)
        case Captured():
            return Declined(code=_C.ALREADY_DONE, gateway_code="COMPLETED", reference=reference)
        case Declined(gateway_code=code):
            return Declined(code=_C.ALREADY_DONE, gateway_code=code, reference=reference)
        case NotFound():
            return doubt("an order that was seen before is unknown", code=_C.CONFIGURATION, reference=reference)
        case _:
            return seen


def read_order(answer: Answer, *, reference: str, amount_minor: int, currency: str) -> Outcome:
    """Tell as what an order is seen, if it is this one, of this amount."""
    if answer.status == OK:
        asked = {"merchantOrderId": reference, "amount": amount_minor, "currency": currency}
        return _read_order(content(answer), asked=asked, reference=reference)
    code = error_code(answer)
    if code == _UNKNOWN_ORDER and answer.status in CLIENT_ERRORS:
        return NotFound()
    return read_refused_question(answer)


def read_refused_question(answer: Answer) -> NeverSent | InDoubt:
    """Read a refusal to answer a question: it says nothing of what was asked about, so it is never a decline."""
    if answer.status == TOO_MANY:
        return NeverSent(code=_C.RATE_LIMITED, detail=refusal(answer))
    code = AT_THE_DOOR.get(answer.status, _C.GATEWAY_ERROR) if error_code(answer) else _C.GATEWAY_ERROR
    return InDoubt(code=code, detail=refusal(answer))


def read_no_token(missing: NoToken, *, is_question: bool) -> Outcome:
    """Say what follows when there is no token: nothing was sent."""
    if not missing.is_refused:
        return NeverSent(code=missing.code, detail=missing.detail)
    if is_question:
        return InDoubt(code=missing.code, detail=missing.detail)
    return Declined(code=missing.code, gateway_code="token_refused", reference=None)


def read_token(result: CallResult) -> Token | NoToken:
    """Read the answer to the request for a token."""
    match result:
        case Refused(detail=detail):
            return NoToken(_C.GATEWAY_UNREACHABLE, f"no token: {detail}")
        case Broken(detail=detail, by_deadline=by_deadline):
            return NoToken(_C.GATEWAY_TIMEOUT if by_deadline else _C.GATEWAY_ERROR, f"no token: {detail}")
        case Answer():
            return _read_token(result)


def _read_token(answer: Answer) -> Token | NoToken:
    if answer.status != OK:
        is_refused = answer.status in _REFUSED_CREDENTIALS
        code = _C.CONFIGURATION if is_refused else _C.GATEWAY_ERROR
        return NoToken(code, f"no token: {refusal(answer)}", is_refused=is_refused)
    answered = content(answer)
    text, life_seconds = answered.get("access_token"), answered.get("expires_in")
    issued, ends = answered.get("issued_at"), answered.get("expires_at")
    if life_seconds is None and is_amount(issued) and is_amount(ends):
        life_seconds = ends - issued  # Both by PhonePe's clock.
    if not is_text(text, longest=_LONGEST_TOKEN) or not text.isascii() or not is_amount(life_seconds):
        return NoToken(_C.GATEWAY_ERROR, "no token: an answer without a token and its life")
    return Token(text, life_seconds=life_seconds)


def error_code(answer: Answer) -> str:
    """Return the code of an error as PhonePe spelled it; empty when there is none."""
    answered = content(answer)
    return spelled(answered.get("code") or answered.get("errorCode"))


def refusal(answer: Answer) -> str:
    """Word an answer that is none of those that are expected."""
    return f"HTTP {answer.status} {error_code(answer)}".rstrip()


def _read_order(order: Mapping[str, Any], *, asked: Mapping[str, object], reference: str) -> ChargeSeen | InDoubt:
    # The amount always has to be ours. The other two are not in every answer, but where they are they have to be ours.
    said = {name: order[name] for name in asked if order.get(name) is not None}
    if not is_amount(order.get("amount")) or said != {name: asked[name] for name in said}:
        return doubt(f"the order {reference} is another one: {said}")
    state, attempts = order.get("state"), _attempts(order, amount=order["amount"])
    if attempts is None:
        return doubt(f"the order {reference} is {state!r} with attempts that cannot be read, or over another amount")
    if attempts.count("COMPLETED") > 1:
        return doubt(f"the order {reference} is {state!r} and was paid more than once", reference=reference)
    match state:
        case "PENDING":
            return Pending(reference=reference, redirect_url=None)
        case "COMPLETED" if "COMPLETED" in attempts:
            return Captured(reference=reference)
        case "FAILED" if set(attempts) <= {"FAILED"}:
            return _read_failed(order, reference=reference)
        case _:
            return doubt(f"the order {reference} is {state!r} with attempts that are {attempts}")


def _attempts(order: Mapping[str, Any], *, amount: object) -> list[object] | None:
    """Return the states of the customer's attempts at paying; None if one took another amount than the order's."""
    attempts = order.get("paymentDetails", [])
    if not isinstance(attempts, list) or not all(isinstance(attempt, dict) for attempt in attempts):
        return None
    paid = [attempt["amount"] for attempt in attempts if attempt.get("state") == "COMPLETED" and "amount" in attempt]
    if any(not is_amount(one) or one != amount for one in paid if one is not None):
        return None
    states = [attempt.get("state") for attempt in attempts]
    return states if all(isinstance(state, str) for state in states) else None


def _read_failed(order: Mapping[str, Any], *, reference: str) -> ChargeSeen | InDoubt:
    code = order.get("detailedErrorCode") or order.get("errorCode")
    if code == _EXPIRED:
        return Undone(how=Undoing.EXPIRED, reference=reference)
    if code in _NO_FAILURES:
        return doubt(f"the order {reference} failed with {code}", reference=reference)
    return declined(FAILURES, code, reference=reference)
