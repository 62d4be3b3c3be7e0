"""Putting the process together: arguments, ready line, background loops, a quick and clean end."""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import pathlib
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiohttp import web

from payments.gateways.sandbox.api import NativeFace, word_error
from payments.gateways.sandbox.clock import read_clock, stamp
from payments.gateways.sandbox.control import Control
from payments.gateways.sandbox.delivery import respond
from payments.gateways.sandbox.engine import Engine
from payments.gateways.sandbox.face import Face
from payments.gateways.sandbox.faces.paypal import PayPalFace
from payments.gateways.sandbox.faces.phonepe import PhonePeFace
from payments.gateways.sandbox.faces.square import SquareFace
from payments.gateways.sandbox.faces.stripe import StripeFace
from payments.gateways.sandbox.flow import Flow
from payments.gateways.sandbox.ledger import Ledger
from payments.gateways.sandbox.pages import HostedPage
from payments.gateways.sandbox.profiles import PROFILES
from payments.gateways.sandbox.settings import (
    DEFAULT_API_KEY,
    DEFAULT_WEBHOOK_SECRET,
    KEY_TTL_SECONDS,
    Settings,
    WebhookSettings,
)
from payments.gateways.sandbox.webhooks import Postman

log = logging.getLogger("sandbox")

BACKLOG = 4096
LARGEST_BODY_BYTES = 64 * 1024
TIMER_PERIOD_SECONDS = 0.02
FACES: tuple[type[Face], ...] = (NativeFace, StripeFace, SquareFace, PhonePeFace, PayPalFace)
SHUTDOWN_SECONDS = 0.1  # Held requests would otherwise hold up the end; a client sees a lost connection, as it should.


class JsonLines(logging.Formatter):
    """One JSON object per line, in the order a reader looks for things."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {"at": stamp(read_clock()), "event": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def parse_arguments(arguments: Sequence[str], *, environment: Mapping[str, str]) -> argparse.Namespace:
    """Return the arguments; each can also come as SANDBOX_<NAME> from the environment."""
    parser = argparse.ArgumentParser(
        prog="python -m payments.gateways.sandbox", description="A payment gateway to run against."
    )

    def add(name: str, *, default: str | None, kind: Callable[[str], object] = str, text: str) -> None:
        variable = "SANDBOX_" + name.upper().replace("-", "_")
        value = environment.get(variable) or default
        parser.add_argument(
            f"--{name}", default=value, required=value is None and name == "ledger", type=kind, help=text
        )

    add("host", default="127.0.0.1", text="address to listen on")
    add("port", default="8100", kind=int, text="port to listen on; 0 picks a free one")
    add("ledger", default=None, kind=pathlib.Path, text="path of the SQLite ledger")
    add("profile", default="instant", text=f"latency profile: {', '.join(PROFILES)}")
    add("webhook-url", default=None, text="where events are sent, {gateway} being the dialect; none by default")
    add("api-key", default=DEFAULT_API_KEY, text="the bearer token of /v1")
    add("webhook-secret", default=DEFAULT_WEBHOOK_SECRET, text="signs events; several separated by commas")
    add("key-ttl-seconds", default=str(KEY_TTL_SECONDS), kind=float, text="how long idempotency keys are kept")
    add("seed", default=None, kind=int, text="makes latencies and fractions repeatable")
    parsed = parser.parse_args(arguments)
    if parsed.profile not in PROFILES:
        parser.error(f"--profile must be one of {', '.join(PROFILES)}")
    return parsed


def to_settings(parsed: argparse.Namespace) -> Settings:
    """Return the settings that the arguments ask for."""
    secrets = tuple(secret for secret in parsed.webhook_secret.split(",") if secret)
    return Settings(
        api_key=parsed.api_key,
        profile=PROFILES[parsed.profile],
        key_ttl_seconds=parsed.key_ttl_seconds,
        webhook=WebhookSettings(url=parsed.webhook_url, secrets=secrets),
    )


def raise_file_limit() -> None:
    """Raise the soft limit of open files to the hard one: every request that is held is a file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # Some systems refuse "unlimited"; then what is there must do.
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@web.middleware
async def speak_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Word what aiohttp refuses (unknown path, wrong method, too large) like every other error."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if isinstance(error, web.HTTPRedirection):
            raise
        code = error.reason.lower().replace(" ", "_")
        return respond(word_error(error.status, code, error.reason))
    except Exception:
        log.exception("bug", extra={"fields": {"path": request.path}})
        return respond(word_error(500, "internal_error", "The sandbox itself is broken; see its log."))


async def serve(parsed: argparse.Namespace) -> None:
    """Run the gateway until SIGTERM or SIGINT."""
    settings = to_settings(parsed)
    ledger = Ledger(parsed.ledger)
    engine = Engine(ledger=ledger, settings=settings, wordings={face.dialect: face.word_event for face in FACES})
    flow = Flow(engine=engine, settings=settings, seed=parsed.seed)
    app = web.Application(middlewares=[speak_json], client_max_size=LARGEST_BODY_BYTES)
    for face in FACES:
        app.add_routes(face(flow=flow, settings=settings).routes())
    for part in (Control(flow=flow, settings=settings), HostedPage(engine=engine)):
        app.add_routes(part.routes())

    postman = Postman(ledger=ledger, settings=settings, signers={face.dialect: face.sign_event for face in FACES})
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, keepalive_timeout=75.0)
    await runner.setup()
    loops = [
        asyncio.create_task(keep_alive(flow.holds.watch)),
        asyncio.create_task(keep_alive(postman.deliver_forever)),
        asyncio.create_task(keep_alive(lambda: run_timers_forever(engine))),
    ]
    try:
        await web.TCPSite(runner, parsed.host, parsed.port, backlog=BACKLOG).start()
        host, port = runner.addresses[0][:2]
        print(f"sandbox gateway ready on http://{host}:{port}", flush=True)  # noqa: T201  # what a starter waits for
        await stop.wait()
    finally:
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await runner.cleanup()
        ledger.close()


async def run_timers_forever(engine: Engine) -> None:
    """Expire and settle charges when their time comes, for ever."""
    while True:
        await asyncio.sleep(TIMER_PERIOD_SECONDS)
        engine.run_timers()


async def keep_alive(work: Callable[[], Awaitable[None]]) -> None:
    """Run a background loop again if a bug ended it: a silent gateway is not the fault under test."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("background loop failed")
            await asyncio.sleep(1.0)


def main() -> int:
    """Start from the command line."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    parsed = parse_arguments(sys.argv[1:], environment=os.environ)
    raise_file_limit()
    asyncio.run(serve(parsed))
    return 0
