"""A host that is told what happened: a real HTTP server that takes announcements, or fails to in many ways."""

import contextlib
import http.server
import importlib.util
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

NEW_SECRET = "whsec_bmV3LXNlY3JldC1uZXctc2VjcmV0LW5ldy1zZWNyZXQ="
OLD_SECRET = "whsec_b2xkLXNlY3JldC1vbGQtc2VjcmV0LW9sZC1zZWNyZXQ="

Answer = Callable[["Handler"], None]


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as it came."""

    path: str
    headers: dict[str, str]  # Names in lower case.
    body: bytes

    @property
    def payload(self) -> dict[str, Any]:
        payload: dict[str, Any] = json.loads(self.body)
        return payload


class Handler(http.server.BaseHTTPRequestHandler):
    """Notes the request and answers as the receiver was told."""

    server: "_Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(path=self.path, headers=headers, body=body)
        self.server.receiver.take(request)(self)

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""


class _Server(http.server.ThreadingHTTPServer):
    receiver: "Receiver"


@dataclass
class Receiver:
    """Answers 200, unless `answers` says otherwise for the next requests or `answer` for all the others."""

    requests: list[Request] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    answer: Answer = field(default_factory=lambda: status(200))
    url: str = ""
    released: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            return self.answers.pop(0) if self.answers else self.answer

    @property
    def env(self) -> dict[str, str]:
        """What makes processes announce to it."""
        return {
            "PAYMENT_ANNOUNCEMENT_WEBHOOK_URL": self.url,
            "PAYMENT_ANNOUNCEMENT_WEBHOOK_SECRETS": f"{NEW_SECRET},{OLD_SECRET}",
        }

    @property
    def ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.requests]

    # Answers that need the receiver.

    def hang(self, _handler: Handler) -> None:
        """Say nothing until the test ends."""
        self.released.wait(30)

    def drip(self, handler: Handler) -> None:
        """Answer a byte at a time, without an end in sight."""
        with contextlib.suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1000:
                handler.wfile.write(bytes([byte]))
                if self.released.wait(0.05):
                    return

    def redirect(self, handler: Handler) -> None:
        """Send it elsewhere, to a place where it would be taken."""
        handler.send_response(307)
        handler.send_header("Location", f"{self.url}elsewhere")
        handler.end_headers()


def status(code: int) -> Answer:
    """Answer with a status and nothing else."""

    def answer(handler: Handler) -> None:
        handler.send_response(code)
        handler.end_headers()

    return answer


def hang_up(handler: Handler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


@contextlib.contextmanager
def listening() -> Iterator[Receiver]:
    """Run a receiver on a free port of 127.0.0.1."""
    receiver = Receiver()
    with _Server(("127.0.0.1", 0), Handler) as server:
        server.receiver = receiver
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hooks/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.released.set()
            server.shutdown()
            thread.join()


def documented(*, checkout_folder: Path, folder: Path) -> ModuleType:
    """The receiver's side, as docs/announcements.md prints it; written into `folder`."""
    text = (checkout_folder / "docs" / "announcements.md").read_text()
    blocks: list[str] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (snippet,) = [block for block in blocks if "def verify(" in block]
    path = folder / "documented.py"
    path.write_text(snippet)
    spec = importlib.util.spec_from_file_location("documented", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
