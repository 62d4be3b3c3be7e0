"""What the demo shop calls the payment methods: those that are offered, for the currency of an item."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from payments import config

# A method that is not here is shown by its name.
_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "card": "Card",
        "stripe": "Card, by Stripe",
        "stripe_page": "Stripe's payment page",
        "paypal": "PayPal",
        "square": "Card, by Square",
        "square_page": "Square's payment page",
        "phonepe": "PhonePe",
    }
)


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to pay, as the shop shows it."""

    name: str
    label: str


def choices(*, currency: str) -> list[Choice]:
    """List the methods that take this currency, the usual one first."""
    return [
        Choice(name=method.name, label=_LABELS.get(method.name, method.name))
        for method in config.payment_methods().values()
        if currency in method.currencies
    ]
