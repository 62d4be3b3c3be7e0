"""Requests that no client library would send, over a real socket to the real web server: refused, never a failure."""

import json
import re
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from pytest_django import DjangoDbBlocker

from payments.models import StockItem
from tests.contract.sandbox_server import free_port, wait_until
from tests.integration.api_client import ORDER, untouched
from tests.system import ManagedProcess, test_database_url

pytestmark = pytest.mark.django_db(transaction=True)

LONGEST_WAIT_SECONDS = 60  # For an answer that never comes; the server itself gives up after 10.
LIMIT = django_settings.DATA_UPLOAD_MAX_MEMORY_SIZE
GOOD = json.dumps(ORDER).encode()


@pytest.fixture(scope="module")
def port(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    number = free_port()
    with django_db_blocker.unblock():
        env = {"DATABASE_URL": test_database_url(), "DJANGO_SETTINGS_MODULE": "project.settings.test"}
    web = ManagedProcess(
        "web",
        [
            *(sys.executable, "-m", "gunicorn", "project.wsgi", "--config", "project/gunicorn.py"),
            *("--bind", f"127.0.0.1:{number}", "--workers", "1", "--threads", "4"),
        ],
        env=env | {"REDIS_URL": django_settings.REDIS_URL},
        folder=tmp_path_factory.mktemp("web"),
    )
    web.start()
    try:
        wait_until(lambda: is_alive(number), what=f"the web server:\n{web.log[-3000:]}")
        yield number
    finally:
        web.stop()


def is_alive(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def head(customer: User, token_for: Callable[[User], str]) -> bytes:
    """The beginning of an order, up to the headers that say how long its body is."""
    lines = ("POST /api/orders/ HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token_for(customer)}")
    return "".join(f"{line}\r\n" for line in (*lines, "Content-Type: application/json", "")).encode()[:-2]


def exchange(port: int, *parts: bytes, ends_writing: bool = False) -> list[int]:
    """Send the parts, read until the server closes the connection, and give the status of every answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=LONGEST_WAIT_SECONDS) as connection:
        received = b""
        try:
            for part in parts:
                connection.sendall(part)
            if ends_writing:
                connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65536):
                received += more
        except ConnectionError:
            pass  # It may close while we still send.
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def test_connections_that_say_nothing_keep_no_thread(port: int) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(16):  # Four for each thread; by gunicorn's own rule each would keep it for 5 s.
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        connection.sendall(request)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


CLOSE = b"Connection: close\r\n"


@pytest.mark.parametrize(
    ("rest", "statuses"),
    [
        # Longer than is taken, by its own announcement: refused unread.
        (b"Content-Length: %d\r\n\r\n" % (LIMIT + 1), {413}),
        (b"Content-Length: 9999999999999999999999\r\n\r\n", {400, 413}),
        (b"Content-Length: %d\r\n\r\n" % (LIMIT + 1) + b"x" * (LIMIT + 1), {413}),
        # No length, or none that is one.
        (b"\r\n" + GOOD, {400, 422}),
        (b"Content-Length: -1\r\n\r\n" + GOOD, {400}),
        (b"Content-Length: ten\r\n\r\n" + GOOD, {400}),
        (b"Content-Length: \xb2\r\n\r\n" + GOOD, {400}),
        (b"Content-Length: 0\r\n\r\n" + GOOD, {400, 422}),
        # Two that contradict each other: what one server takes for a body is the next one's request.
        (b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + GOOD, {400}),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
        (b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n", {400, 422}),
        (b"Transfer-Encoding: gzip\r\n\r\n" + GOOD, {400, 501}),
        (b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"x" * 65536 + b"\r\n" + b"0\r\n\r\n", {400, 413, 422}),
        # Less than announced, and then nothing more.
        (b"Content-Length: %d\r\n\r\n" % (len(GOOD) + 1) + GOOD, {400}),
        (b"Content-Length: 60000\r\n\r\n" + GOOD, {400}),
        # Heads without an end.
        (b"X-A: " + b"a" * 10_000 + b"\r\n\r\n", {400, 431}),
        (b"".join(b"X-%d: a\r\n" % number for number in range(100)) + b"\r\n", {400, 431}),
        (b"X-A\r\n\r\n", {400}),
        (b"X-A: a\x00b\r\n\r\n", {400}),
    ],
    ids=lambda value: repr(value[:48]) if isinstance(value, bytes) else "",
)
def test_a_body_or_head_of_the_wrong_length(
    port: int, head: bytes, item: StockItem, rest: bytes, statuses: set[int]
) -> None:
    answered = exchange(port, head + CLOSE, rest, ends_writing=True)
    assert answered
    assert set(answered) <= statuses
    assert untouched(item)
    assert is_alive(port)


def test_what_comes_after_the_body_is_another_request(port: int, head: bytes, item: StockItem) -> None:
    body = b"Content-Length: 2\r\n\r\n{}"
    answered = exchange(port, head + body + b"GARBAGE\r\n\r\n")
    assert answered[0] == 422
    assert set(answered[1:]) <= {400}
    assert untouched(item)


def test_a_line_that_is_too_long(port: int) -> None:
    (status,) = exchange(port, b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", ends_writing=True)
    assert status in {400, 414}


def test_a_client_that_stops_in_the_middle_keeps_no_thread(port: int, head: bytes, item: StockItem) -> None:
    """More of them than threads, and none of them closes: the server does, and serves others then."""
    stopped = [
        b"GET /healthz HTTP/1.1\r\nHos",
        head + b"Content-Len",
        head + CLOSE + b"Content-Length: 100\r\n\r\n{",
        b"",
    ] * 2
    with ThreadPoolExecutor(len(stopped)) as pool:
        answered = list(pool.map(lambda part: exchange(port, part), stopped))
    assert {status for statuses in answered for status in statuses} <= {400}
    assert is_alive(port)
    assert untouched(item)
