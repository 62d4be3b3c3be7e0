"""Everything that would send a customer from the return page to somewhere else, and does not."""

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from pytest_django import Settings

from payments import lifecycle, returns
from payments.checks import refuse_to_start
from payments.domain.errors import PaymentExpired
from payments.models import PaymentAttempt, StockItem
from tests import factories

pytestmark = pytest.mark.django_db

SHOP = "https://www.okpuja.com"
FAILURE = f"{SHOP}/astro-booking-failed"
PARAMETERS = ["next", "url", "redirect_url", "return_to", "redirect", "success_url", "failure_url"]
EVIL = [
    "https://evil.com",
    "//evil.com",
    "/%5Cevil.com",
    "%5C%5Cevil.com",
    "https:evil.com",
    "javascript:alert(1)",
    "data:text/html,evil.com",
    "https://www.okpuja.com@evil.com/",
    "https://evil.com%23@www.okpuja.com/",
    "https://www.okpuja.com.evil.com/",
    "https://evilokpuja.com/",
    "%0d%0aLocation:%20https://evil.com",
    "https://evil.com%00.okpuja.com/",
]


@pytest.fixture(autouse=True)
def astrology(settings: Settings) -> None:
    use(settings, FAILURE)
    settings.PAYMENT_RETURN_ORIGINS = [SHOP]


def use(settings: Settings, url: str) -> None:
    settings.PAYMENT_ORDER_KINDS = {"astrology": {"success_url": url, "failure_url": url}}


def expired(customer: User, item: StockItem, *, order_id: str = "ASTRO_BOOK_1A2B3C4D") -> PaymentAttempt:
    view = lifecycle.open_order(
        customer_id=customer.id,
        lines=[lifecycle.RequestedLine(sku=item.sku, quantity=1)],
        expected_total_minor=item.unit_price_minor,
        currency="USD",
        method="card",
        order_id=order_id,
        kind="astrology",
    )
    factories.age_attempt(view.attempt.id, seconds_left=-1)
    with pytest.raises(PaymentExpired):
        factories.submit(view.attempt)
    view.attempt.refresh_from_db()
    return view.attempt


def come_back(attempt: PaymentAttempt, more: str = "", **headers: str) -> Any:
    parts = urlsplit(returns.return_url(attempt))
    return Client(headers=headers).get(f"{parts.path}?{parts.query}{more}")


@pytest.mark.parametrize("evil", EVIL)
def test_no_parameter_is_ever_followed(customer: User, item: StockItem, evil: str) -> None:
    attempt = expired(customer, item)
    for parameter in PARAMETERS:
        answer = come_back(attempt, f"&{parameter}={evil}")
        assert (answer.status_code, answer["Location"]) == (303, FAILURE)


@pytest.mark.parametrize("evil", EVIL)
def test_no_parameter_is_followed_or_shown_when_the_payment_is_not_known(db: None, evil: str) -> None:
    query = "&".join(f"{parameter}={evil}" for parameter in ["payment", *PARAMETERS])
    answer = Client().get(f"/payments/return/sandbox/?{query}")
    assert answer.status_code == 404
    assert "Location" not in answer
    assert b"evil" not in answer.content


@pytest.mark.parametrize("evil", EVIL)
def test_no_parameter_gets_into_the_page_that_looks_again(customer: User, item: StockItem, evil: str) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    answer = come_back(attempt, "".join(f"&{parameter}={evil}" for parameter in ["look", *PARAMETERS]))
    assert answer.status_code == 200
    assert b'http-equiv="refresh" content="2;url=?payment=pay_' in answer.content
    assert b"evil" not in answer.content


def test_the_host_of_the_request_leads_nowhere(customer: User, item: StockItem) -> None:
    attempt = expired(customer, item)
    for headers in [{"X-Forwarded-Host": "evil.com"}, {"Forwarded": "host=evil.com"}, {"Origin": "https://evil.com"}]:
        assert come_back(attempt, **headers)["Location"] == FAILURE
    parts = urlsplit(returns.return_url(attempt))
    answer = Client().get(f"{parts.path}?{parts.query}", headers={"host": "evil.com"})
    assert answer.status_code == 400
    assert "Location" not in answer
    waiting = factories.submit(factories.place_order(customer=customer, item=item))
    assert waiting.return_url.startswith("http://127.0.0.1:8000/payments/return/sandbox/?payment=pay_")
    assert b"evil" not in come_back(waiting, **{"X-Forwarded-Host": "evil.com"}).content


@pytest.mark.parametrize(
    "template",
    [
        "https://evil.com/",
        "https://www.okpuja.com.evil.com/",
        "https://evilokpuja.com/",
        "https://www.okpuja.com:8443/",
        "http://www.okpuja.com/",
        "https://www.okpuja.com@evil.com/",
        "https://www.okpuja.com\\@evil.com/",
        "https://www.okpuja.com{order_id}/",
        "//www.okpuja.com/",
        "javascript:alert(1)//www.okpuja.com/",
    ],
)
def test_a_template_that_leads_elsewhere_does_not_start_and_is_not_followed_either(
    settings: Settings,
    customer: User,
    item: StockItem,
    captured_logs: list[MutableMapping[str, Any]],
    template: str,
) -> None:
    attempt = expired(customer, item)
    use(settings, template)
    with pytest.raises(ImproperlyConfigured, match="PAYMENT_ORDER_KINDS"):
        refuse_to_start()
    answer = come_back(attempt)  # Of a process that was started in spite of it.
    assert answer.status_code == 200
    assert "Location" not in answer
    assert b"The time to pay has run out." in answer.content
    assert [entry["log_level"] for entry in captured_logs if entry["event"] == "return_target_refused"] == ["error"]


@pytest.mark.parametrize(
    ("order_id", "quoted"),
    [
        ("@evil.com", "%40evil.com"),
        (".evil.com", ".evil.com"),
        ("%0d%0aLocation:https://evil.com", "%250d%250aLocation%3Ahttps%3A%2F%2Fevil.com"),
        ("a\r\nLocation: https://evil.com", "a%0D%0ALocation%3A%20https%3A%2F%2Fevil.com"),
        ("x&next=//evil.com#", "x%26next%3D%2F%2Fevil.com%23"),
        ("/../../\\evil.com", "%2F..%2F..%2F%5Cevil.com"),
        ("{payment_id}", "%7Bpayment_id%7D"),
    ],
)
def test_the_number_of_an_order_leads_nowhere(
    settings: Settings, customer: User, item: StockItem, order_id: str, quoted: str
) -> None:
    use(settings, f"{SHOP}/booking/{{order_id}}?id={{order_id}}")
    answer = come_back(expired(customer, item, order_id=order_id))  # The API takes no such number; a host's call may.
    assert answer["Location"] == f"{SHOP}/booking/{quoted}?id={quoted}"
