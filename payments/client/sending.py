"""Sends one call, repeats it where that is safe and may help, and ends by its deadline."""

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from payments.client.failures import BadAnswer, IdempotencyKeyInUse, PaywindowError, Refused, Unreachable, refusal

MAX_ANSWER_BYTES = 4 * 1024 * 1024  # A cleanup of a thousand rows has some 300 KB.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0

# The server's "not now", and a proxy's word for a server that it lost.
_NOT_NOW = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Call:
    """One call, the same over all of its tries."""

    method: str
    path: str
    ends_at_monotonic: float
    content: Mapping[str, Any] | None = None
    key: str | None = None
    etag: str | None = None

    @property
    def seconds_left(self) -> float:
        """How much of the deadline is left."""
        return self.ends_at_monotonic - time.monotonic()


@dataclass(frozen=True, slots=True)
class Answer:
    """A success, whole."""

    status: int
    headers: httpx.Headers
    body: bytes


class Sender:
    """Sends calls to one server."""

    def __init__(
        self, *, base_url: str, http: httpx.Client, token: str | Callable[[], str], timeout_seconds: float
    ) -> None:
        self._base_url, self._http, self._token = base_url, http, token
        self._timeout_seconds = timeout_seconds
        self.closing = threading.Event()

    def send(self, call: Call) -> Answer:
        """Send a call until it is answered, refused, or out of time.

        :raises Refused: when the server refuses, or still says "not now" when the time is over.
        :raises Unreachable: when there is no answer in time.
        :raises BadAnswer: when the answer is none of Paywindow's.
        """
        tries = 0
        while True:  # Until the deadline at the latest: every pause has a length.
            result = self._try(call)
            if isinstance(result, Answer):
                return result
            result.idempotency_key = call.key
            pause_seconds = _pause_seconds(result, tries=tries)
            # A pause that ends behind the deadline would only put the answer off.
            if pause_seconds is None or pause_seconds >= call.seconds_left or self.closing.wait(pause_seconds):
                raise result
            tries += 1

    def _try(self, call: Call) -> Answer | PaywindowError:
        seconds = min(self._timeout_seconds, max(call.seconds_left, 0.001))
        try:
            answer = self._exchange(call, ends_at_monotonic=time.monotonic() + seconds, seconds=seconds)
        except httpx.TransportError as error:
            return Unreachable(f"{call.method} {call.path} was not answered ({type(error).__name__}).")
        except httpx.DecodingError:
            return BadAnswer(f"{call.method} {call.path} was answered by something that cannot be decoded.")
        if answer.status == HTTPStatus.NOT_MODIFIED or httpx.codes.is_success(answer.status):
            return answer
        return _failure(answer, call=call)

    def _exchange(self, call: Call, *, ends_at_monotonic: float, seconds: float) -> Answer:
        token = self._token if isinstance(self._token, str) else self._token()
        if not (token.isascii() and token.isprintable()):
            raise ValueError("the token has characters that no header can carry")  # And it is not shown here.
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, application/problem+json"}
        if call.key is not None:
            headers["Idempotency-Key"] = call.key
        if call.etag is not None:
            headers["If-None-Match"] = call.etag
        body = None
        if call.content is not None:
            # The bytes belong to the key: the same at every try.
            headers["Content-Type"], body = "application/json", json.dumps(call.content).encode()
        parts = b""
        with self._http.stream(
            call.method, self._base_url + call.path, headers=headers, content=body, timeout=seconds
        ) as response:
            # httpx times each read by itself: without this a body that comes byte by byte would never end.
            for part in response.iter_bytes():
                parts += part
                if time.monotonic() > ends_at_monotonic:
                    raise httpx.ReadTimeout("the answer took too long")
                if len(parts) > MAX_ANSWER_BYTES:
                    raise httpx.DecodingError(f"more than {MAX_ANSWER_BYTES} bytes")
        return Answer(status=response.status_code, headers=response.headers, body=parts)


def _failure(answer: Answer, *, call: Call) -> PaywindowError:
    if answer.headers.get("Content-Type", "").partition(";")[0].strip() == "application/problem+json":
        try:
            problem = json.loads(answer.body)
        except ValueError:
            problem = None
        if isinstance(problem, dict) and "code" in problem:
            seconds = retry_after_seconds(answer.headers)
            return refusal(status=answer.status, problem=problem, retry_after_seconds=seconds)
    if answer.status in _NOT_NOW:
        return _NotNow(f"{call.method} {call.path} was answered {answer.status}.", answer=answer)
    return BadAnswer(f"{call.method} {call.path} was answered {answer.status}, and not by Paywindow.")


class _NotNow(Unreachable):
    """A proxy answered in the server's place."""

    def __init__(self, message: str, *, answer: Answer) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds(answer.headers)


def _pause_seconds(failure: PaywindowError, *, tries: int) -> float | None:
    """Say how long to wait before the next try; None when another one would end no better."""
    asked: float | None = None
    if isinstance(failure, Refused | _NotNow):
        asked = failure.retry_after_seconds
    if isinstance(failure, Refused) and not (isinstance(failure, IdempotencyKeyInUse) or failure.status in _NOT_NOW):
        return None
    if isinstance(failure, BadAnswer):
        return None
    backoff_seconds = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(tries, 10))
    # Jitter, so that all who were sent away at once do not come back at once.
    return (asked or 0.0) + backoff_seconds * _random.uniform(0.5, 1.0)


def retry_after_seconds(headers: httpx.Headers) -> float | None:
    """Read the `Retry-After` header; None when there is none in seconds."""
    text = headers.get("Retry-After", "").strip()
    return float(text) if text.isascii() and text.isdecimal() else None
