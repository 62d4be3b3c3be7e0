"""HTTP to a gateway, with one total deadline on the monotonic clock and an honest answer about what was sent.

httpx times each socket operation, so a server that drips a byte a second never times out. Here every operation gets
what is left of the whole: a network backend under the connection pool shortens each timeout to the deadline of the
call that it serves, and notes when the first byte of a request leaves. Before that nothing was sent, which is proof;
after it nothing is proven. A name may have several addresses; they share the time that connecting has, so that dead
ones do not add up. The one wait that cannot be shortened is the resolver's: a name that resolves too late ends the
call late, with nothing sent.
"""

import contextvars
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import certifi
import httpcore
import structlog

log = structlog.get_logger(__name__)

# Larger than anything a gateway says of one charge; an answer without end must not eat the worker.
MAX_ANSWER_BYTES = 1024 * 1024
# Of a name's addresses; a gateway's has a handful, and each has to get a share of the time that is worth trying.
_MOST_ADDRESSES = 8


@dataclass(slots=True)
class _Call:
    """The call that this thread is making."""

    ends_at_monotonic: float
    has_sent: bool = False


_call: contextvars.ContextVar[_Call] = contextvars.ContextVar("gateway_call")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said, whole."""

    status: int
    headers: Mapping[str, str]  # Names in lower case.
    body: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """The call ended before its first byte left, so provably nothing was sent."""

    detail: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The call ended after something may have been sent: by the deadline, or by a connection that broke."""

    detail: str
    by_deadline: bool


CallResult = Answer | Refused | Broken


def _within_deadline(timeout: float | None, error: type[Exception]) -> float:
    left = _call.get().ends_at_monotonic - time.monotonic()
    if left <= 0:
        raise error("the call's deadline has passed")
    return left if timeout is None else min(timeout, left)


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _within_deadline(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        within = _within_deadline(timeout, httpcore.WriteTimeout)
        _call.get().has_sent = True
        self._stream.write(buffer, within)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        within = _within_deadline(timeout, httpcore.ConnectTimeout)
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, within))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _DeadlineBackend(httpcore.NetworkBackend):
    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        _within_deadline(timeout, httpcore.ConnectTimeout)  # With none left the resolver is not asked either.
        addresses = _resolve(host, port)
        ends_at_monotonic = time.monotonic() + _within_deadline(timeout, httpcore.ConnectTimeout)
        failed: httpcore.ConnectError | httpcore.ConnectTimeout = httpcore.ConnectTimeout("no time to connect")
        for position, address in enumerate(addresses):
            left = ends_at_monotonic - time.monotonic()
            if left <= 0:
                break
            # Left to itself the backend would give the whole of it to each. What one does not use the next ones get.
            share = left / (len(addresses) - position)
            try:
                stream = self._backend.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
            else:
                return _DeadlineStream(stream)
        raise failed


def _resolve(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from error
    # Each once, in the resolver's order, which is the order to try them in (RFC 6724).
    return list(dict.fromkeys(str(address[0]) for *_, address in found))[:_MOST_ADDRESSES]


class Transport:
    """A pool of connections to one gateway, shared by the threads of a process."""

    def __init__(
        self, *, base_url: str, headers: Mapping[str, str], connect_seconds: float, connections: int = 1000
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._host = urlsplit(self._base_url).netloc
        self._headers = dict(headers)
        self._connect_seconds = connect_seconds
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(cafile=certifi.where()),
            max_connections=connections,
            max_keepalive_connections=100,
            keepalive_expiry=5.0,  # Shorter than any gateway's own, so that a reused connection is a living one.
            retries=0,
            network_backend=_DeadlineBackend(),
        )

    def call(
        self, method: str, path: str, *, body: bytes, headers: Mapping[str, str], deadline_seconds: float
    ) -> CallResult:
        """Send one request, at most once, and read its whole answer in at most `deadline_seconds`."""
        began = time.monotonic()
        call = _Call(ends_at_monotonic=began + deadline_seconds)
        token = _call.set(call)
        result: CallResult
        try:
            result = self._exchange(method, path, body=body, headers=headers, deadline_seconds=deadline_seconds)
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
            detail = f"{type(error).__name__}: {error}"
            if call.has_sent:
                result = Broken(detail=detail, by_deadline=isinstance(error, httpcore.TimeoutException))
            else:
                result = Refused(detail=detail)
        finally:
            _call.reset(token)
        self._log(method, path, result, seconds=time.monotonic() - began)
        return result

    def _log(self, method: str, path: str, result: CallResult, *, seconds: float) -> None:
        # Neither bodies nor headers nor a query: what is secret or personal in a call is there.
        log.info(
            "gateway_called",
            host=self._host,
            method=method,
            path=path.partition("?")[0],
            ending=type(result).__name__,
            seconds=round(seconds, 4),
            **({"status": result.status, "answer_bytes": len(result.body)} if isinstance(result, Answer) else {}),
        )

    def _exchange(
        self, method: str, path: str, *, body: bytes, headers: Mapping[str, str], deadline_seconds: float
    ) -> CallResult:
        answer = b""
        with self._pool.stream(
            method,
            self._base_url + path,
            headers=[*self._headers.items(), *headers.items()],
            content=body,
            extensions={"timeout": {"connect": self._connect_seconds, "pool": max(0.0, deadline_seconds)}},
        ) as response:
            for part in response.iter_stream():
                answer += part
                if len(answer) > MAX_ANSWER_BYTES:
                    return Broken(detail=f"an answer of more than {MAX_ANSWER_BYTES} bytes", by_deadline=False)
        return Answer(
            status=response.status,
            headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers},
            body=answer,
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()
