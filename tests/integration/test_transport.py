"""What counts as proof that nothing was sent, and what a deadline cuts off: the transport against real sockets."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from payments.gateways import transport
from payments.gateways.transport import Broken, CallResult, Refused, Transport


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
