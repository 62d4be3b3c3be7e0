"""How we word requests to PayPal: amounts, orders, payment sources. Pure, and the same for the same attempt."""

import enum
import re
from decimal import Decimal

from payments.domain.money import MINOR_DIGITS
from payments.gateways.protocol import ChargeRequest

_VALUE = re.compile(r"[0-9]{1,15}(\.[0-9]{1,5})?")
# A token of PayPal's vault says of what it is: `card:8kk8451t`, `paypal:9xk...`. Its ids have no colon.
_VAULTS = ("card", "paypal")


class Intent(enum.StrEnum):
    """What an order is for. Its value is PayPal's word."""

    AUTHORIZE = "AUTHORIZE"
    CAPTURE = "CAPTURE"

    @property
    def other(self) -> "Intent":
        """The one that it is not."""
        return Intent.CAPTURE if self is Intent.AUTHORIZE else Intent.AUTHORIZE


def money(*, amount_minor: int, currency: str) -> dict[str, str]:
    """Word an amount: 1250 USD as "12.50", 1250 JPY as "1250"."""
    digits = MINOR_DIGITS[currency]
    whole, part = divmod(amount_minor, 10**digits)
    return {"currency_code": currency, "value": f"{whole}.{part:0{digits}d}" if digits else str(whole)}


def amount_minor(value: object, *, currency: str) -> int | None:
    """Read an amount in minor units; None for another currency, or what is no amount in this one."""
    if not isinstance(value, dict) or value.get("currency_code") != currency:
        return None
    text = value.get("value")
    if not isinstance(text, str) or not _VALUE.fullmatch(text):
        return None
    scaled = Decimal(text).scaleb(MINOR_DIGITS[currency])
    return int(scaled) if scaled == scaled.to_integral_value() else None


def order_key(request_key: str, intent: Intent) -> str:
    """Return the key that an order is made with. One for each intent, or one order could stand in for the other."""
    return f"{request_key}:order" if intent is Intent.AUTHORIZE else f"{request_key}:sale"


def order(request: ChargeRequest, intent: Intent) -> dict[str, object]:
    """Word an order without a payment source: to make it moves no money.

    No invoice id: PayPal refuses one that it has seen, and a payment may be attempted again. `reference_id` keeps what
    the order was made for, since its intent is what ends it (`barring`).
    """
    unit = {
        "amount": money(amount_minor=request.amount_minor, currency=request.currency),
        "custom_id": request.reference,
        "reference_id": intent.value,
    }
    worded: dict[str, object] = {"intent": intent.value, "purchase_units": [unit]}
    if request.return_url:
        worded["application_context"] = {"cancel_url": request.return_url, "return_url": request.return_url}
    return worded


def payment(request: ChargeRequest) -> dict[str, object]:
    """Word what an order is paid with; nothing for one that the customer has approved on PayPal's page."""
    if request.is_hosted:
        return {}
    kind, colon, token = request.payment_token.partition(":")
    if colon and kind in _VAULTS:
        return {"payment_source": {kind: {"vault_id": token}}}
    return {"payment_source": {"token": {"id": request.payment_token, "type": "BILLING_AGREEMENT"}}}


def barring(intent: Intent) -> list[dict[str, str]]:
    """Word the change that ends an unpaid order.

    PayPal has no call for that. With the other intent the order cannot be paid by the only call that we make for it:
    that one is refused (ACTION_DOES_NOT_MATCH_INTENT), and nobody makes the other one.
    """
    return [{"op": "replace", "path": "/intent", "value": intent.other.value}]
