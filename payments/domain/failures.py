"""Why a payment failed, in one vocabulary for all gateways, and what may be done about it."""

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
    }
)

# What the customer reads; each says what happened to the money.
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
        _C.GATEWAY_TIMEOUT: "The payment service did not answer in time. We are finding out what happened.",
        _C.GATEWAY_ERROR: "The payment service reported an error. We are finding out what happened.",
        _C.INVALID_REQUEST: "The payment could not be processed. You have not been charged.",
        _C.CONFIGURATION: "The payment could not be processed. You have not been charged.",
        _C.KEY_IN_FLIGHT: "The payment is still being processed. We are finding out what happened.",
        _C.KEY_MISMATCH: "The payment could not be matched. We are finding out what happened.",
        _C.ALREADY_DONE: "The payment was made before. We are finding out what happened.",
    }
)
