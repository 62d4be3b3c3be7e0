"""Why a payment failed or is in doubt, in one vocabulary for all gateways, and what may be done about it."""

import enum
from collections.abc import Mapping
from types import MappingProxyType


class FailureCode(enum.StrEnum):
    """What a gateway's own code is translated to. An unknown code is `declined`, and somebody is told."""

    DECLINED = "declined"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    LIMIT_EXCEEDED = "limit_exceeded"
    EXPIRED_CARD = "expired_card"
    INVALID_CARD_DATA = "invalid_card_data"
    AUTHENTICATION_REQUIRED = "authentication_required"
    BLOCKED = "blocked"
    ISSUER_UNAVAILABLE = "issuer_unavailable"
    RATE_LIMITED = "rate_limited"
    GATEWAY_UNREACHABLE = "gateway_unreachable"
    GATEWAY_TIMEOUT = "gateway_timeout"
    GATEWAY_ERROR = "gateway_error"
    INVALID_REQUEST = "invalid_request"
    CONFIGURATION = "configuration"
    KEY_IN_FLIGHT = "key_in_flight"
    KEY_MISMATCH = "key_mismatch"
    ALREADY_DONE = "already_done"
    STALE_CHECK = "stale_check"  # Ours: too much time passed between the look at the clock and the call.
    CLOCKS_DISAGREE = "clocks_disagree"  # Ours: the money is held while the clocks cannot tell whether it came in time.
    WORKER_LOST = "worker_lost"  # Ours: the worker that had the claim fell silent.
    CONFIRMATION_MISSING = "confirmation_missing"  # Ours: the gateway never told what became of it.
    GIVEN_BACK = "given_back"  # Ours: the money came, could not be accepted, and goes back.


class Remedy(enum.StrEnum):
    """What may follow a failure."""

    SAME_KEY_AGAIN = "same_key_again"  # Nothing happened there; the same request may be sent again.
    RESOLVE_FIRST = "resolve_first"  # Something may have happened; ask before anything else.
    LATER = "later"  # A new attempt may work, after a while.
    CUSTOMER_MUST_ACT = "customer_must_act"  # A new attempt may work, with another card or an authentication.
    NEVER = "never"  # A new attempt would only fail again.


_C = FailureCode
REMEDIES: Mapping[FailureCode, Remedy] = MappingProxyType(
    {
        _C.DECLINED: Remedy.CUSTOMER_MUST_ACT,
        _C.INSUFFICIENT_FUNDS: Remedy.CUSTOMER_MUST_ACT,
        _C.LIMIT_EXCEEDED: Remedy.CUSTOMER_MUST_ACT,
        _C.EXPIRED_CARD: Remedy.CUSTOMER_MUST_ACT,
        _C.INVALID_CARD_DATA: Remedy.CUSTOMER_MUST_ACT,
        _C.AUTHENTICATION_REQUIRED: Remedy.CUSTOMER_MUST_ACT,
        _C.BLOCKED: Remedy.NEVER,
        _C.ISSUER_UNAVAILABLE: Remedy.LATER,
        _C.RATE_LIMITED: Remedy.SAME_KEY_AGAIN,
        _C.GATEWAY_UNREACHABLE: Remedy.SAME_KEY_AGAIN,
        _C.GATEWAY_TIMEOUT: Remedy.RESOLVE_FIRST,
        _C.GATEWAY_ERROR: Remedy.RESOLVE_FIRST,
        _C.INVALID_REQUEST: Remedy.NEVER,
        _C.CONFIGURATION: Remedy.NEVER,
        _C.KEY_IN_FLIGHT: Remedy.RESOLVE_FIRST,
        _C.KEY_MISMATCH: Remedy.RESOLVE_FIRST,
        _C.ALREADY_DONE: Remedy.RESOLVE_FIRST,
        _C.STALE_CHECK: Remedy.SAME_KEY_AGAIN,
        _C.CLOCKS_DISAGREE: Remedy.RESOLVE_FIRST,
        _C.WORKER_LOST: Remedy.RESOLVE_FIRST,
        _C.CONFIRMATION_MISSING: Remedy.RESOLVE_FIRST,
        _C.GIVEN_BACK: Remedy.NEVER,
    }
)


def may_retry(code: FailureCode) -> bool:
    """Tell whether a new attempt may follow one that failed with `code`: a failed attempt provably keeps no money."""
    return REMEDIES[code] is not Remedy.NEVER


# What the customer reads of a failed attempt. A doubt becomes a failure only when it is proven that no money is gone.
MESSAGES: Mapping[FailureCode, str] = MappingProxyType(
    {
        _C.DECLINED: "The payment was declined. You have not been charged.",
        _C.INSUFFICIENT_FUNDS: "The card has insufficient funds. You have not been charged.",
        _C.LIMIT_EXCEEDED: "The card's limit was exceeded. You have not been charged.",
        _C.EXPIRED_CARD: "The card has expired. You have not been charged.",
        _C.INVALID_CARD_DATA: "The card details were not accepted. You have not been charged.",
        _C.AUTHENTICATION_REQUIRED: "Your bank asks you to confirm the payment. You have not been charged.",
        _C.BLOCKED: "The payment was refused. You have not been charged.",
        _C.ISSUER_UNAVAILABLE: "Your bank could not be reached. You have not been charged.",
        _C.RATE_LIMITED: "The payment service is busy. You have not been charged.",
        _C.GATEWAY_UNREACHABLE: "The payment service could not be reached. You have not been charged.",
        _C.GATEWAY_TIMEOUT: "The payment service did not answer in time. We made sure: you have not been charged.",
        _C.GATEWAY_ERROR: "The payment service reported an error. We made sure: you have not been charged.",
        _C.INVALID_REQUEST: "The payment could not be processed. You have not been charged.",
        _C.CONFIGURATION: "The payment could not be processed. You have not been charged.",
        _C.KEY_IN_FLIGHT: "The payment service was busy with it for too long. We made sure: you have not been charged.",
        _C.KEY_MISMATCH: "The payment could not be matched. We made sure: you have not been charged.",
        _C.ALREADY_DONE: "The payment could not be completed. We made sure: you have not been charged.",
        _C.STALE_CHECK: "The payment was not sent in time. You have not been charged.",
        _C.CLOCKS_DISAGREE: "The payment could not be completed in time. We made sure: you have not been charged.",
        _C.WORKER_LOST: "The payment was interrupted. We made sure: you have not been charged.",
        _C.CONFIRMATION_MISSING: "The payment was never confirmed. We made sure: you have not been charged.",
        _C.GIVEN_BACK: "The payment could not be accepted any more. The money goes back to you by itself.",
    }
)

# What the customer reads while a doubt lasts. Every code has a sentence: a doubt can begin with any of them.
_UNKNOWN = "We are finding out whether you were charged. Please do not pay again; you will hear from us."
DOUBT_MESSAGES: Mapping[FailureCode, str] = MappingProxyType(
    {
        **dict.fromkeys(FailureCode, f"The payment has no clear answer yet. {_UNKNOWN}"),
        _C.GATEWAY_TIMEOUT: f"The payment service did not answer in time. {_UNKNOWN}",
        _C.GATEWAY_ERROR: f"The payment service reported an error. {_UNKNOWN}",
        _C.GATEWAY_UNREACHABLE: f"The payment service cannot be reached at the moment. {_UNKNOWN}",
        _C.KEY_IN_FLIGHT: f"The payment service is still busy with your payment. {_UNKNOWN}",
        _C.CLOCKS_DISAGREE: f"We are checking whether the payment came in time. {_UNKNOWN}",
        _C.WORKER_LOST: f"The payment was interrupted. {_UNKNOWN}",
        _C.CONFIRMATION_MISSING: f"The payment service has not confirmed your payment. {_UNKNOWN}",
    }
)
