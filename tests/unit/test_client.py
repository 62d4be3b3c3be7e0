"""The Python client against servers that answer oddly, late or never."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from payments import client as paywindow
from payments.client import Line, PaywindowClient
from tests.faults import SilentServer
from tests.proxy import Fault, SpoilingProxy, says

LIMITED = json.dumps({"status": 429, "code": "rate_limited", "title": "Too many", "detail": "Wait.", "limit": 5})


@pytest.fixture
def proxy() -> Iterator[SpoilingProxy]:
    with SpoilingProxy(upstream_port=0).running() as running:
        yield running


def connect(url: str, *, timeout_seconds: float = 10, deadline_seconds: float = 20) -> PaywindowClient:
    return PaywindowClient(url, token="made-up", timeout_seconds=timeout_seconds, deadline_seconds=deadline_seconds)


def place(client: PaywindowClient, *, key: str) -> None:
    with client:
        client.place_order(lines=[Line("MUG", 1)], total_minor=1250, currency="USD", idempotency_key=key)


def test_pause_behind_the_deadline_is_not_waited_for(proxy: SpoilingProxy) -> None:
    proxy.faults.append(says(429, body=LIMITED, headers="Retry-After: 3600\r\n"))
    with pytest.raises(paywindow.RateLimited) as limited:
        place(connect(proxy.url), key="cart-18")
    assert (limited.value.retry_after_seconds, limited.value.facts) == (3600.0, {"limit": 5})
    assert limited.value.idempotency_key == "cart-18"
    assert len(proxy.requests) == 1


def test_silent_server_is_given_up_at_the_deadline() -> None:
    server = SilentServer()
    try:
        client = connect(f"http://127.0.0.1:{server.port}", timeout_seconds=0.5, deadline_seconds=2)
        with pytest.raises(paywindow.Unreachable, match="ReadTimeout") as unreachable:
            place(client, key="cart-20")
        assert unreachable.value.idempotency_key == "cart-20"
        assert 2 <= server.connections <= 4
    finally:
        server.release()


def test_answer_without_end_is_given_up_at_the_deadline() -> None:
    drip = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    ends = threading.Event()
    with SpoilingProxy(upstream_port=0, drips=drip, ends=ends).running() as proxy:
        with pytest.raises(paywindow.Unreachable):
            connect(proxy.url, timeout_seconds=0.5, deadline_seconds=1.5).order_status(order_id="ORD-1")
        ends.set()
        assert len(proxy.requests) >= 2


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (says(201, body="<html>", content_type="text/html"), "the whole"),
        (
            says(201, body='{"id": "ord_1", "redirect_url": "https://secret"}', content_type="application/json"),
            "payment",
        ),
        (says(302, headers="Location: /elsewhere\r\n"), "302, and not by Paywindow"),
        (says(404, body="<html>", content_type="text/html"), "404, and not by Paywindow"),
        (says(409, body="[]"), "409, and not by Paywindow"),
    ],
)
def test_answer_of_somebody_else_is_told_as_such(proxy: SpoilingProxy, answer: Fault, complaint: str) -> None:
    proxy.faults.append(answer)
    with pytest.raises(paywindow.BadAnswer, match=complaint) as bad:
        place(connect(proxy.url), key="cart-19")
    assert bad.value.idempotency_key == "cart-19"
    assert "secret" not in str(bad.value)
    assert len(proxy.requests) == 1


def test_fields_of_a_newer_server_are_ignored(proxy: SpoilingProxy) -> None:
    body = {
        "order_id": "ORD-1",
        "status": "on_hold",
        "payment_status": "pending",
        "message": "New.",
        "is_payment_window_active": True,
        "time_remaining_seconds": 5,
        "colour": "blue",
    }
    proxy.faults.append(says(200, body=json.dumps(body), content_type="application/json"))
    assert connect(proxy.url).order_status(order_id="ORD-1").status == "on_hold"


@pytest.mark.parametrize("url", ["pay.example", "ftp://pay.example", "https://", "https://user:secret@pay.example"])
def test_wrong_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="base_url must look like") as wrong:
        PaywindowClient(url, token="x")
    assert "secret" not in str(wrong.value)


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9", "a\nb"])
def test_wrong_key_is_refused_before_anything_is_sent(proxy: SpoilingProxy, key: str) -> None:
    with pytest.raises(ValueError, match="an idempotency key has"):
        place(connect(proxy.url), key=key)
    with pytest.raises(ValueError, match="is no id"):
        connect(proxy.url).cancel(payment_id="..")
    assert proxy.requests == []


def test_client_needs_no_django(checkout_folder: Path) -> None:
    script = "import sys, payments.client; sys.exit(any(name.split('.')[0] == 'django' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], cwd=checkout_folder, check=False).returncode == 0
