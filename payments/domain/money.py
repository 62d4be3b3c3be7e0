"""Money is a whole number of minor units and an ISO 4217 code. No floats, no rounding."""

from collections.abc import Iterable
from dataclasses import dataclass

# Digits after the point, from ISO 4217. A currency that is not here cannot be configured.
MINOR_DIGITS = {
    "USD": 2,
    "EUR": 2,
    "GBP": 2,
    "INR": 2,
    "JPY": 0,
    "CHF": 2,
    "CAD": 2,
    "AUD": 2,
    "BHD": 3,
    "KWD": 3,
}

# The largest order: what a signed 64-bit column and every gateway still take.
MAX_AMOUNT_MINOR = 99_999_999_999


@dataclass(frozen=True, slots=True)
class Priced:
    """A quantity at a unit price in minor units."""

    quantity: int
    unit_price_minor: int


def total_minor(lines: Iterable[Priced]) -> int:
    """Add the lines up, in minor units."""
    return sum(line.quantity * line.unit_price_minor for line in lines)


def display(*, amount_minor: int, currency: str) -> str:
    """Write an amount as people read it: `12.34 USD`, `1234 JPY`.

    :raises KeyError: for a currency without known minor digits.
    """
    digits = MINOR_DIGITS[currency]
    if digits == 0:
        return f"{amount_minor} {currency}"
    whole, part = divmod(amount_minor, 10**digits)
    return f"{whole}.{part:0{digits}d} {currency}"
