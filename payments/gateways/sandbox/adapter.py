"""Speaks to the sandbox gateway, as the other adapters speak to theirs."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import structlog

from payments.domain.failures import FailureCode
from payments.domain.hashing import canonical_bytes
from payments.domain.outcomes import Authorized, Captured, Declined, InDoubt, NeverSent, Outcome, Pending
from payments.gateways.protocol import ChargeRequest
from payments.gateways.transport import Answer, Broken, Refused, Transport

log = structlog.get_logger(__name__)

_C = FailureCode

# The sandbox's own decline codes (payments/gateways/sandbox/behaviours.py) in the vocabulary of all gateways.
DECLINES: Mapping[str, FailureCode] = MappingProxyType(
    {
        "declined": _C.DECLINED,
        "insufficient_funds": _C.INSUFFICIENT_FUNDS,
        "expired_card": _C.EXPIRED_CARD,
        "limit_exceeded": _C.LIMIT_EXCEEDED,
        "incorrect_cvc": _C.INVALID_CARD_DATA,
        "stolen_card": _C.BLOCKED,
        "authentication_required": _C.AUTHENTICATION_REQUIRED,
        "issuer_unavailable": _C.ISSUER_UNAVAILABLE,
    }
)

# Refusals that prove that the gateway did nothing under this key, now and before.
_REFUSALS: Mapping[int, FailureCode] = MappingProxyType(
    {400: _C.INVALID_REQUEST, 401: _C.CONFIGURATION, 403: _C.CONFIGURATION, 404: _C.CONFIGURATION}
)
# Refusals of this request that leave open what became of an earlier one under the same key.
_DOUBTS: Mapping[str, FailureCode] = MappingProxyType(
    {
        "idempotency_key_in_use": _C.KEY_IN_FLIGHT,
        "idempotency_key_mismatch": _C.KEY_MISMATCH,
    }
)
_CREATED, _PAYMENT_REQUIRED, _TOO_MANY = 201, 402, 429


class SandboxGateway:
    """The sandbox gateway of payments/gateways/sandbox/, over real HTTP."""

    def __init__(self, *, transport: Transport) -> None:
        self._transport = transport

    def charge(self, request: ChargeRequest, *, deadline_seconds: float) -> Outcome:
        """Charge and capture in one call."""
        body: dict[str, object] = {
            "reference": request.reference,
            "amount_minor": request.amount_minor,
            "currency": request.currency,
            "payment_token": request.payment_token,
            "capture": True,
        }
        result = self._transport.call(
            "POST",
            "/v1/charges",
            body=canonical_bytes(body),
            headers={"Content-Type": "application/json", "Idempotency-Key": request.idempotency_key},
            deadline_seconds=deadline_seconds,
        )
        match result:
            case Refused(detail=detail):
                return NeverSent(code=_C.GATEWAY_UNREACHABLE, detail=detail)
            case Broken(detail=detail, by_deadline=by_deadline):
                return InDoubt(code=_C.GATEWAY_TIMEOUT if by_deadline else _C.GATEWAY_ERROR, detail=detail)
            case Answer() as answer:
                return read_answer(answer, request=request)

    def close(self) -> None:
        """Let go of every connection."""
        self._transport.close()


def read_answer(answer: Answer, *, request: ChargeRequest) -> Outcome:
    """Turn an HTTP answer to `request` into an outcome; what proves nothing is a doubt."""
    try:
        content = json.loads(answer.body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        return InDoubt(code=_C.GATEWAY_ERROR, detail=f"HTTP {answer.status} without a JSON object")
    if answer.status == _CREATED:
        return _read_charge(content, request=request)
    error = content.get("error")
    if not isinstance(error, dict):
        error = {}
    code = str(error.get("code", ""))
    if answer.status == _PAYMENT_REQUIRED and code == "card_declined":
        return _read_decline(error)
    if answer.status == _TOO_MANY:
        return NeverSent(code=_C.RATE_LIMITED, detail=f"HTTP {answer.status} {code}")
    if code in _DOUBTS:
        return InDoubt(code=_DOUBTS[code], detail=f"HTTP {answer.status} {code}")
    if answer.status in _REFUSALS and code:
        return Declined(code=_REFUSALS[answer.status], gateway_code=code, reference=None)
    return InDoubt(code=_C.GATEWAY_ERROR, detail=f"HTTP {answer.status} {code}")


def _read_charge(charge: Mapping[str, Any], *, request: ChargeRequest) -> Outcome:
    reference, status = charge.get("id"), charge.get("status")
    if not isinstance(reference, str) or not reference:
        return InDoubt(code=_C.GATEWAY_ERROR, detail=f"a charge with the id {reference!r}")
    asked = {"reference": request.reference, "amount_minor": request.amount_minor, "currency": request.currency}
    said = {name: charge.get(name) for name in asked}
    if said != asked:
        return InDoubt(code=_C.GATEWAY_ERROR, detail=f"the charge {reference} is another one: {said}")
    match status:
        case "captured":
            return Captured(reference=reference)
        case "authorized":
            return Authorized(reference=reference)
        case "pending":
            redirect_url = charge.get("redirect_url")
            return Pending(reference=reference, redirect_url=None if redirect_url is None else str(redirect_url))
        case _:
            return InDoubt(code=_C.GATEWAY_ERROR, detail=f"a charge with status {status!r}")


def _read_decline(error: Mapping[str, Any]) -> Outcome:
    gateway_code = str(error.get("decline_code", ""))
    charge = error.get("charge")
    reference = str(charge["id"]) if isinstance(charge, dict) and charge.get("id") else None
    code = DECLINES.get(gateway_code)
    if code is None:
        # Somebody has to classify it; until then it is a plain decline, never retried blindly.
        log.error("unknown_gateway_code", gateway="sandbox", gateway_code=gateway_code)
        code = _C.DECLINED
    return Declined(code=code, gateway_code=gateway_code, reference=reference)
