"""Card numbers, which have no business here: told apart from the tokens that stand for them."""

_SHORTEST, _LONGEST = 12, 19  # ISO/IEC 7812-1.


def looks_like_card_number(text: str) -> bool:
    """Tell whether a text is a card number, or a mistyped one: nothing but as many digits, perhaps in groups."""
    digits = text.replace(" ", "").replace("-", "")
    return digits.isdecimal() and _SHORTEST <= len(digits) <= _LONGEST


def has_check_digit(digits: str) -> bool:
    """Tell whether the last of some digits is their Luhn check digit (ISO/IEC 7812-1, annex B)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(doubled) + sum(int(digit) for digit in digits[-1::-2])) % 10 == 0
