"""Where customers may be sent, and everything that only looks like it."""

import pytest

from payments.domain import returns

SHOP = "https://www.okpuja.com"
SUCCESS = f"{SHOP}/astro-booking-success?astro_book_id={{order_id}}"


def problems(template: str, *, may_be_local: bool = False) -> list[str]:
    return list(returns.problems(template, origins={SHOP, "http://localhost:3000"}, may_be_local=may_be_local))


def test_a_template_is_filled_with_the_number_of_the_order() -> None:
    assert problems(SUCCESS) == []
    filled = returns.fill(SUCCESS, order_id="ASTRO_BOOK_1A2B3C4D", payment_id="pay_1")
    assert filled == "https://www.okpuja.com/astro-booking-success?astro_book_id=ASTRO_BOOK_1A2B3C4D"


@pytest.mark.parametrize(
    ("order_id", "quoted"),
    [
        ("@evil.com", "%40evil.com"),
        ("%0d%0aLocation: https://evil.com", "%250d%250aLocation%3A%20https%3A%2F%2Fevil.com"),
        ("1\r\nSet-Cookie: a=b", "1%0D%0ASet-Cookie%3A%20a%3Db"),
        ("1&next=https://evil.com#x", "1%26next%3Dhttps%3A%2F%2Fevil.com%23x"),
        ("../../\\evil.com", "..%2F..%2F%5Cevil.com"),
        ("{payment_id}", "%7Bpayment_id%7D"),
        ("\u00fc", "%C3%BC"),
    ],
)
def test_the_number_of_an_order_stays_one_piece_of_the_url(order_id: str, quoted: str) -> None:
    filled = returns.fill(SUCCESS, order_id=order_id, payment_id="pay_1")
    assert filled == f"{SHOP}/astro-booking-success?astro_book_id={quoted}"
    assert returns.origin_of(filled) == SHOP


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("", "is not of the form"),
        ("/success", "is not of the form"),
        ("//www.okpuja.com/success", "is not of the form"),
        ("/\\www.okpuja.com/", "is not of the form"),
        ("https:/www.okpuja.com/", "is not of the form"),
        ("https:\\\\www.okpuja.com/", "is not of the form"),
        ("https://www.okpuja.com", "is not of the form"),
        ("https://www.okpuja.com\\@evil.com/", "is not of the form"),
        ("https://www.okpuja.com@evil.com/", "is not of the form"),
        ("https://evil.com:443@www.okpuja.com/", "is not of the form"),
        ("https://user:secret@www.okpuja.com/", "is not of the form"),
        ("https://www.okpuja.com/\r\nLocation: https://evil.com/", "is not of the form"),
        ("https://www.okpuja.com/a b", "is not of the form"),
        ("https://www.okpuja.com/\x00", "is not of the form"),
        ("https://www.okpuja.com/\u00fc", "is not of the form"),
        (" https://www.okpuja.com/", "is not of the form"),
        ("https://www.okpuja.com./", "is not of the form"),
        ("https://www.okpuja.com:99999/", "is not of the form"),
        ("https://www.okpuja.com:0443/", "is not of the form"),
        ("javascript:alert(1)", "is not of the form"),
        ("data:text/html,hello", "is not of the form"),
        ("https://www.okpuja.com{order_id}/", "is not of the form"),
        ("https://{order_id}.okpuja.com/", "is not of the form"),
        ("{order_id}", "is not of the form"),
        ("https://www.okpuja.com.evil.com/", "leads to https://www.okpuja.com.evil.com, which PAYMENT_RETURN_ORIGINS"),
        ("https://evilokpuja.com/", "leads to https://evilokpuja.com, which PAYMENT_RETURN_ORIGINS"),
        ("https://okpuja.com/", "leads to https://okpuja.com, which PAYMENT_RETURN_ORIGINS"),
        ("https://www.okpuja.com:8443/", "leads to https://www.okpuja.com:8443, which PAYMENT_RETURN_ORIGINS"),
        ("http://www.okpuja.com/", "leads to http://www.okpuja.com, which is not https"),
        ("http://localhost:3000/", "leads to http://localhost:3000, which is not https"),
        ("https://www.okpuja.com/{order}", "has the placeholder {order}; known are {order_id}, {payment_id}"),
        ("https://www.okpuja.com/{order_id.__class__}", "has the placeholder {order_id.__class__}"),
        ("https://www.okpuja.com/{order_id!r}", "has the placeholder {order_id!r}"),
        ("https://www.okpuja.com/{order_id:>99999999}", "has the placeholder {order_id:>99999999}"),
        ("https://www.okpuja.com/{}", "has the placeholder {}"),
        ("https://www.okpuja.com/{order_id", "cannot be read"),
        (f"https://www.okpuja.com/{'a' * 2048}", "is not of the form"),
    ],
)
def test_a_template_that_leads_elsewhere_is_refused(template: str, named: str) -> None:
    found = problems(template)
    assert len(found) == 1
    assert found[0].startswith(named)


@pytest.mark.parametrize(
    "url", ["https://WWW.OKPUJA.com/", "https://www.okpuja.com:443/x", "https://www.okpuja.com/a/b?c=d&e=%20#f"]
)
def test_one_origin_has_many_spellings(url: str) -> None:
    assert returns.origin_of(url) == SHOP


def test_this_machine_needs_no_tls_where_that_is_allowed() -> None:
    assert problems("http://localhost:3000/done/{order_id}", may_be_local=True) == []
    assert returns.is_secure("http://[::1]:8000", may_be_local=True)
    assert not returns.is_secure("http://localhost.evil.com", may_be_local=True)
    assert not returns.is_secure("http://192.0.2.1:8000", may_be_local=True)
