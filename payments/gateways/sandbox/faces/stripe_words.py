"""How Stripe answers: what became of a request, and what was wrong with it."""

import json
from collections.abc import Callable
from http import HTTPStatus

from payments.gateways.sandbox.checks import JSON
from payments.gateways.sandbox.faces import stripe_objects as objects
from payments.gateways.sandbox.flow import Wordings
from payments.gateways.sandbox.records import Answer, Charge, Declined, Done, Outcome, Refused, Status

REQUEST_ERROR = "invalid_request_error"
_KEY_ERROR, _API_ERROR = "idempotency_error", "api_error"
_Shown = Callable[[Charge], JSON]


def of(show: _Shown, *, refused: Callable[[], Charge | None] = lambda: None) -> Wordings:
    """Return the wordings of what makes or changes a charge; a refusal shows the `refused` one as it is then."""

    def word(outcome: Outcome) -> Answer:
        match outcome:
            case Done(charge):
                return Answer(200, json.dumps(show(charge)))
            case Declined(charge, decline_code):
                return objects.word_decline(charge, decline_code)
            case Refused():
                return refusal(outcome, refused())

    return Wordings(outcome=word, error=trouble)


def reading(find: Callable[[], Charge | None], show: _Shown, *, missing: Callable[[], Answer]) -> Callable[[], Answer]:
    """Return the answer to a question for one charge."""

    def read() -> Answer:
        charge = find()
        return missing() if charge is None else Answer(200, json.dumps(show(charge)))

    return read


def refusal(refused: Refused, charge: Charge | None) -> Answer:
    """Word what the gateway itself says no to; `charge` is the one it was asked about, if there is one."""
    code, message = refused.code, refused.message
    match code:
        case "idempotency_key_mismatch":
            message = (
                "Keys for idempotent requests can only be used with the same parameters they were first used with."
            )
            return objects.word_error(400, None, message, kind=_KEY_ERROR)
        case "idempotency_key_in_use" | "key_cancelled":
            return objects.word_error(409, "idempotency_key_in_use", message, kind=_KEY_ERROR)
        case "refund_exceeds_captured" if charge is not None and charge.status is Status.REFUNDED:
            return objects.word_error(400, "charge_already_refunded", message, kind=REQUEST_ERROR)
        case "refund_exceeds_captured" | "capture_exceeds_authorized":
            return objects.word_error(400, "amount_too_large", message, kind=REQUEST_ERROR)
        case "invalid_state":
            intent = None if charge is None else objects.intent_object(charge)
            code = "payment_intent_unexpected_state"
            return objects.word_error(400, code, message, kind=REQUEST_ERROR, payment_intent=intent)
        case _:
            return objects.word_error(404, "resource_missing", message, kind=REQUEST_ERROR)


def trouble(status: int, code: str, message: str) -> Answer:
    """Word what goes wrong on the gateway's own side."""
    del code  # Of the other dialects.
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return objects.word_error(status, "rate_limit", message, kind=REQUEST_ERROR)
    return objects.word_error(status, None, message, kind=_API_ERROR)


def not_open(charge: Charge) -> Answer:
    """Word that a session cannot be ended any more."""
    message = (
        'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of '
        f"`{objects.session_status(charge)}`."
    )
    return objects.word_error(400, None, message, kind=REQUEST_ERROR)


def missing(kind: str, named: str, *, param: str) -> Callable[[], Answer]:
    """Return the answer that there is no such thing."""
    message = f"No such {kind}: '{named[:100]}'"
    return lambda: objects.word_error(404, "resource_missing", message, kind=REQUEST_ERROR, param=param)


def _plainly(outcome: Outcome) -> Answer:
    told = outcome.message if isinstance(outcome, Refused) else "Something went wrong on our side."
    return trouble(500, "internal_error", told)


PLAIN = Wordings(outcome=_plainly, error=trouble)  # Until it is known what is asked.
