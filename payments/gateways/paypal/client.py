"""HTTP with PayPal: its access token, its headers, and one deadline over all that a method asks."""

import base64
import json
from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from urllib.parse import quote

from payments.gateways.deadline import Deadline
from payments.gateways.paypal.wakefulness import Wakefulness
from payments.gateways.reading import content, is_text
from payments.gateways.tokens import Token, TokenCache
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
        self._tokens: TokenCache[Answer | Refused] = TokenCache(self._fetch_token)

    def call(
        self,
        method: str,
        path: str,
        *,
        deadline: Deadline,
        body: Body | bytes | None = None,
        key: str | None = None,
        wakefulness: Wakefulness | None = None,
    ) -> CallResult:
        """Send one request; first fetch a token if there is none.

        What PayPal answers with a 401 was not let in and did nothing: it is asked once more, with a new token. Without
        a token nothing was sent, which is `Refused`; but the answer to wrong credentials is given as it came. With
        `wakefulness` a request that would leave after the machine slept is not sent, which is `Refused` too.
        """
        token = self._token(deadline)
        if not isinstance(token, str):
            return token
        send = partial(self._send, method, path, deadline=deadline, body=body, key=key, wakefulness=wakefulness)
        result = send(token=token)
        if not isinstance(result, Answer) or result.status != HTTPStatus.UNAUTHORIZED or not content(result):
            return result  # A 401 that is not PayPal's, of some proxy in between, says nothing of what PayPal did.
        self._tokens.drop(token)
        token = self._token(deadline)
        if isinstance(token, Answer):
            return result  # PayPal does not know our credentials: the first refusal says where, and as much.
        return send(token=token) if isinstance(token, str) else token

    def close(self) -> None:
        """Let go of every connection."""
        self._transport.close()

    def _send(
        self,
        method: str,
        path: str,
        *,
        deadline: Deadline,
        body: Body | bytes | None,
        key: str | None,
        wakefulness: Wakefulness | None,
        token: str,
    ) -> CallResult:
        if wakefulness is not None and wakefulness.has_slept:
            return Refused(wakefulness.worded)
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        if method != "GET":
            headers["Content-Type"] = "application/json"
        if method == "POST" and path.startswith("/v2/"):
            headers["Prefer"] = "return=representation"  # Else the answer is an id and a status, which prove little.
        if key is not None:
            headers["PayPal-Request-Id"] = key
        return self._transport.call(
            method, path, body=_encoded(body), headers=headers, deadline_seconds=deadline.left_seconds
        )

    def _token(self, deadline: Deadline) -> str | Answer | Refused:
        return self._tokens.get(deadline) or Refused("no access token: another thread is still fetching one")

    def _fetch_token(self, deadline: Deadline) -> Token | Answer | Refused:
        result = self._transport.call(
            "POST",
            "/v1/oauth2/token",
            body=b"grant_type=client_credentials",
            headers={
                "Authorization": self._credentials,
                "Accept": "application/json",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            deadline_seconds=deadline.left_seconds,
        )
        match result:
            case Refused():
                return result
            case Broken(detail=detail):
                return Refused(f"no access token: {detail}")
            case Answer(status=status) if status in _WRONG_CREDENTIALS and "error" in content(result):
                return result
            case Answer(status=status):
                return _read_token(content(result), status=status)


def _read_token(answered: Mapping[str, object], *, status: int) -> Token | Refused:
    text, life_seconds = answered.get("access_token"), answered.get("expires_in")
    if status != HTTPStatus.OK or not is_text(text, longest=_LONGEST_TOKEN) or not text.isascii():
        return Refused(f"no access token: HTTP {status}")
    # Of one whose life nobody knows nothing is kept.
    return Token(text, life_seconds=life_seconds if type(life_seconds) is int and life_seconds > 0 else 0)


def _encoded(body: Body | bytes | None) -> bytes:
    if body is None or isinstance(body, bytes):
        return body or b""
    # Keys in one order: the same attempt makes the same request, byte for byte.
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
