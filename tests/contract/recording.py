"""Stands between an adapter and the sandbox, keeps what each said, byte for byte, and answers in its place if told."""

import http.server
import json
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

import httpx

_NOT_PASSED_ON = frozenset({"host", "connection", "content-length", "transfer-encoding", "content-encoding"})


@dataclass(frozen=True, slots=True)
class Exchange:
    method: str
    target: str  # Path and query, without the prefix under which the sandbox speaks this dialect.
    headers: dict[str, str]  # Names in lower case.
    body: bytes
    status: int
    answer: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(self.target.partition("?")[2], keep_blank_values=True)

    @property
    def content(self) -> Any:
        return json.loads(self.answer) if self.answer else None


class Recorder:
    """A proxy; leave it to close it."""

    def __init__(self, *, upstream: str, prefix: str) -> None:
        self.exchanges: list[Exchange] = []
        self.instead: dict[str, list[tuple[int, bytes]]] = {}  # The next answers to paths that end so.
        self._prefix = prefix
        self._http = httpx.Client(base_url=upstream, timeout=20.0, trust_env=False)
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                recorder._pass_on(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.pass_on)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._http.close()

    @property
    def paths(self) -> list[str]:
        return [f"{seen.method} {seen.path}" for seen in self.exchanges]

    @property
    def calls(self) -> list[Exchange]:
        """What was asked, without the access tokens."""
        return [seen for seen in self.exchanges if not seen.path.endswith("/oauth2/token")]

    def _pass_on(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        body = handler.rfile.read(int(headers.get("content-length", 0)))
        passed = {name: value for name, value in headers.items() if name not in _NOT_PASSED_ON}
        target = handler.path.removeprefix(self._prefix)
        path = target.partition("?")[0]
        said = next((answers for end, answers in self.instead.items() if path.endswith(end) and answers), None)
        if said:
            status, content = said.pop(0)
            answer = httpx.Response(status, content=content)
        else:
            answer = self._http.request(handler.command, handler.path, headers=passed, content=body)
        self.exchanges.append(Exchange(handler.command, target, headers, body, answer.status_code, answer.content))
        handler.send_response(answer.status_code)
        handler.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        if answer.status_code != httpx.codes.NO_CONTENT:
            handler.send_header("Content-Length", str(len(answer.content)))
        handler.end_headers()
        handler.wfile.write(answer.content)
