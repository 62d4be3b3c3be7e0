"""HTTP with PayPal: its access token, its headers, and one deadline over all that a method asks."""

import base64
import json
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from urllib.parse import quote

from payments.gateways.reading import content, is_text
from payments.gateways.tokens import TokenCache
from payments.gateways.transport import Answer, Broken, CallResult, Refused, Transport

_LONGEST_TOKEN = 8192  # PayPal's are some hundred characters and may become longer.
_WRONG_CREDENTIALS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})

Body = Mapping[str, object] | Sequence[object]


class Client:
    """Sends requests as one PayPal app."""

    def __init__(self, *, transport: Transport, client_id: str, client_secret: str) -> None:
        self._transport = transport
        # RFC 6749 2.3.1: both are form-encoded before they become a Basic header.
        pair = f"{quote(client_id, safe='')}:{quote(client_secret, safe='')}".encode()
        self._credentials = f"Basic {base64.b64encode(pair).decode('ascii')}"
        self._tokens = TokenCache()

    def call(
        self, method: str, path: str, *, until: float, body: Body | bytes | None = None, key: str | None = None
    ) -> CallResult:
        """Send one request, at most until the monotonic time `until`; first fetch a token if there is none.

        What PayPal answers with a 401 was not let in and did nothing: it is asked once more, with a new token. Without
        a token nothing was sent, which is `Refused`; but the answer to wrong credentials is given as it came.
        """
        token = self._token(until=until)
        if not isinstance(token, str):
            return token
        result = self._send(method, path, until=until, body=body, key=key, token=token)
        if not isinstance(result, Answer) or result.status != HTTPStatus.UNAUTHORIZED or not content(result):
            return result  # A 401 that is not PayPal's, of some proxy in between, says nothing of what PayPal did.
        self._tokens.drop(token)
        token = self._token(until=until)
        # Without a new token the 401 stands: it says more than that nothing was sent.
        return (
            self._send(method, path, until=until, body=body, key=key, token=token) if isinstance(token, str) else result
        )

    def close(self) -> None:
        """Let go of every connection."""
        self._transport.close()

    def _send(
        self, method: str, path: str, *, until: float, body: Body | bytes | None, key: str | None, token: str
    ) -> CallResult:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        if method != "GET":
            headers["Content-Type"] = "application/json"
        if method == "POST" and path.startswith("/v2/"):
            headers["Prefer"] = "return=representation"  # Else the answer is an id and a status, which prove little.
        if key is not None:
            headers["PayPal-Request-Id"] = key
        return self._transport.call(
            method, path, body=_encoded(body), headers=headers, deadline_seconds=until - time.monotonic()
        )

    def _token(self, *, until: float) -> str | Answer | Refused:
        known = self._tokens.current()
        if known is not None:
            return known
        began = time.monotonic()
        result = self._transport.call(
            "POST",
            "/v1/oauth2/token",
            body=b"grant_type=client_credentials",
            headers={
                "Authorization": self._credentials,
                "Accept": "application/json",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            deadline_seconds=until - began,
        )
        match result:
            case Refused():
                return result
            case Broken(detail=detail):
                return Refused(f"no access token: {detail}")
            case Answer(status=status) if status in _WRONG_CREDENTIALS and "error" in content(result):
                return result
            case Answer(status=status):
                return self._kept(content(result), status=status, began=began)

    def _kept(self, answered: Mapping[str, object], *, status: int, began: float) -> str | Refused:
        token, life_seconds = answered.get("access_token"), answered.get("expires_in")
        if status != HTTPStatus.OK or not is_text(token, longest=_LONGEST_TOKEN) or not token.isascii():
            return Refused(f"no access token: HTTP {status}")
        if type(life_seconds) is int and life_seconds > 0:
            self._tokens.keep(token, life_seconds=life_seconds, asked_at_monotonic=began)
        return token


def _encoded(body: Body | bytes | None) -> bytes:
    if body is None or isinstance(body, bytes):
        return body or b""
    # Keys in one order: the same attempt makes the same request, byte for byte.
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
