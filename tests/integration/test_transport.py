"""What counts as proof that nothing was sent, and what a deadline cuts off: the transport against real sockets."""

import socket
import threading
import time
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


NAME = "gateway.example"
CONNECT_SECONDS = 1.0  # As `call` says.


class Resolver:
    """Gives several addresses for one name, as a resolver may; a number is what it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> None:
        self.asked = 0
        self._addresses = addresses
        self._really = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)

    def _resolve(self, host: str, port: int, *arguments: Any, **more: Any) -> Any:
        if host != NAME:
            return self._really(host, port, *arguments, **more)
        self.asked += 1
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, (address, port)) for address in self._addresses]


class DeadAddresses:
    """Connecting to any of them takes all the time that it is given, on a clock that jumps by it, and fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.timeouts: list[float] = []
        self.tried: list[str] = []
        self._passed = 0.0
        really_read = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: really_read() + self._passed)
        monkeypatch.setattr(socket, "create_connection", self._connect)

    def _connect(self, address: tuple[str, int], timeout: float, *, source_address: object) -> socket.socket:
        self.tried.append(address[0])
        self.timeouts.append(timeout)
        self._passed += timeout
        raise TimeoutError


@pytest.mark.parametrize("deadline_seconds", [0.4, 30.0])
def test_dead_addresses_share_the_time_to_connect(monkeypatch: pytest.MonkeyPatch, deadline_seconds: float) -> None:
    addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]
    resolver, dead = Resolver(monkeypatch, addresses), DeadAddresses(monkeypatch)
    assert isinstance(call(f"http://{NAME}:9", deadline_seconds=deadline_seconds), Refused)
    assert dead.tried == addresses
    assert sum(dead.timeouts) <= min(CONNECT_SECONDS, deadline_seconds)
    assert all(timeout > 0 for timeout in dead.timeouts)
    assert resolver.asked == 1


def test_of_many_addresses_a_few_are_tried_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = [f"192.0.2.{number // 2}" for number in range(2, 60)]  # Each twice.
    Resolver(monkeypatch, addresses)
    dead = DeadAddresses(monkeypatch)
    assert isinstance(call(f"http://{NAME}:9"), Refused)
    assert dead.tried == [f"192.0.2.{number}" for number in range(1, 9)]
    assert sum(dead.timeouts) <= CONNECT_SECONDS


def test_an_address_that_refuses_does_not_keep_from_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch, ["127.0.0.2", "127.0.0.1"])  # On the first nobody listens.
    heard: list[bytes] = []
    with server(lambda connection: heard.append(connection.recv(65536))) as url:
        result = call(url.replace("127.0.0.1", NAME))
    assert isinstance(result, Broken)  # It was sent, and not answered.
    assert f"\r\nHost: {NAME}:".encode() in heard[0]
    assert resolver.asked == 1


def test_addresses_that_all_refuse_were_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    Resolver(monkeypatch, ["127.0.0.2", "127.0.0.3"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(call(f"http://{NAME}:{port}"), Refused)


def test_what_a_connection_is_to_have_is_kept_for_each_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(lambda connection: connection.sendall(connection.recv(1))) as url, deadline(seconds=5.0):
        Resolver(monkeypatch, ["127.0.0.2", "127.0.0.1"])
        stream = transport._DeadlineBackend().connect_tcp(
            NAME,
            int(url.rpartition(":")[2]),
            timeout=CONNECT_SECONDS,
            local_address="127.0.0.3",
            socket_options=iter([(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]),
        )
        stream.write(b"x")
        assert stream.read(1) == b"x"
        assert stream.get_extra_info("client_addr")[0] == "127.0.0.3"
        assert stream.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        stream.close()


@contextmanager
def deadline(*, seconds: float) -> Iterator[None]:
    """Do something of the transport's as part of a call that has so long."""
    token = transport._call.set(transport._Call(ends_at_monotonic=time.monotonic() + seconds))
    yield
    transport._call.reset(token)


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
