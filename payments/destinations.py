"""Where announcements go: a function of the host in this process, and receivers of signed webhooks over HTTP.

Each ending of a delivery is a value, whatever the other side did. No transaction is open and no connection held
meanwhile.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.utils.module_loading import import_string

from payments import config
from payments.domain.announcements import notice_from
from payments.domain.hashing import canonical_bytes
from payments.domain.signatures import sign
from payments.gateways.transport import Answer, Broken, Refused, Transport
from payments.transactions import release_connection

log = structlog.get_logger(__name__)

_ACCEPTED, _GONE = range(200, 300), 410
_CONNECTIONS = 8  # To one receiver from one process: more than its deliverers use at once.


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver took it."""


@dataclass(frozen=True, slots=True)
class NotDelivered:
    """It may or may not have arrived; it is sent again."""

    detail: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The receiver does not want it any more."""

    detail: str


Ending = Delivered | NotDelivered | Gone

_open: dict[str, Transport] = {}
_making = threading.Lock()


def deliver(*, destination: str, payload: Mapping[str, Any], now: datetime, deadline_seconds: float) -> Ending:
    """Hand one announcement to one destination.

    `now` is database time; it stamps a webhook. A webhook's call ends after `deadline_seconds`; a hook has no deadline
    but its own.

    :raises RuntimeError: inside a transaction.
    """
    release_connection()
    known = config.announcements()
    webhook = known.webhooks.get(destination.removeprefix(config.WEBHOOK_PREFIX))
    try:
        if destination == config.HOOK and known.hook:
            return _call_hook(known.hook, payload=payload)
        if destination.startswith(config.WEBHOOK_PREFIX) and webhook is not None:
            return _post(webhook, payload=payload, now=now, deadline_seconds=deadline_seconds)
    except Exception as error:
        # A host's function may raise anything, and no fault there may end the deliveries behind it.
        log.warning("announcement_failed", exc_info=True)
        return NotDelivered(detail=f"{type(error).__name__}: {error}")
    return NotDelivered(detail=f"there is no destination {destination!r} in the settings")


def close_destinations() -> None:
    """Close every connection; the next delivery opens new ones, with the settings of then."""
    with _making:
        while _open:
            _open.popitem()[1].close()


def _call_hook(path: str, *, payload: Mapping[str, Any]) -> Ending:
    try:
        import_string(path)(notice_from(payload))
    finally:
        release_connection()  # The host's function may have taken one, and left it in any state.
    return Delivered()


def _post(webhook: config.Webhook, *, payload: Mapping[str, Any], now: datetime, deadline_seconds: float) -> Ending:
    body, unix_seconds = canonical_bytes(payload), int(now.timestamp())
    message_id = str(payload["id"])
    origin, path = _split(webhook.url)
    result = _transport(origin).call(
        "POST",
        path,
        body=body,
        headers={
            "Content-Type": "application/json",
            "User-Agent": "Paywindow",
            "webhook-id": message_id,
            "webhook-timestamp": str(unix_seconds),
            "webhook-signature": sign(
                message_id=message_id, unix_seconds=unix_seconds, body=body, secrets=webhook.secrets
            ),
        },
        deadline_seconds=deadline_seconds,
    )
    match result:
        case Answer(status=status) if status in _ACCEPTED:
            return Delivered()
        case Answer(status=status) if status == _GONE:
            return Gone(detail=f"HTTP {status}")
        case Answer(status=status):  # A redirect too: the body is signed for one address, and goes to no other.
            return NotDelivered(detail=f"HTTP {status}")
        case Refused(detail=detail) | Broken(detail=detail):
            return NotDelivered(detail=detail)


def _split(url: str) -> tuple[str, str]:
    """Split a URL into its origin and all that follows, as it is written there: a slash at the end may matter."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    return origin, url.removeprefix(origin) or "/"


def _transport(origin: str) -> Transport:
    with _making:
        if origin not in _open:
            _open[origin] = Transport(
                base_url=origin,
                headers={},
                connect_seconds=config.announcements().connect_seconds,
                connections=_CONNECTIONS,
            )
        return _open[origin]
