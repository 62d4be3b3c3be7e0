"""What PayPal's answers prove, as pure functions: an HTTP answer in, an outcome out.

A refusal says that this request did nothing; what an earlier one with the same id did, it does not say. Whatever does
not fit what was asked is a doubt.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

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
    Undoing,
    Undone,
)
from payments.gateways.paypal.orders import (
    FAILURES,
    Asked,
    Order,
    Payment,
    is_order_id,
    judge,
    read_order,
    read_payment,
)
from payments.gateways.paypal.wording import Intent, amount_minor
from payments.gateways.protocol import ActRequest
from payments.gateways.reading import content, declined, doubt, inner, spelled
from payments.gateways.transport import Answer

_C = FailureCode
_OK, _CREATED, _NO_CONTENT, _NOT_FOUND, _TOO_MANY = 200, 201, 204, 404, 429
_DONE = frozenset({_OK, _CREATED})  # 201 at first; 200, or 201 again, for the same request once more.

_AT_THE_DOOR: Mapping[int, FailureCode] = MappingProxyType(
    {400: _C.INVALID_REQUEST, 401: _C.CONFIGURATION, 403: _C.CONFIGURATION}
)
_UNPROCESSABLE, _CONFLICT = 422, 409
_MOST_WORDED = 3  # Of an answer's issues, in a detail; all of them count.
# Another request is at work on the same thing: what becomes of it is not known yet.
_IN_FLIGHT = frozenset(code for code, meaning in FAILURES.codes.items() if meaning is _C.KEY_IN_FLIGHT)
_OTHER_REQUEST = frozenset({"DUPLICATE_REQUEST_ID", "PAYPAL_REQUEST_ID_PREVIOUSLY_USED"})
_DOUBTS = _IN_FLIGHT | _OTHER_REQUEST  # Whatever else is said beside them.
# The order is further, or elsewhere, than the request thought: it says itself where.
_LOOK_AGAIN = frozenset(
    {
        "ACTION_DOES_NOT_MATCH_INTENT",
        "AUTHORIZATION_ALREADY_CAPTURED",
        "CAPTURE_FULLY_REFUNDED",
        "MAX_AUTHORIZATION_COUNT_EXCEEDED",
        "ORDER_ALREADY_AUTHORIZED",
        "ORDER_ALREADY_CAPTURED",
        "ORDER_ALREADY_COMPLETED",
        "ORDER_COMPLETED_OR_VOIDED",
        "PREVIOUSLY_VOIDED",
    }
)


def issues_of(answer: Answer) -> tuple[str, ...]:
    """Return every issue of a refusal as PayPal spells them; none if the answer is no refusal of PayPal's.

    A detail that names no issue is an empty one, which nobody knows.
    """
    answered = content(answer)
    details = answered.get("details")
    shown = details if isinstance(details, list) else []
    issues = tuple(spelled(detail.get("issue")) if isinstance(detail, dict) else "" for detail in shown)
    if any(issues):
        return issues
    name = spelled(answered.get("name") or answered.get("error"))
    return (name,) if name else ()


def asks_to_look_again(answer: Answer) -> bool:
    """Tell whether a refusal speaks of a state that looking at the order shows better."""
    return answer.status == _UNPROCESSABLE and not _LOOK_AGAIN.isdisjoint(issues_of(answer))


def leaves_open(answer: Answer) -> bool:
    """Tell whether a 422 to a paying request says too little: an earlier one for the same order may still be running.

    So it is with one that speaks of the order's state, and with one that is none of the refusals that PayPal lists.
    """
    if answer.status != _UNPROCESSABLE:
        return False
    issues = issues_of(answer)
    return _DOUBTS.isdisjoint(issues) and (asks_to_look_again(answer) or not _are_known(issues))


def read_unpaid(answer: Answer, order: Order) -> InDoubt:
    """Say of an order that is unpaid after a refusal which leaves it open: nobody knows whether it stays so."""
    _tell_of_unknown(issues_of(answer))
    return doubt(f"{_worded(answer)}, and the order is unpaid", reference=order.id)


def read_opening(answer: Answer, *, asked: Asked, intent: Intent) -> str | Outcome:
    """Read the answer to a new order: its id, or how the call ended.

    No money moves here. So what would be a doubt elsewhere, an answer that cannot be read or a 5xx, is not sent: the
    same request may be made again, and gets the same order.
    """
    answered = content(answer)
    if answer.status not in _DONE:
        refusal = _read_refused_opening(answer)
        if isinstance(refusal, InDoubt) and refusal.code is _C.GATEWAY_ERROR:
            return NeverSent(code=refusal.code, detail=f"no order: {refusal.detail}")
        return refusal
    if not is_order_id(answered.get("id")):
        return NeverSent(code=_C.GATEWAY_ERROR, detail=f"no order: HTTP {answer.status} without an order")
    order = read_order(answered, asked=asked)
    if isinstance(order, InDoubt):
        return doubt(order.detail, code=_C.KEY_MISMATCH)
    if order.made_for is not intent:
        return doubt(f"the order {order.id} is for {order.made_for}", code=_C.KEY_MISMATCH)
    return order.id


def read_paying(answer: Answer, *, asked: Asked) -> Outcome:
    """Read the answer to an authorisation or a capture of an order."""
    order_id = asked.order_id or ""
    if answer.status in _DONE:
        order = read_order(content(answer), asked=asked)
        if isinstance(order, InDoubt):
            return doubt(order.detail, reference=order_id)
        if order.is_unpaid and order.status != "PAYER_ACTION_REQUIRED":
            return doubt(f"HTTP {answer.status} with an unpaid order", reference=order_id)
        return judge(order, is_hosted=asked.is_hosted)
    return read_refusal(answer, reference=order_id)  # A 404 too is a doubt: it was there a moment ago.


def read_sight(answer: Answer, *, asked: Asked) -> Order | NotFound | InDoubt | NeverSent:
    """Read the order that was asked for. One that nobody paid is gone after some hours: that is not found."""
    if answer.status == _OK:
        return read_order(content(answer), asked=asked)
    issues, detail = issues_of(answer), _worded(answer)
    if answer.status == _NOT_FOUND and issues:
        return NotFound()
    if answer.status == _TOO_MANY:
        return NeverSent(code=_C.RATE_LIMITED, detail=detail)
    return doubt(detail, code=_AT_THE_DOOR.get(answer.status, _C.GATEWAY_ERROR) if issues else _C.GATEWAY_ERROR)


def read_capture(answer: Answer, *, request: ActRequest, reference: str) -> Outcome:
    """Read the answer to the capture of what an order holds for the payment `reference`."""
    if answer.status not in _DONE:
        return read_refusal(answer, reference=request.charge_reference)
    answered = content(answer)
    capture = read_payment(answered, currency=request.currency)
    if capture is None or not _belongs(answered, request=request, reference=reference):
        return doubt(f"HTTP {answer.status} with a capture that is not ours")
    if capture.amount_minor != request.amount_minor:
        return doubt(f"a capture of {capture.amount_minor}, asked were {request.amount_minor}")
    match capture.status:
        case "COMPLETED":
            return Captured(reference=request.charge_reference)
        case "DECLINED" | "FAILED":
            code = capture.processor_code or capture.status
            return declined(FAILURES, code, reference=request.charge_reference)
        case status:
            return doubt(f"a capture that is {status!r}")


def read_void(answer: Answer, *, request: ActRequest, reference: str) -> Outcome:
    """Read the answer to the void of an authorisation: the authorisation, or nothing at all."""
    undone = Undone(how=Undoing.VOIDED, reference=request.charge_reference)
    if answer.status == _NO_CONTENT:
        return undone
    if answer.status not in _DONE:
        return read_refusal(answer, reference=request.charge_reference)
    answered = content(answer)
    authorization = read_payment(answered, currency=request.currency)
    if authorization is None or not _belongs(answered, request=request, reference=reference):
        return doubt(f"HTTP {answer.status} with an authorisation that is not ours")
    return undone if authorization.status == "VOIDED" else doubt(f"an authorisation that is {authorization.status!r}")


def read_refund(answer: Answer, *, request: ActRequest, capture: Payment) -> Outcome:
    """Read the answer to a refund of `capture`: what was given back by now, in all."""
    if answer.status not in _DONE:
        return read_refusal(answer, reference=request.charge_reference)
    answered = content(answer)
    refund = read_payment(answered, currency=request.currency)
    if refund is None or refund.amount_minor != request.amount_minor:
        return doubt(f"HTTP {answer.status} with a refund that is not ours")
    if refund.status in {"FAILED", "CANCELLED"}:
        return declined(FAILURES, refund.status, reference=request.charge_reference)
    total = amount_minor(
        inner(answered, "seller_payable_breakdown").get("total_refunded_amount"), currency=request.currency
    )
    if refund.status != "COMPLETED" or total is None or not request.amount_minor <= total <= capture.amount_minor:
        return doubt(f"a refund that is {refund.status!r}, {total} of {capture.amount_minor} in all")
    if total == capture.amount_minor:
        return Undone(how=Undoing.REFUNDED, reference=request.charge_reference)
    return Captured(reference=request.charge_reference, refunded_minor=total)


def read_refusal(answer: Answer, *, reference: str | None) -> Outcome:
    """Read an answer that is no success. All of its issues count: the first need not be the one that matters.

    A 422 is a refusal only where each of them is a listed one. What nobody knows may as well say that an earlier
    request is at work.
    """
    issues, detail = issues_of(answer), _worded(answer)
    if answer.status in {_CONFLICT, _UNPROCESSABLE} and not _IN_FLIGHT.isdisjoint(issues):
        return doubt(detail, code=_C.KEY_IN_FLIGHT, reference=reference or "")
    if answer.status in {400, _CONFLICT, _UNPROCESSABLE} and not _OTHER_REQUEST.isdisjoint(issues):
        return doubt(detail, code=_C.KEY_MISMATCH, reference=reference or "")
    if answer.status == _TOO_MANY:
        return NeverSent(code=_C.RATE_LIMITED, detail=detail)
    if answer.status in _AT_THE_DOOR and issues:
        first = next(filter(None, issues))
        return Declined(code=_AT_THE_DOOR[answer.status], gateway_code=first, reference=reference)
    if answer.status == _UNPROCESSABLE and _are_known(issues):
        of_its_state = [issue for issue in issues if FAILURES.codes[issue] is _C.ALREADY_DONE]
        return declined(FAILURES, (of_its_state or issues)[0], reference=reference)
    if answer.status == _UNPROCESSABLE:
        _tell_of_unknown(issues)
    return doubt(detail, reference=reference or "")


def _read_refused_opening(answer: Answer) -> Outcome:
    issues = issues_of(answer)
    is_unheard_of = answer.status == _UNPROCESSABLE and issues and not _are_known(issues)
    if is_unheard_of and _DOUBTS.isdisjoint(issues):
        # No order was made, which is certain; of an order of an earlier call it says nothing, as any refusal of a
        # request that is worded so.
        _tell_of_unknown(issues)
        return Declined(code=_C.INVALID_REQUEST, gateway_code=next(filter(None, issues)), reference=None)
    return read_refusal(answer, reference=None)


def _are_known(issues: tuple[str, ...]) -> bool:
    return bool(issues) and all(issue in FAILURES.codes for issue in issues)


def _tell_of_unknown(issues: tuple[str, ...]) -> None:
    unknown = [issue for issue in issues if issue not in FAILURES.codes]
    for issue in unknown[:_MOST_WORDED]:
        FAILURES.meaning(issue)  # Which is an alert.


def _worded(answer: Answer) -> str:
    return f"HTTP {answer.status} {', '.join(issues_of(answer)[:_MOST_WORDED])}"


def in_no_state(seen: ChargeSeen, *, reference: str) -> Declined:
    """Say that a charge is in no state for what was asked of it."""
    return Declined(code=_C.ALREADY_DONE, gateway_code=_STATES[type(seen)], reference=reference)


_STATES: Mapping[type[ChargeSeen], str] = MappingProxyType(
    {
        Authorized: "authorized",
        Captured: "captured",
        Declined: "declined",
        Pending: "pending",
        Undone: "undone",
    }
)


def _belongs(answered: Mapping[str, Any], *, request: ActRequest, reference: str) -> bool:
    # The order's id is shown of most payments, and not of all.
    order_id = inner(answered, "supplementary_data", "related_ids").get("order_id", request.charge_reference)
    return answered.get("custom_id") == reference and order_id == request.charge_reference
