"""A server in between that spoils single requests: an answer that gets lost, a reset, an answer of its own."""

import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

LONGEST_WAIT_SECONDS = 60.0
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset.


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request. By default it is passed on and answered."""

    is_passed_on: bool = True
    is_answered: bool = True  # If not, the connection is reset when the answer would be due.
    answer: bytes | None = None  # Instead of the upstream's.
    holds: threading.Event | None = None  # The answer waits for it.


RESET_BEFORE = Fault(is_passed_on=False, is_answered=False)
ANSWER_LOST = Fault(is_answered=False)


def says(status: int, *, body: str = "", content_type: str = "application/problem+json", headers: str = "") -> Fault:
    """Answer in the upstream's place."""
    raw = body.encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len(raw)}\r\n{headers}"
    return Fault(is_passed_on=False, answer=f"{head}Connection: close\r\n\r\n".encode() + raw)


@dataclass
class SpoilingProxy:
    """Listens on a port of its own and takes one request a connection; `faults` are those of the next requests."""

    upstream_port: int
    faults: deque[Fault] = field(default_factory=deque)
    requests: list[bytes] = field(default_factory=list)  # As they came.
    drips: bytes | None = None  # Said to everybody, and then a byte at a time, until `ends`.
    ends: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def header(self, name: str) -> list[str]:
        """What each request said under this name."""
        wanted, found = name.lower().encode() + b":", []
        for request in self.requests:
            lines = [line for line in request.split(b"\r\n\r\n")[0].split(b"\r\n") if line.lower().startswith(wanted)]
            found += [line.partition(b":")[2].strip().decode() for line in lines]
        return found

    @contextmanager
    def running(self) -> Iterator["SpoilingProxy"]:
        accepting = threading.Thread(target=self._accept)
        accepting.start()
        try:
            yield self
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)  # This wakes the thread; closing alone would not.
            accepting.join()
            self._listener.close()
            for thread in self._threads:
                thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(LONGEST_WAIT_SECONDS)
        with client:
            request = read_request(client)
            if not request:
                return
            self.requests.append(request)
            if self.drips is not None:
                self._drip(client, self.drips)
                return
            fault = self.faults.popleft() if self.faults else Fault()
            answer = fault.answer or b""
            if fault.is_passed_on:
                answer = self._ask_upstream(request)
            if fault.holds is not None:
                fault.holds.wait(LONGEST_WAIT_SECONDS)
            if not fault.is_answered:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                return
            try:
                client.sendall(answer)
            except OSError:
                return  # It did not wait.

    def _drip(self, client: socket.socket, beginning: bytes) -> None:
        try:
            client.sendall(beginning)
            while not self.ends.wait(0.05):
                client.sendall(b" ")
        except OSError:
            return  # It did not wait.

    def _ask_upstream(self, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.upstream_port), timeout=LONGEST_WAIT_SECONDS) as upstream:
            line, _, rest = request.partition(b"\r\n")
            rest = rest.replace(b"Connection: keep-alive", b"Connection: close").replace(
                b"connection: keep-alive", b"connection: close"
            )
            upstream.sendall(line + b"\r\n" + rest)
            answer = b""
            while part := upstream.recv(65536):
                answer += part
        return answer


def read_request(client: socket.socket) -> bytes:
    """Read one request, its body by its announced length; empty when the client went away."""
    request = b""
    while b"\r\n\r\n" not in request:
        part = client.recv(65536)
        if not part:
            return b""
        request += part
    head, _, body = request.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < sum(lengths):
        body += client.recv(65536)
    return head + b"\r\n\r\n" + body
