"""What PhonePe's answers about a refund prove. A refund goes by our id of it, `merchantRefundId`, and takes its time.

CONFIRMED is no end: PhonePe has accepted the refund, which may still come to FAILED. Only COMPLETED says that the
customer has the money.
"""

from dataclasses import dataclass

from payments.domain.failures import FailureCode
from payments.domain.outcomes import Captured, Declined, InDoubt, NeverSent, NotFound, Outcome, Undoing, Undone
from payments.gateways.phonepe.answers import (
    AT_THE_DOOR,
    CLIENT_ERRORS,
    CURRENCY,
    FAILURES,
    OK,
    TOO_MANY,
    UNAUTHORIZED,
    error_code,
    read_refused_question,
    refusal,
)
from payments.gateways.protocol import ActRequest
from payments.gateways.reading import content, declined, doubt, is_amount
from payments.gateways.transport import Answer

_C = FailureCode
_CREATED, _FORBIDDEN, _NOT_FOUND = 201, 403, 404
# "There is no such refund", as PhonePe words it of an order (INVALID_MERCHANT_ORDER_ID): no page of its has the code.
_UNKNOWN = frozenset({"INVALID_MERCHANT_REFUND_ID", "REFUND_NOT_FOUND"})
_STATES = frozenset({"PENDING", "CONFIRMED", "COMPLETED", "FAILED"})
# The order was seen paid, of at least this amount, so what is refused is that so much is left of it, or the id again.
_REFUSES_THE_REFUND = frozenset({400, 402, 409, 417, 422})


@dataclass(frozen=True, slots=True)
class RefundSeen:
    """A refund that exists at PhonePe."""

    state: str
    gateway_code: object = None


def read_paid_amount(answer: Answer, *, request: ActRequest) -> int | Outcome:
    """Read an order that is to be refunded: how much was paid, or why none of it can go back."""
    if answer.status != OK:
        return read_refused_question(answer)
    order = content(answer)
    reference, amount = request.charge_reference, order.get("amount")
    is_ours = order.get("merchantOrderId", reference) == reference and order.get("currency", CURRENCY) == CURRENCY
    if not is_ours or not is_amount(amount):
        return doubt(f"the order {reference} is another one", reference=reference)
    if order.get("state") != "COMPLETED" or amount < request.amount_minor:
        return Declined(code=_C.ALREADY_DONE, gateway_code="NOT_REFUNDABLE", reference=reference)
    return amount


def read_status(answer: Answer, *, request: ActRequest) -> RefundSeen | NotFound | NeverSent | InDoubt:
    """Read the answer to the question after a refund."""
    if answer.status == OK:
        return _read(answer, request=request)
    # PhonePe does not say how it answers for a refund that it does not know, nor what a second request under the same
    # id gets. So only what says just this counts as that, and every other refusal of the question is a doubt: a refund
    # that may exist is not asked for again.
    code, is_let_in = error_code(answer), answer.status not in {UNAUTHORIZED, _FORBIDDEN, TOO_MANY}
    if (answer.status == _NOT_FOUND and code) or (answer.status in CLIENT_ERRORS and is_let_in and code in _UNKNOWN):
        return NotFound()
    return read_refused_question(answer)


def read_request(answer: Answer, *, request: ActRequest) -> RefundSeen | Declined | NeverSent | InDoubt:
    """Read the answer to a request for a refund."""
    reference, code = request.charge_reference, error_code(answer)
    if answer.status in {OK, _CREATED}:
        return _read(answer, request=request)
    if answer.status == TOO_MANY:
        return NeverSent(code=_C.RATE_LIMITED, detail=refusal(answer))
    if answer.status in _REFUSES_THE_REFUND and code:
        return Declined(code=_C.ALREADY_DONE, gateway_code=code, reference=reference)
    if answer.status in AT_THE_DOOR and code:
        return Declined(code=AT_THE_DOOR[answer.status], gateway_code=code, reference=reference)
    return doubt(refusal(answer), reference=reference)


def ended(seen: RefundSeen, *, request: ActRequest, paid_minor: int) -> Outcome:
    """Say what a refund of an order comes to. What other refunds gave back of the same order is not known here."""
    reference = request.charge_reference
    if seen.state == "FAILED":
        return declined(FAILURES, seen.gateway_code, reference=reference)
    if seen.state != "COMPLETED":
        return doubt(f"the refund is {seen.state}", reference=reference)
    if request.amount_minor == paid_minor:
        return Undone(how=Undoing.REFUNDED, reference=reference)
    return Captured(reference=reference, refunded_minor=request.amount_minor)


def _read(answer: Answer, *, request: ActRequest) -> RefundSeen | InDoubt:
    refund = content(answer)
    state, named = refund.get("state"), f"the refund {request.idempotency_key}"
    if state not in _STATES or not is_amount(refund.get("amount")):
        return doubt(f"{named} is {state!r}", reference=request.charge_reference)
    said = (refund.get("originalMerchantOrderId", request.charge_reference), refund["amount"])
    if said != (request.charge_reference, request.amount_minor):
        detail = f"{named} is another one: {said}"
        return doubt(detail, code=_C.KEY_MISMATCH, reference=request.charge_reference)
    return RefundSeen(state=state, gateway_code=refund.get("detailedErrorCode") or refund.get("errorCode"))
