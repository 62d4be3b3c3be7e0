"""A load generator of raw sockets and one thread: it must not be what a benchmark of a web server measures."""

import re
import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

HUNG_SECONDS = 30.0
FRESH_SECONDS = 1.0  # The server closes a connection that was idle for two seconds.

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


@dataclass
class Round:
    """What came of one round of requests."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)  # In seconds, from when each request was due.
    statuses: Counter[int] = field(default_factory=Counter)
    answer_bytes: int = 0  # Heads and bodies.


def request(method: str, path: str, *, token: str, body: bytes = b"") -> bytes:
    """Give a request as it goes over the wire."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Connection:
    """A connection that one request at a time goes over."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=HUNG_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due_at = self.idle_since = time.monotonic()
        self._received = b""

    def send(self, payload: bytes, *, due_at: float) -> None:
        self.due_at, self._received = due_at, b""
        self.socket.sendall(payload)

    def receive(self) -> bytes:
        """Give the answer once it is there as a whole; until then nothing."""
        part = self.socket.recv(65536)
        if not part:
            message = f"the server hung up after {self._received[:200]!r}"
            raise ConnectionError(message)
        self._received += part
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        is_whole = bool(end) and len(body) >= (int(length[1]) if length else 0)
        return self._received if is_whole else b""


def drive(*, port: int, payloads: Sequence[bytes], connections: int, per_second: float = 0.0) -> Round:
    """Send every payload once and wait for its answer.

    With `per_second` each request is due at its own time, whatever became of those before it, and its latency counts
    from then. Without, every connection sends the next one as soon as it has its answer.

    :raises ConnectionError: when the server hangs up on a request.
    :raises TimeoutError: when it does not answer.
    """
    done = Round()
    waiting = deque(payloads)
    idle = [_Connection(port) for _ in range(connections)]
    busy = 0
    with selectors.DefaultSelector() as selector:
        began = time.monotonic()
        while waiting or busy:
            wait_seconds = HUNG_SECONDS
            while waiting and idle:
                now = time.monotonic()
                due_at = began + (len(payloads) - len(waiting)) / per_second if per_second else now
                if due_at > now:
                    wait_seconds = due_at - now
                    break
                connection = idle.pop()
                if now - connection.idle_since > FRESH_SECONDS:
                    connection.socket.close()
                    connection = _Connection(port)
                connection.send(waiting.popleft(), due_at=due_at)
                selector.register(connection.socket, selectors.EVENT_READ, connection)
                busy += 1
            ready = selector.select(wait_seconds)
            if not ready and wait_seconds == HUNG_SECONDS:
                message = f"{busy} requests were not answered within {HUNG_SECONDS} s"
                raise TimeoutError(message)
            for key, _ in ready:
                connection = key.data
                answer = connection.receive()
                if answer:
                    selector.unregister(connection.socket)
                    connection.idle_since = time.monotonic()
                    idle.append(connection)
                    busy -= 1
                    done.latencies.append(connection.idle_since - connection.due_at)
                    done.statuses[int(answer[9:12])] += 1
                    done.answer_bytes += len(answer)
        done.seconds = time.monotonic() - began
    for connection in idle:
        connection.socket.close()
    return done
