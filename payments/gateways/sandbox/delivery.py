"""How an answer reaches the client, or does not: whole, dripping, as rubbish, never, or as a reset.

Nothing here knows a dialect; every face of the gateway fails in the same ways.
"""

import asyncio
import socket
import struct
from collections.abc import Mapping

from aiohttp import web

from payments.gateways.sandbox.records import Answer

# aiohttp does not cancel a handler when its client leaves, which is what keeps a begun execution whole; so
# whoever holds a request has to look. 20 ms over 2,000 held requests costs well under a percent of a core.
LOOK_PERIOD_SECONDS = 0.02
GARBAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body><h1>It works!</h1></body></html>"


def has_left(request: web.Request) -> bool:
    """Tell whether the client closed the connection."""
    transport = request.transport
    return transport is None or transport.is_closing()


class Holds:
    """The requests that are being held, and the one loop that looks whether their clients are still there."""

    def __init__(self) -> None:
        self._held: dict[asyncio.Future[bool], web.Request] = {}

    def __len__(self) -> int:
        return len(self._held)

    async def hold(self, request: web.Request, *, seconds: float | None = None) -> bool:
        """Wait until released (True), until the client leaves (False), or for `seconds` (False)."""
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._held[waiter] = request
        try:
            async with asyncio.timeout(seconds):
                return await waiter
        except TimeoutError:
            return False
        finally:
            del self._held[waiter]

    def release(self) -> int:
        """Let all held requests go on; return how many."""
        waiting = [waiter for waiter in self._held if not waiter.done()]
        for waiter in waiting:
            waiter.set_result(True)
        return len(waiting)

    async def watch(self) -> None:
        """Notice, for ever, clients that left."""
        while True:
            await asyncio.sleep(LOOK_PERIOD_SECONDS)
            self.look()

    def look(self) -> None:
        """Wake every held request whose client left."""
        for waiter, request in self._held.items():
            if not waiter.done() and has_left(request):
                waiter.set_result(False)


def respond(answer: Answer, *, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return the whole answer at once."""
    return web.Response(
        status=answer.status, body=answer.body.encode(), content_type="application/json", headers=headers
    )


def respond_garbage() -> web.Response:
    """Return a 200 that is no answer: the page of some proxy in between."""
    return web.Response(status=200, body=GARBAGE, content_type="text/html")


def reset(request: web.Request) -> web.Response:
    """Send a TCP RST instead of an answer; what is returned goes nowhere.

    SO_LINGER with a timeout of 0 makes close() discard what is queued and send RST rather than FIN.
    """
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response(status=500)


async def drip(
    request: web.Request, answer: Answer, *, holds: Holds, interval_seconds: float
) -> tuple[web.StreamResponse, bool]:
    """Send the headers, then one byte of the body per interval; a release sends the rest. Tell if all did."""
    body = answer.body.encode()
    response = web.StreamResponse(status=answer.status)
    response.content_type = "application/json"
    response.content_length = len(body)
    try:
        await response.prepare(request)
        for position in range(len(body)):
            if has_left(request):
                return response, False
            await response.write(body[position : position + 1])
            if await holds.hold(request, seconds=interval_seconds):
                await response.write(body[position + 1 :])
                break
        await response.write_eof()
    except ConnectionError:
        return response, False
    return response, True
