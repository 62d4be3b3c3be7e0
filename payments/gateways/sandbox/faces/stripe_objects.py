"""What Stripe shows: intents, sessions, charges, refunds, errors and events, made of the ledger's charges.

The ledger has one id for a payment; Stripe has one for each of these, here with the same digits. What Stripe keeps and
the ledger has no place for is in the charge's metadata: the intent's own, and what was asked of a session.
"""

import datetime as dt
import json
import secrets
from typing import Any

from payments.gateways.sandbox.records import Answer, Change, Charge, Status

JSON = dict[str, Any]

INTENT_METADATA, SESSION = "intent_metadata", "session"

# What the issuer says, as (code, decline code).
_DECLINES = {
    "declined": ("card_declined", "generic_decline"),
    "insufficient_funds": ("card_declined", "insufficient_funds"),
    "expired_card": ("expired_card", "expired_card"),
    "limit_exceeded": ("card_declined", "card_velocity_exceeded"),
    "incorrect_cvc": ("incorrect_cvc", "incorrect_cvc"),
    "stolen_card": ("card_declined", "stolen_card"),
    "authentication_required": ("authentication_required", "authentication_required"),
    "issuer_unavailable": ("card_declined", "issuer_not_available"),
}
_REFUND_FAILURES = {
    "declined": "declined",
    "insufficient_funds": "insufficient_funds",
    "expired_card": "expired_or_canceled_card",
    "stolen_card": "lost_or_stolen_card",
}
_ATTEMPTED = frozenset({Status.AUTHORIZED, Status.CAPTURED, Status.REFUNDED, Status.DECLINED})
_TAKEN = frozenset({Status.CAPTURED, Status.REFUNDED})
_ENDED = frozenset({Status.VOIDED, Status.EXPIRED})
# A session's payment is pending in its first form; what ended in its second was never paid.
_UNPAID_VERSIONS = 2


def intent_id(charge: Charge) -> str:
    """Return the id of the payment intent."""
    return "pi_" + charge.id.removeprefix("ch_")


def session_id(charge: Charge) -> str:
    """Return the id of the checkout session."""
    return "cs_test_" + charge.id.removeprefix("ch_")


def charge_id(named: str) -> str:
    """Return the ledger's id of what Stripe calls `named`."""
    return "ch_" + named.removeprefix("cs_test_").removeprefix("pi_")


def is_session(charge: Charge) -> bool:
    """Tell whether the customer pays, or was to pay, on the gateway's page."""
    return SESSION in charge.metadata


def session_status(charge: Charge) -> str:
    """Return open, complete or expired."""
    if charge.status is Status.PENDING:
        return "open"
    is_unpaid = charge.status in _ENDED and charge.version <= _UNPAID_VERSIONS
    return "expired" if is_unpaid else "complete"


def has_intent(charge: Charge) -> bool:
    """Tell whether there is an intent: a session makes its own when the customer pays."""
    return not is_session(charge) or session_status(charge) == "complete"


def intent_object(charge: Charge, *, expand: frozenset[str] = frozenset()) -> JSON:
    """Return the payment intent, with its charge whole if `latest_charge` is in `expand`."""
    status, next_action, cancellation_reason = _intent_status(charge)
    latest: object = None
    if charge.status in _ATTEMPTED:
        is_whole = any(path.startswith("latest_charge") for path in expand)
        latest = charge_object(charge, expand=_inside("latest_charge", expand)) if is_whole else charge.id
    return {
        "id": intent_id(charge),
        "object": "payment_intent",
        "amount": charge.amount_minor,
        "amount_capturable": charge.amount_minor if charge.status is Status.AUTHORIZED else 0,
        "amount_received": charge.amount_captured_minor,
        "canceled_at": _unix(charge.updated_at) if charge.status in _ENDED else None,
        "cancellation_reason": cancellation_reason,
        "capture_method": "automatic" if charge.capture else "manual",
        "client_secret": f"{intent_id(charge)}_secret_sandbox",
        "confirmation_method": "automatic",
        "created": _unix(charge.created_at),
        "currency": charge.currency.lower(),
        "description": None,
        "last_payment_error": _card_error(charge.decline_code) if charge.decline_code is not None else None,
        "latest_charge": latest,
        "livemode": False,
        "metadata": json.loads(charge.metadata[INTENT_METADATA]),
        "next_action": next_action,
        "payment_method": None if is_session(charge) else charge.payment_token,
        "payment_method_types": ["card"],
        "status": status,
    }


def _intent_status(charge: Charge) -> tuple[str, JSON | None, str | None]:
    match charge.status:
        case Status.PENDING if charge.redirect_url is not None:
            action = {"url": charge.redirect_url, "return_url": charge.return_url}
            return "requires_action", {"type": "redirect_to_url", "redirect_to_url": action}, None
        case Status.PENDING | Status.APPROVED:  # Nothing is only approved here: a session holds when it is paid.
            return "processing", None, None
        case Status.AUTHORIZED:
            return "requires_capture", None, None
        case Status.CAPTURED | Status.REFUNDED:
            return "succeeded", None, None
        case Status.DECLINED:
            return "requires_payment_method", None, None
        case Status.VOIDED:
            return "canceled", None, None
        case Status.EXPIRED:
            return "canceled", None, "automatic"


def charge_object(charge: Charge, *, expand: frozenset[str] = frozenset()) -> JSON:
    """Return the charge that the intent made, with what was given back of it if `refunds` is in `expand`."""
    is_declined = charge.status is Status.DECLINED
    failure = _card_error(charge.decline_code) if charge.decline_code is not None else {}
    return {
        "id": charge.id,
        "object": "charge",
        "amount": charge.amount_minor,
        "amount_captured": charge.amount_captured_minor,
        "amount_refunded": charge.amount_refunded_minor,
        "billing_details": {"address": None, "email": None, "name": None, "phone": None},
        "captured": charge.status in _TAKEN,
        "created": _unix(charge.created_at),
        "currency": charge.currency.lower(),
        "disputed": False,
        "failure_code": failure.get("code"),
        "livemode": False,
        "metadata": json.loads(charge.metadata[INTENT_METADATA]),
        "paid": not is_declined,
        "payment_intent": intent_id(charge),
        "refunded": charge.status is Status.REFUNDED,
        **({"refunds": _refunds(charge)} if "refunds" in expand else {}),
        "status": "failed" if is_declined else "succeeded",
    }


def _refunds(charge: Charge) -> JSON:
    # The ledger keeps the sum, so it is shown as one refund.
    returned = charge.amount_refunded_minor
    refunds = [refund_object(charge, amount_minor=returned, expand=frozenset())] if returned else []
    return {"object": "list", "data": refunds, "has_more": False, "url": f"/v1/charges/{charge.id}/refunds"}


def _inside(name: str, expand: frozenset[str]) -> frozenset[str]:
    return frozenset(path.removeprefix(f"{name}.") for path in expand if path.startswith(f"{name}."))


def session_object(charge: Charge, *, expand: frozenset[str] = frozenset()) -> JSON:
    """Return the checkout session, with its intent whole if `payment_intent` is in `expand`."""
    asked = json.loads(charge.metadata[SESSION])
    status = session_status(charge)
    intent: object = None
    if has_intent(charge):
        intent = intent_id(charge)
        if expand:
            intent = intent_object(charge, expand=_inside("payment_intent", expand))
    return {
        "id": session_id(charge),
        "object": "checkout.session",
        "amount_subtotal": charge.amount_minor,
        "amount_total": charge.amount_minor,
        "cancel_url": asked["cancel_url"],
        "client_reference_id": asked["client_reference_id"],
        "created": _unix(charge.created_at),
        "currency": charge.currency.lower(),
        "expires_at": asked["expires_at"],
        "livemode": False,
        "metadata": asked["metadata"],
        "mode": "payment",
        "payment_intent": intent,
        "payment_method_types": ["card"],
        "payment_status": "paid" if charge.status in _TAKEN else "unpaid",
        "status": status,
        "success_url": asked["success_url"],
        "url": charge.redirect_url if status == "open" else None,
    }


def refund_object(
    charge: Charge, *, amount_minor: int, expand: frozenset[str], decline_code: str | None = None
) -> JSON:
    """Return a refund of `amount_minor`; with a `decline_code`, one that failed."""
    reason = None if decline_code is None else _REFUND_FAILURES.get(decline_code, "unknown")
    return {
        "id": f"re_{secrets.token_hex(12)}",
        "object": "refund",
        "amount": amount_minor,
        "charge": charge_object(charge, expand=_inside("charge", expand)) if expand else charge.id,
        "created": _unix(charge.updated_at),
        "currency": charge.currency.lower(),
        "metadata": {},
        "payment_intent": intent_id(charge),
        "reason": None,
        "status": "succeeded" if reason is None else "failed",
        **({} if reason is None else {"failure_reason": reason}),
    }


def word_error(status: int, code: str | None, message: str, *, kind: str, **more: object) -> Answer:
    """Return an error answer; what is None is left out."""
    told = {"code": code, "message": message, "type": kind, **more}
    return Answer(status, json.dumps({"error": {name: value for name, value in told.items() if value is not None}}))


def word_decline(charge: Charge, decline_code: str) -> Answer:
    """Return the 402 of a card that was declined, with the intent inside."""
    return Answer(402, json.dumps({"error": {**_card_error(decline_code), "payment_intent": intent_object(charge)}}))


def _card_error(decline_code: str) -> JSON:
    code, particular = _DECLINES.get(decline_code, ("card_declined", decline_code))
    message = f"Your card was declined: {particular.replace('_', ' ')}."
    return {"code": code, "decline_code": particular, "message": message, "type": "card_error"}


def word_event(event_id: str, change: Change, now: dt.datetime) -> str:
    """Return an event's JSON text, with the object as it was when the event happened."""
    kind, told = _event_of(change)
    return json.dumps(
        {
            "id": event_id,
            "object": "event",
            "api_version": "2022-11-15",
            "created": int(now.timestamp()),
            "data": {"object": told},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": change.charge.idempotency_key},
            "type": kind,
        }
    )


def _event_of(change: Change) -> tuple[str, JSON]:
    charge = change.charge
    if change.event_type == "charge.refunded":
        return "charge.refunded", charge_object(charge)
    # A session tells how it ended; what becomes of its intent later is the intent's to tell.
    if is_session(charge) and charge.version <= _UNPAID_VERSIONS:
        match charge.status:
            case Status.PENDING | Status.APPROVED:
                # Stripe tells nothing of a new session, and the ledger something of every change.
                return "payment_intent.created", intent_object(charge)
            case Status.DECLINED:
                return "checkout.session.async_payment_failed", session_object(charge)
            case Status.VOIDED | Status.EXPIRED:
                return "checkout.session.expired", session_object(charge)
            case Status.AUTHORIZED | Status.CAPTURED | Status.REFUNDED:
                return "checkout.session.completed", session_object(charge)
    return _INTENT_EVENTS[charge.status], intent_object(charge)


_INTENT_EVENTS = {
    Status.PENDING: "payment_intent.processing",
    Status.AUTHORIZED: "payment_intent.amount_capturable_updated",
    Status.CAPTURED: "payment_intent.succeeded",
    Status.REFUNDED: "payment_intent.succeeded",
    Status.DECLINED: "payment_intent.payment_failed",
    Status.VOIDED: "payment_intent.canceled",
    Status.EXPIRED: "payment_intent.canceled",
}


def _unix(at: str) -> int:
    return int(dt.datetime.fromisoformat(at).timestamp())
