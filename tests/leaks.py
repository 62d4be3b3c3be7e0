"""Looks for what may be nowhere: card numbers and secrets, in whatever bytes it is given."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from payments.domain.cards import has_check_digit

# As people and programs write them: in one piece, or in groups of four with the same mark between them. The first
# digits are those of card networks (Visa, Mastercard, American Express, Discover, JCB), without which every long number
# could be one. A part of something longer, such as a UUID whose digits happen to be decimal, is none.
_NETWORK = rb"(?:4\d{3}|5[1-5]\d{2}|2[2-7]\d{2}|3[47]\d{2}|6011|65\d{2}|35\d{2})"
_NUMBER = re.compile(
    rb"(?<![\w.-])" + _NETWORK + rb"(?:\d{9,15}|([ -])\d{4}\1\d{4}\1\d{1,7}|([ -])\d{6}\2\d{5})(?![\w.-])"
)
# Beside a word that says so, three or four digits are a card's security code.
_CODE = re.compile(rb"(?i)\b(?:cvv|cvc|cvv2|cvc2|security_code)\b[\\\"']*\s*[:=]\s*[\\\"']*\d{3,4}\b")


@dataclass(frozen=True, slots=True)
class Leak:
    """Something that was found, and where; what it was is told shortened."""

    where: str
    what: str


def leaks(places: Mapping[str, bytes], *, secrets: Iterable[str]) -> list[Leak]:
    """Search every place for card numbers, security codes and these secrets."""
    return [leak for where, content in places.items() for leak in _leaks_in(where, content, secrets=list(secrets))]


def _leaks_in(where: str, content: bytes, *, secrets: list[str]) -> Iterator[Leak]:
    for found in _NUMBER.finditer(content):
        digits = re.sub(rb"\D", b"", found.group()).decode()
        if has_check_digit(digits):
            yield Leak(where, f"a card number: {digits[:6]}...{digits[-2:]}")
    for found in _CODE.finditer(content):
        yield Leak(where, f"a security code after {found.group()[:3].decode()}")
    for secret in secrets:
        if secret.encode() in content:
            yield Leak(where, f"the secret {secret[:6]}...")
