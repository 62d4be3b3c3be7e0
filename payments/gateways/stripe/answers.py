"""What Stripe's answers prove, as pure functions: an HTTP answer in, an outcome out. What proves nothing is a doubt."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
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
    Outcome,
    Pending,
    Undoing,
    Undone,
)
from payments.gateways.protocol import ActRequest, ChargeRequest, Question
from payments.gateways.reading import LONGEST_ID, content, declined, doubt, inner, is_amount, is_text, spelled
from payments.gateways.stripe.intents import (
    FAILURES,
    Asked,
    Session,
    acted_on,
    as_session,
    asked_by,
    code_of,
    read_intent,
    read_session,
    returned_of,
)
from payments.gateways.stripe.wording import MADE_BY, REFERENCE
from payments.gateways.transport import Answer

_C = FailureCode
_OK = HTTPStatus.OK

# Refusals at the door: this request did nothing. What an earlier one with the same key did, they do not say.
_AT_THE_DOOR: Mapping[int, FailureCode] = MappingProxyType(
    {400: _C.INVALID_REQUEST, 401: _C.CONFIGURATION, 403: _C.CONFIGURATION, 404: _C.CONFIGURATION}
)
_REFUSED = "invalid_request_error"  # The type of every error about the request itself.
_LOCKED = "lock_timeout"


def read_creation(answer: Answer, *, request: ChargeRequest) -> Outcome:
    """Read the answer to a new intent that was confirmed at once."""
    if answer.status == _OK:
        intent = content(answer)
        seen = read_intent(intent, asked=asked_by(request))
        if isinstance(seen, Pending) and intent.get("status") not in {"requires_action", "processing"}:
            return doubt(f"a confirmed intent {intent.get('status')!r}", reference=seen.reference)
        return seen if isinstance(seen, Captured | Authorized | Pending | InDoubt) else _contradiction(answer, seen)
    return _read_refusal(answer, asked=asked_by(request), reference=None)


def read_session_creation(answer: Answer, *, request: ChargeRequest) -> Outcome:
    """Read the answer to a new checkout session: it waits for the customer, who needs its address."""
    if answer.status == _OK:
        seen = read_session(content(answer), asked=asked_by(request))
        if isinstance(seen, Pending) and seen.redirect_url is None:
            return doubt("an open checkout session without an address", reference=seen.reference)
        return seen if isinstance(seen, Pending | InDoubt) else _contradiction(answer, seen)
    return _read_refusal(answer, asked=asked_by(request), reference=None)


def read_capture(answer: Answer, *, request: ActRequest, intent: str) -> Outcome:
    """Read the answer to a capture."""
    asked = acted_on(request, intent=intent)
    if answer.status != _OK:
        return _read_refusal(answer, asked=asked, reference=request.charge_reference)
    seen = read_intent(content(answer), asked=asked)
    return seen if isinstance(seen, Captured | InDoubt) else _contradiction(answer, seen)


def read_cancel(answer: Answer, *, request: ActRequest, intent: str) -> Outcome:
    """Read the answer to the cancel of an intent; one that was canceled before is shown inside the refusal."""
    asked = acted_on(request, intent=intent)
    if answer.status != _OK:
        shown = inner(content(answer), "error", "payment_intent")
        seen = read_intent(shown, asked=asked)
        if answer.status == HTTPStatus.BAD_REQUEST and isinstance(seen, Undone):
            return seen
        return _read_refusal(answer, asked=asked, reference=request.charge_reference)
    seen = read_intent(content(answer), asked=asked)
    is_done = isinstance(seen, Undone) and seen.how is not Undoing.REFUNDED
    return seen if is_done or isinstance(seen, InDoubt) else _contradiction(answer, seen)


def read_expiry(answer: Answer, *, request: ActRequest) -> Outcome:
    """Read the answer to the end of a checkout session that was open a moment ago."""
    asked = _session_of(request)
    if answer.status != _OK:
        refused = _read_refusal(answer, asked=asked, reference=request.charge_reference)
        if answer.status == HTTPStatus.BAD_REQUEST and isinstance(refused, Declined):
            # The request says nothing but the session's id: what is wrong is that it is not open any more.
            return Declined(_C.ALREADY_DONE, refused.gateway_code, request.charge_reference)
        return refused
    session = as_session(content(answer), asked=asked)
    if isinstance(session, InDoubt):
        return session
    if session.status != "expired":
        return doubt(f"an expired checkout session that is {session.status}", reference=session.id)
    return Undone(how=Undoing.VOIDED, reference=session.id)


def read_refund(answer: Answer, *, request: ActRequest, intent: str) -> Outcome:
    """Read the answer to a refund, with the charge that it belongs to: what was given back of it in all.

    Only what has succeeded counts: a refund that is pending may fail yet, and is asked about until it has ended.
    """
    reference = request.charge_reference
    if answer.status != _OK:
        # The refund may be less than the charge, so its amount says nothing of the intent.
        asked = Asked(amount_minor=None, currency=request.currency, intent=intent, shown_as=reference)
        return _read_refusal(answer, asked=asked, reference=reference, stands=Captured)
    refund = content(answer)
    if [refund.get("payment_intent"), refund.get("amount"), refund.get("currency")] != [
        intent,
        request.amount_minor,
        request.currency.lower(),
    ]:
        return doubt("a refund of something else", reference=reference)
    status = refund.get("status")
    if status in ("failed", "canceled"):
        return declined(FAILURES, refund.get("failure_reason") or "unknown", reference=reference)
    charge = inner(refund, "charge")
    taken, returned = charge.get("amount_captured"), returned_of(charge)
    if charge.get("payment_intent") != intent or not is_amount(taken):
        return doubt("a refund without its charge", reference=reference)
    if status != "succeeded" or returned is None or not request.amount_minor <= returned <= taken:
        return doubt(f"a refund that is {status!r}, {returned} of {taken} in all", reference=reference)
    if returned == taken:
        return Undone(how=Undoing.REFUNDED, reference=reference)
    return Captured(reference=reference, refunded_minor=returned)


def read_session_to_act_on(answer: Answer, *, request: ActRequest) -> Session | Outcome:
    """Read the session that an act is about to be done to: its intent is what is acted on."""
    asked = _session_of(request)
    if answer.status != _OK:
        return _read_refusal(answer, asked=asked, reference=request.charge_reference)
    return as_session(content(answer), asked=asked)


def read_charge(answer: Answer, *, question: Question, charge: str) -> Outcome:
    """Read the answer to the question for the intent or session `charge`."""
    if answer.status != _OK:
        return read_refused_question(answer)
    asked = asked_by(question)
    if charge.startswith("cs_"):
        return read_session(
            content(answer), asked=Asked(asked.amount_minor, asked.currency, asked.reference, shown_as=charge)
        )
    return read_intent(content(answer), asked=Asked(asked.amount_minor, asked.currency, asked.reference, intent=charge))


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, newest first: which on it are ours, and how it goes on."""

    ours: tuple[str, ...]
    last: str  # The id to go on after; empty when there is nothing further.


def read_page(answer: Answer, *, is_ours: Callable[[Mapping[str, Any]], bool], since: int) -> Page | Outcome:
    """Read one page of a list; what was created before `since` cannot be ours, and nothing after it is asked for."""
    listed, more = content(answer).get("data"), content(answer).get("has_more")
    if answer.status != _OK:
        return read_refused_question(answer)
    if not isinstance(listed, list) or not isinstance(more, bool) or (more and not listed):
        return doubt("no page of a list where one belongs")
    ours: list[str] = []
    last, is_late = "", True
    for value in listed:
        shown = inner(value)
        last, created = shown.get("id", ""), shown.get("created")
        if not is_text(last, longest=LONGEST_ID) or not is_amount(created):
            return doubt("a list of something else")
        is_late = created >= since
        if is_late and is_ours(shown):
            ours.append(last)
    return Page(ours=tuple(ours), last=last if more and is_late else "")


def is_intent_of(reference: str) -> Callable[[Mapping[str, Any]], bool]:
    """Return the test for an intent of our payment `reference` that no checkout session made."""

    def test(intent: Mapping[str, Any]) -> bool:
        labels = inner(intent, "metadata")
        return labels.get(REFERENCE) == reference and MADE_BY not in labels

    return test


def is_session_of(reference: str) -> Callable[[Mapping[str, Any]], bool]:
    """Return the test for a checkout session of our payment `reference`."""
    return lambda session: session.get("client_reference_id") == reference


def read_refused_question(answer: Answer) -> NeverSent | InDoubt:
    """Read the refusal of a question: it says nothing about the charge, so nothing here is a decline."""
    error = inner(content(answer), "error")
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS and error:
        return NeverSent(code=_C.RATE_LIMITED, detail=_detail(answer, error))
    code = _AT_THE_DOOR.get(answer.status, _C.GATEWAY_ERROR) if error else _C.GATEWAY_ERROR
    return InDoubt(code=code, detail=_detail(answer, error))


def _read_refusal(
    answer: Answer, *, asked: Asked, reference: str | None, stands: type[Captured | Authorized] = Authorized
) -> Outcome:
    """Read a refusal. Whatever was to be done to a charge, after a declined card it `stands` as it stood before."""
    error = inner(content(answer), "error")
    code, detail = spelled(error.get("code") or error.get("type")), _detail(answer, error)
    if error.get("type") == "idempotency_error" or code == "idempotency_key_in_use":
        # There is an earlier request with the same key. Only the one for a key in use has a code of its own.
        is_running = answer.status == HTTPStatus.CONFLICT
        return InDoubt(code=_C.KEY_IN_FLIGHT if is_running else _C.KEY_MISMATCH, detail=detail)
    if answer.status == HTTPStatus.PAYMENT_REQUIRED:
        return _read_decline(answer, error=error, asked=asked, reference=reference, stands=stands)
    if _is_limited(answer, error=error, code=code):
        return NeverSent(code=_C.RATE_LIMITED, detail=detail)
    if answer.status in _AT_THE_DOOR and error.get("type") == _REFUSED and code != _LOCKED:
        meaning = _AT_THE_DOOR[answer.status]
        if answer.status == HTTPStatus.BAD_REQUEST:
            meaning = FAILURES.codes.get(code, meaning)
        if reference is None and "payment_intent" in error and not _stands_idle(error["payment_intent"], asked=asked):
            return doubt(f"{detail} with an intent that does something")
        return Declined(code=meaning, gateway_code=code, reference=reference)
    return doubt(detail)


def _is_limited(answer: Answer, *, error: Mapping[str, Any], code: str) -> bool:
    """Tell whether a limiter refused the request, which stands before the endpoint: nothing was done.

    A lock is waited for inside it, and a card's own limits are looked at there: after either something may be there.
    """
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        is_inside = code == _LOCKED or error.get("type") == "card_error" or "payment_intent" in error
        return bool(code) and not is_inside
    return answer.status == HTTPStatus.BAD_REQUEST and code == "rate_limit"


def _stands_idle(intent: object, *, asked: Asked) -> bool:
    """Tell whether an intent that was refused is ours and moves nothing, now or later."""
    seen = read_intent(intent, asked=asked)
    is_untried = inner(intent).get("status") in {"requires_payment_method", "requires_confirmation"}
    return isinstance(seen, Declined | Undone) or (isinstance(seen, Pending) and is_untried)


def _read_decline(
    answer: Answer,
    *,
    error: Mapping[str, Any],
    asked: Asked,
    reference: str | None,
    stands: type[Captured | Authorized],
) -> Outcome:
    """Read a 402: the card was declined. The intent inside has to be ours, and to stand as a declined one does."""
    seen = read_intent(error.get("payment_intent"), asked=asked)
    if isinstance(seen, InDoubt):
        return seen
    if error.get("type") != "card_error":
        return _contradiction(answer, seen)
    if reference is None:  # A new charge: the intent says itself why there is no money.
        return seen if isinstance(seen, Declined) else _contradiction(answer, seen)
    if not isinstance(seen, stands):
        return _contradiction(answer, seen)
    return declined(FAILURES, code_of(error), reference=reference)


def _session_of(request: ActRequest) -> Asked:
    # Which session it is, its id says; a refund's amount may be less than the session's.
    return Asked(amount_minor=None, currency=request.currency, shown_as=request.charge_reference)


def _detail(answer: Answer, error: Mapping[str, Any]) -> str:
    return f"HTTP {answer.status} {spelled(error.get('code') or error.get('type'))}"


def _contradiction(answer: Answer, seen: ChargeSeen) -> InDoubt:
    return doubt(f"HTTP {answer.status} with {seen}", reference=seen.reference or "")
