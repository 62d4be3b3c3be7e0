"""What we say to Stripe, as the SDK's parameters: the same request always says the same."""

from typing import Final, cast

from stripe.params import PaymentIntentCreateParams, RefundCreateParams
from stripe.params.checkout import SessionCreateParams

from payments.gateways.protocol import ActRequest, ChargeRequest

# Stripe finds neither intents nor sessions by a reference of ours; these labels tell which are. An intent that a
# checkout session made is no charge of its own for us: the session is.
REFERENCE, MADE_BY, CHARGE = "reference", "made_by", "charge"
CHECKOUT: Final = "checkout_session"

# Of the API reference, "Create a Checkout Session", `expires_at`: 30 minutes to 24 hours after the creation. A window
# is mostly shorter, and may be nearly over when the session is made; so the session ends that long after the window.
# Until then our own window rules: what is still unpaid when it ends is ended there by us. The margin is for clocks
# that disagree and for the call's own time.
SHORTEST_SESSION_SECONDS: Final = 30 * 60
_MARGIN_SECONDS: Final = 5 * 60
# 24 hours, less what is added to the window, and some more for a session that is made early.
LONGEST_WINDOW_SECONDS: Final = 23 * 3600


def charge_params(request: ChargeRequest, *, capture: bool) -> PaymentIntentCreateParams:
    """Word a charge of a token: one intent, confirmed in the same call.

    Where the bank wants the customer, the customer is sent there, if there is a way back; else the intent shall fail.
    """
    params: PaymentIntentCreateParams = {
        "amount": request.amount_minor,  # In the smallest unit, which for JPY is the yen: as we count.
        "currency": request.currency.lower(),
        "payment_method": request.payment_token,  # Of a card: no other type is taken unless it is asked for.
        "capture_method": "automatic" if capture else "manual",
        "confirm": True,
        "metadata": {REFERENCE: request.reference},
        "expand": ["latest_charge"],
    }
    if request.return_url:
        params["return_url"] = request.return_url
    else:
        params["error_on_requires_action"] = True
    return params


def session_params(request: ChargeRequest, *, capture: bool) -> SessionCreateParams:
    """Word a payment on Stripe's own page."""
    params: SessionCreateParams = {
        "mode": "payment",
        "client_reference_id": request.reference,
        "metadata": {REFERENCE: request.reference},
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": request.currency.lower(),
                    "unit_amount": request.amount_minor,
                    "product_data": {"name": request.reference},
                },
            }
        ],
        "payment_intent_data": {
            "capture_method": "automatic" if capture else "manual",
            "metadata": {REFERENCE: request.reference, MADE_BY: CHECKOUT},
        },
    }
    if request.return_url:
        params["success_url"] = params["cancel_url"] = request.return_url
    if request.expires_at_unix:
        params["expires_at"] = request.expires_at_unix + SHORTEST_SESSION_SECONDS + _MARGIN_SECONDS
    # Else the page would offer whatever the Dashboard says, and a bank debit is not paid for days. The SDK's types are
    # of a later version than ours.
    cast("dict[str, object]", params)["payment_method_types"] = ["card"]
    return params


def refund_params(request: ActRequest, *, intent: str) -> RefundCreateParams:
    """Word a refund. Its label tells its events which charge it is of: a session's intent does not name the session."""
    return {
        "payment_intent": intent,
        "amount": request.amount_minor,
        "metadata": {CHARGE: request.charge_reference},
        "expand": ["charge.refunds"],
    }


def search_query(reference: str) -> str:
    """Word a search for intents by our reference, in Stripe's query language."""
    escaped = reference.replace("\\", "\\\\").replace('"', '\\"')
    return f'metadata["{REFERENCE}"]:"{escaped}"'
