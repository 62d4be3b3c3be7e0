"""The payment timer's own front end, word for word as its documentation has it, against a running server."""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from playwright.sync_api import Page, Route, expect

from payments.models import StockItem
from tests.factories import age_attempt, make_item, make_user, place_order
from tests.system import System

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SNIPPET = """
// Check payment status
async function checkPaymentStatus(orderId) {
    const response = await fetch(`/api/orders/payment-status/${orderId}/`);
    const data = await response.json();
    
    if (data.is_payment_window_active) {
        // Show countdown timer
        updateCountdown(data.time_remaining_seconds);
    } else {
        // Payment expired, redirect to cart
        window.location.href = '/cart/';
    }
}

// Start countdown timer
function updateCountdown(remainingSeconds) {
    const minutes = Math.floor(remainingSeconds / 60);
    const seconds = remainingSeconds % 60;
    document.getElementById('timer').textContent = `${minutes}:${seconds.toString().padStart(2, '0')}`;
}
"""  # noqa: W293 - word for word, its spaces too

ACTIVE = """
{
    "order_id": "ORD-ABC123",
    "status": "under_paying",
    "payment_status": "pending",
    "is_payment_window_active": true,
    "time_remaining_seconds": 720,
    "payment_expires_at": "2025-07-25T10:30:00Z",
    "message": "Payment window is still active"
}
"""
EXPIRED = """
{
    "order_id": "ORD-ABC123",
    "status": "under_paying",
    "payment_status": "pending",
    "is_payment_window_active": false,
    "time_remaining_seconds": 0,
    "message": "Payment window has expired. Order will be cancelled automatically."
}
"""

# A page of the host: it holds the snippet and asks once a second, as the documentation says "real-time".
HOST_PAGE = f"""<!doctype html><title>Pay</title><p id="timer"></p>
<script>{SNIPPET}</script>
<script>
checkPaymentStatus('ORD-ABC123');
setInterval(() => checkPaymentStatus('ORD-ABC123'), 1000);
</script>"""


@pytest.fixture
def customer_page(page: Page, system: System) -> Page:
    """A page of the host, of a customer who is signed in, and the host's cart."""
    customer = make_user("customer")
    serve(page, f"{system.web_url}/checkout/", HOST_PAGE)
    serve(page, f"{system.web_url}/cart/", "<!doctype html><title>Cart</title>")
    page.context.add_cookies([{"name": "sessionid", "value": session_of(customer), "url": system.web_url}])
    return page


def serve(page: Page, url: str, html: str) -> None:
    def answer(route: Route) -> None:
        route.fulfill(body=html, content_type="text/html")

    page.route(url, answer)


def session_of(user: User) -> str:
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    assert session.session_key
    return session.session_key


def test_snippet_counts_down_and_goes_to_the_cart_when_the_window_is_over(customer_page: Page, system: System) -> None:
    attempt = place_order(customer=User.objects.get(username="customer"), item=make_item("MUG"), order_id="ORD-ABC123")
    page, timer = customer_page, customer_page.locator("#timer")

    page.goto(f"{system.web_url}/checkout/")

    expect(timer).to_have_text(re.compile(r"^14:\d\d$"))
    first = timer.inner_text()
    expect(timer).not_to_have_text(first)
    assert timer.inner_text() < first
    age_attempt(attempt.id, seconds_left=59)
    expect(timer).to_have_text(re.compile(r"^0:\d\d$"))
    age_attempt(attempt.id, seconds_left=-1)
    page.wait_for_url("**/cart/")
    expect(page).to_have_title("Cart")


def test_both_response_examples_hold(
    system: System, customer: User, item: StockItem, token_for: Callable[[User], str]
) -> None:
    system.beat.stop()  # The sweep would cancel the order at once, and the second example is of the moment before.
    system.worker.stop()
    http = system.http(token_for(customer))
    attempt = place_order(customer=customer, item=item, order_id="ORD-ABC123")

    def shows(example: dict[str, Any], *, but: set[str]) -> dict[str, Any]:
        answer: dict[str, Any] = http.get("/api/orders/payment-status/ORD-ABC123/").json()
        assert {name: type(answer.get(name)) for name in example} == {name: type(example[name]) for name in example}
        assert {name: answer[name] for name in example if name not in but} == {
            name: value for name, value in example.items() if name not in but
        }
        return answer

    active = json.loads(ACTIVE)
    age_attempt(attempt.id, seconds_left=720.9)
    shown = shows(active, but={"time_remaining_seconds", "payment_expires_at"})
    assert 0 < shown["time_remaining_seconds"] <= 720
    attempt.refresh_from_db()
    told = datetime.fromisoformat(shown["payment_expires_at"])
    assert timedelta(0) <= attempt.expires_at - told < timedelta(milliseconds=1)
    assert shown["payment_expires_at"].endswith("Z")

    expired = json.loads(EXPIRED)
    age_attempt(attempt.id, seconds_left=-0.1)
    assert "payment_expires_at" not in shows(expired, but=set())
