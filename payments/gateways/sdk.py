"""Lets a gateway's official SDK speak through our transport: it words the request, and nothing else.

The connection, the deadline and the answer are ours. What came back is read from its bytes by the adapter, so an SDK
that cannot read an answer, or raises for one, changes nothing. One asking is one request: an SDK that sends a second
one, which would be a retry that nobody asked for, is a bug and is told as one.
"""

import contextvars
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx

from payments.gateways.transport import Answer, Broken, CallResult, Refused, Transport

# Of what an SDK sets, these are the connection's business.
_OF_THE_CONNECTION: Final = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding"})


class EndedWithoutAnswer(Exception):
    """The call brought no answer; the SDK has to give up, and the adapter knows the rest."""


@dataclass(slots=True)
class _Asking:
    deadline_seconds: float
    result: CallResult | None = None


_asking: contextvars.ContextVar[_Asking] = contextvars.ContextVar("sdk_asking")


class SdkTransport:
    """One gateway's transport, as its SDK sees it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def ask(self, use_sdk: Callable[[], object], *, deadline_seconds: float) -> CallResult:
        """Call `use_sdk`, which makes exactly one request, and return how that ended.

        :raises RuntimeError: when it makes none, or a second one.
        """
        asking = _Asking(deadline_seconds=deadline_seconds)
        token = _asking.set(asking)
        try:
            use_sdk()
        except Exception:
            # What the SDK makes of an answer, or of none, is its opinion. Without a request it is a bug.
            if asking.result is None:
                raise
        finally:
            _asking.reset(token)
        if asking.result is None:
            message = "The SDK made no request."
            raise RuntimeError(message)
        return asking.result

    def send(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes) -> Answer:
        """Make the one request of this asking, as the SDK worded it.

        :raises EndedWithoutAnswer: when there is no answer.
        """
        asking = _asking.get()
        if asking.result is not None:
            asking.result = Broken(detail="the SDK wanted to send a second request", by_deadline=False)
            raise EndedWithoutAnswer(asking.result.detail)
        parts = urlsplit(url)
        asking.result = self._transport.call(
            method.upper(),
            parts.path + (f"?{parts.query}" if parts.query else ""),
            body=body,
            headers={name: value for name, value in headers.items() if name.lower() not in _OF_THE_CONNECTION},
            deadline_seconds=asking.deadline_seconds,
        )
        match asking.result:
            case Answer() as answer:
                return answer
            case Refused(detail=detail) | Broken(detail=detail):
                raise EndedWithoutAnswer(detail)

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()


class HttpxTransport(httpx.BaseTransport):
    """The same for an SDK that brings httpx."""

    def __init__(self, sdk: SdkTransport) -> None:
        self._sdk = sdk

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Make the request."""
        answer = self._sdk.send(request.method, str(request.url), headers=request.headers, body=request.read())
        headers = {name: value for name, value in answer.headers.items() if name not in _OF_THE_CONNECTION}
        return httpx.Response(answer.status, headers=headers, content=answer.body)
