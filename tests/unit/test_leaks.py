"""The search for card numbers and secrets finds what it is for, and is quiet otherwise."""

import pytest

from payments.domain.cards import has_check_digit, looks_like_card_number
from tests.leaks import leaks

# The test numbers that the card networks publish.
NUMBERS = ["4242424242424242", "5555555555554444", "378282246310005", "6011111111111117", "3530111333300000"]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_card_number_is_found_however_it_is_written(number: str) -> None:
    assert has_check_digit(number)
    assert looks_like_card_number(number)
    in_fours = " ".join(number[at : at + 4] for at in range(0, len(number), 4))
    for text in (number, f'{{"card": "{number}"}}', f"pan={number};", in_fours, in_fours.replace(" ", "-")):
        (leak,) = leaks({"log": text.encode()}, secrets=[])
        assert leak.where == "log"
        assert number not in leak.what


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424241",  # Its check digit is wrong.
        "2026-11-22T00:13:15.472954Z",
        "pay_01a20099973573f8abef84cafd74e03e",
        "42424242424242424242424242",  # Too long.
        "x4242424242424242",  # A part of some other word.
        "amount_minor: 1250",
        "22304012-3456-4784-9000-0a0a0a0a0a0a",  # A UUID that begins with sixteen decimal digits.
        "0a0a0a0a-4242-4242-4242-4242aaaaaaaa",
        "1795306395462154",
        "",
    ],
)
def test_other_numbers_are_not(text: str) -> None:
    assert leaks({"log": text.encode()}, secrets=["whsec_1"]) == []


def test_security_codes_and_secrets_are_found() -> None:
    found = leaks({"a": b'{"cvc": "123"}', "b": b"key=sk_live_1234567", "c": b"nothing"}, secrets=["sk_live_1234567"])
    assert [(leak.where, leak.what) for leak in found] == [
        ("a", "a security code after cvc"),
        ("b", "the secret sk_liv..."),
    ]


@pytest.mark.parametrize("token", ["tok_visa", "pm_4242424242424242", "cnon:card-nonce-ok", "4242", "8" * 20, ""])
def test_a_token_is_no_card_number(token: str) -> None:
    assert not looks_like_card_number(token)


def test_a_mistyped_card_number_is_still_one() -> None:
    assert looks_like_card_number("4242424242424241")
    assert looks_like_card_number("4242-4242-4242-4242")
