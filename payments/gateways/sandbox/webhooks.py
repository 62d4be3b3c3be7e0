"""Telling the shop: signed events, at least once, in the order and number the control endpoint wants.

Events are rows of the ledger, written in the transaction that caused them; a killed gateway sends the
waiting ones after its restart. Duplicates, delays and disorder are what real gateways do anyway; here they
can be asked for.
"""

import asyncio
import datetime as dt
import hashlib
import hmac
import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

import aiohttp

from payments.gateways.sandbox.clock import read_clock, stamp
from payments.gateways.sandbox.ledger import Ledger, Row
from payments.gateways.sandbox.settings import Settings

log = logging.getLogger("sandbox")

SIGNATURE_HEADER = "Sandbox-Signature"
LOOK_PERIOD_SECONDS = 0.02
BATCH = 200
DELIVERIES_AT_ONCE = 32
DELIVERY_TIMEOUT_SECONDS = 10
LONGEST_RETRY_SECONDS = 60.0
_ACCEPTED = range(200, 300)
GATEWAY_IN_URL = "{gateway}"  # In the address of events: the dialect of the charge.


class Signer(Protocol):
    """How a dialect signs: the headers of one delivery."""

    def __call__(self, body: bytes, *, url: str, secrets: Sequence[str], unix_seconds: int) -> Mapping[str, str]:
        """Return them."""
        ...


def sign(body: bytes, *, secrets: Sequence[str], unix_seconds: int) -> str:
    """Return the signature header: `t=<unix>` and one `v1=<hex HMAC-SHA256 of "<t>.<body>">` per secret."""
    signed = f"{unix_seconds}.".encode() + body
    marks = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={unix_seconds}", *(f"v1={mark}" for mark in marks)])


class Postman:
    """Delivers what is due."""

    def __init__(self, *, ledger: Ledger, settings: Settings, signers: Mapping[str, Signer]) -> None:
        self._ledger = ledger
        self._signers = signers
        self._settings = settings
        self._at_once = asyncio.Semaphore(DELIVERIES_AT_ONCE)

    async def deliver_forever(self) -> None:
        """Look for due events, for ever."""
        timeout = aiohttp.ClientTimeout(total=DELIVERY_TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await asyncio.sleep(LOOK_PERIOD_SECONDS)
                await self._deliver_due(session)

    async def _deliver_due(self, session: aiohttp.ClientSession) -> None:
        road = self._settings.webhook
        if road.url is None or not road.enabled:
            return
        due = self._ledger.events_due(now=stamp(read_clock()), limit=max(BATCH, road.reorder))
        if not due:
            return
        if road.reorder > 0:
            # A bunch waits until it is full, then goes out newest first, one after the other.
            if len(due) < road.reorder:
                return
            await self._deliver_in_turn(session, due[: road.reorder][::-1])
            return
        # Events of one charge keep their order; charges do not wait for each other.
        due.sort(key=lambda event: (event["charge_id"], event["sequence"]))
        bunches = [list(events) for _, events in itertools.groupby(due, key=lambda event: event["charge_id"])]
        await asyncio.gather(*(self._deliver_in_turn(session, bunch) for bunch in bunches))

    async def _deliver_in_turn(self, session: aiohttp.ClientSession, events: Sequence[Row]) -> None:
        async with self._at_once:
            for event in events:
                await self._deliver(session, event)

    async def _deliver(self, session: aiohttp.ClientSession, event: Row) -> None:
        if not self._ledger.is_waiting(event["sequence"]):
            return  # The ledger was emptied while this one stood in the queue.
        road = self._settings.webhook
        results = [await self._post(session, event) for _ in range(1 + road.duplicates)]
        status = results[0]
        tries = event["tries"] + 1
        now = read_clock()
        if status is not None and status in _ACCEPTED:
            state, due_at = "delivered", now
        elif tries >= road.max_tries:
            state, due_at = "failed", now
        else:
            wait_seconds = min(road.retry_base_seconds * 2 ** (tries - 1), LONGEST_RETRY_SECONDS)
            state, due_at = "waiting", now + dt.timedelta(seconds=wait_seconds)
        self._ledger.update_event(event["sequence"], state=state, due_at=stamp(due_at), tries=tries)
        fields = {
            "event_id": event["id"],
            "type": event["type"],
            "status": status,
            "state": state,
            "tries": tries,
        }
        log.info("webhook", extra={"fields": fields})

    async def _post(self, session: aiohttp.ClientSession, event: Row) -> int | None:
        """Send once; return the receiver's status, or None if it could not be reached."""
        road = self._settings.webhook
        if road.url is None:
            return None
        body, url = event["payload"].encode(), road.url.replace(GATEWAY_IN_URL, event["dialect"])
        signer = self._signers[event["dialect"]]
        marks = signer(body, url=url, secrets=road.secrets, unix_seconds=int(read_clock().timestamp()))
        headers = {"Content-Type": "application/json", **marks}
        try:
            async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
