"""What is believed of a gateway's answer, and what counts as proof that nothing was sent."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from payments.domain.failures import FailureCode
from payments.domain.outcomes import Authorized, Captured, Declined, InDoubt, NeverSent, Outcome, Pending
from payments.gateways import transport
from payments.gateways.protocol import ChargeRequest
from payments.gateways.sandbox.adapter import read_answer
from payments.gateways.transport import Answer, Broken, CallResult, Refused, Transport

C = FailureCode
REQUEST = ChargeRequest(
    idempotency_key="pay_1", reference="pay_1", amount_minor=1250, currency="USD", payment_token="tok_visa"
)
CHARGE = {"id": "ch_1", "reference": "pay_1", "amount_minor": 1250, "currency": "USD", "status": "captured"}


def read(status: int, content: Any) -> Outcome:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read_answer(Answer(status=status, headers={}, body=body), request=REQUEST)


def error(code: object, **more: object) -> dict[str, object]:
    return {"error": {"code": code, **more}}


@pytest.mark.parametrize(
    ("status", "content", "outcome"),
    [
        (201, CHARGE, Captured("ch_1")),
        (201, CHARGE | {"status": "authorized"}, Authorized("ch_1")),
        (201, CHARGE | {"status": "pending"}, Pending("ch_1", None)),
        (201, CHARGE | {"status": "pending", "redirect_url": "https://x"}, Pending("ch_1", "https://x")),
        (
            402,
            error("card_declined", decline_code="expired_card", charge={"id": "ch_1"}),
            Declined(C.EXPIRED_CARD, "expired_card", "ch_1"),
        ),
        (402, error("card_declined", decline_code="unheard_of"), Declined(C.DECLINED, "unheard_of", None)),
        (402, error("card_declined"), Declined(C.DECLINED, "", None)),
        (400, error("invalid_request"), Declined(C.INVALID_REQUEST, "invalid_request", None)),
        (400, error(5), Declined(C.INVALID_REQUEST, "5", None)),
        (401, error("unauthorized"), Declined(C.CONFIGURATION, "unauthorized", None)),
        (404, error("not_found"), Declined(C.CONFIGURATION, "not_found", None)),
    ],
)
def test_an_answer_that_proves_something_is_believed(status: int, content: object, outcome: Outcome) -> None:
    assert read(status, content) == outcome


@pytest.mark.parametrize(
    ("status", "content", "code"),
    [
        (200, CHARGE, C.GATEWAY_ERROR),
        (201, CHARGE | {"status": "declined"}, C.GATEWAY_ERROR),
        (201, CHARGE | {"status": None}, C.GATEWAY_ERROR),
        (201, CHARGE | {"id": None}, C.GATEWAY_ERROR),
        (201, CHARGE | {"id": 7}, C.GATEWAY_ERROR),
        (201, CHARGE | {"id": ""}, C.GATEWAY_ERROR),
        (201, CHARGE | {"amount_minor": 1}, C.GATEWAY_ERROR),
        (201, CHARGE | {"currency": "EUR"}, C.GATEWAY_ERROR),
        (201, CHARGE | {"reference": "pay_2"}, C.GATEWAY_ERROR),
        (201, {}, C.GATEWAY_ERROR),
        (201, [], C.GATEWAY_ERROR),
        (201, b"<html>", C.GATEWAY_ERROR),
        (201, b"\xff", C.GATEWAY_ERROR),
        (204, b"", C.GATEWAY_ERROR),
        (302, b"", C.GATEWAY_ERROR),
        (402, error("something_else"), C.GATEWAY_ERROR),
        (400, {}, C.GATEWAY_ERROR),
        (400, b"<html>Bad request</html>", C.GATEWAY_ERROR),
        (400, error("idempotency_key_mismatch"), C.KEY_MISMATCH),
        (409, error("idempotency_key_in_use"), C.KEY_IN_FLIGHT),
        (409, error("key_cancelled"), C.GATEWAY_ERROR),
        (500, error("internal"), C.GATEWAY_ERROR),
        (503, error("unavailable"), C.GATEWAY_ERROR),
        (500, {"error": "text"}, C.GATEWAY_ERROR),
    ],
)
def test_an_answer_that_proves_nothing_is_a_doubt(status: int, content: object, code: FailureCode) -> None:
    outcome = read(status, content)
    assert isinstance(outcome, InDoubt)
    assert outcome.code == code


def test_a_busy_gateway_did_nothing() -> None:
    assert read(429, error("rate_limited")) == NeverSent(C.RATE_LIMITED, "HTTP 429 rate_limited")


# The transport, against sockets


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Accept one connection and treat it as told."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)


def call(url: str, *, deadline_seconds: float = 2.0) -> CallResult:
    client = Transport(base_url=url, headers={}, connect_seconds=1.0)
    try:
        return client.call("POST", "/", body=b"{}", headers={}, deadline_seconds=deadline_seconds)
    finally:
        client.close()


def test_nobody_listening_was_never_asked() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(call(f"http://127.0.0.1:{port}"), Refused)


def test_a_name_that_does_not_resolve_was_never_asked() -> None:
    assert isinstance(call("http://gateway.invalid"), Refused)


def test_a_name_that_resolves_too_late_was_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    really_resolve = socket.getaddrinfo

    def slowly(*arguments: Any, **more: Any) -> Any:
        threading.Event().wait(0.3)
        return really_resolve(*arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    heard: list[bytes] = []
    with server(lambda connection: heard.append(connection.recv(100))) as url:
        assert isinstance(call(url, deadline_seconds=0.1), Refused)
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))).close()  # Lets the server end.
    assert heard == [b""]


@pytest.mark.parametrize("deadline_seconds", [0.0, -5.0])
def test_no_time_left_means_never_sent(deadline_seconds: float) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert isinstance(call(url, deadline_seconds=deadline_seconds), Refused)


def test_a_connection_that_closes_after_the_request_proves_nothing() -> None:
    heard: list[bytes] = []
    with server(lambda connection: heard.append(connection.recv(65536))) as url:
        result = call(url)
    assert heard[0].startswith(b"POST / HTTP/1.1")
    assert isinstance(result, Broken)
    assert not result.by_deadline


def test_an_answer_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 10_000)

    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        try:
            while True:
                connection.sendall(b"x" * 65536)
        except OSError:
            return

    with server(flood) as url:
        result = call(url)
    assert isinstance(result, Broken)
    assert "more than 10000 bytes" in result.detail


def test_headers_that_drip_end_at_the_deadline() -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        try:
            for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000:
                connection.sendall(bytes([byte]))
                threading.Event().wait(0.05)
        except OSError:
            return

    with server(drip) as url:
        result = call(url, deadline_seconds=0.4)
    assert isinstance(result, Broken)
    assert result.by_deadline
