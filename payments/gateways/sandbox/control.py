"""The operator's side: look into the ledger, switch behaviours, change settings. Loopback only.

Tests and demonstrations drive the gateway from here. Nothing under /control is logged as a request of the
gateway.
"""

import dataclasses
import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from payments.gateways.sandbox import checks
from payments.gateways.sandbox.api import charge_object, word_error
from payments.gateways.sandbox.behaviours import (
    ALL_OPERATIONS,
    BEHAVIOURS,
    CREATES,
    OK,
    Kind,
    Operation,
    Switch,
    parse_behaviour,
)
from payments.gateways.sandbox.checks import JSON, InvalidRequestError, check_fields
from payments.gateways.sandbox.delivery import respond
from payments.gateways.sandbox.flow import Flow
from payments.gateways.sandbox.profiles import PROFILES
from payments.gateways.sandbox.records import Answer, Cause, Declined, Done, Refused, Settlement
from payments.gateways.sandbox.settings import Settings

MOST_SECRETS = 5  # The new and the old one while they are being exchanged, and some to spare.
_SCOPES = frozenset({ALL_OPERATIONS, *Operation})
_SECONDS = ("a number of seconds from 0 to 86400", checks.is_number(least=0, most=86_400))
_FRACTION = ("a number from 0 to 1", checks.is_number(least=0, most=1))
_BEHAVIOUR_FIELDS: dict[str, tuple[str, checks.Check]] = {
    "behaviour": (
        f"slow:SECONDS or one of {', '.join(BEHAVIOURS)}",
        lambda value: isinstance(value, str) and parse_behaviour(value) is not None,
    ),
    "operation": (
        f"null or one of {', '.join(sorted(_SCOPES))}",
        lambda value: value is None or (isinstance(value, str) and value in _SCOPES),
    ),
    "times": (
        "null or an integer > 0",
        lambda value: value is None or checks.is_whole(least=1, most=1_000_000)(value),
    ),
    "fraction": _FRACTION,
}
_SETTINGS_FIELDS: dict[str, tuple[str, checks.Check]] = {
    "profile": (
        f"one of {', '.join(PROFILES)}",
        lambda value: isinstance(value, str) and value in PROFILES,
    ),
    "key_ttl_seconds": ("a number of seconds > 0", checks.is_number(least=0.001, most=31_536_000)),
    "execute_at_fraction": _FRACTION,
    "drip_interval_seconds": _SECONDS,
    "settle_delay_seconds": _SECONDS,
    "webhook": ("an object", lambda value: isinstance(value, dict)),
}
_WEBHOOK_FIELDS: dict[str, tuple[str, checks.Check]] = {
    "url": ("null or an absolute http(s) URL", lambda value: value is None or checks.is_url(value)),
    "secrets": (
        "a list of 1 to 5 texts",
        lambda value: (
            isinstance(value, list)
            and 1 <= len(value) <= MOST_SECRETS
            and all(checks.is_text(longest=200)(secret) for secret in value)
        ),
    ),
    "enabled": ("true or false", checks.is_flag),
    "drop": ("true or false", checks.is_flag),
    "delay_seconds": _SECONDS,
    "duplicates": ("an integer from 0 to 100", checks.is_whole(least=0, most=100)),
    "reorder": ("an integer from 0 to 1000", checks.is_whole(least=0, most=1000)),
    "max_tries": ("an integer from 1 to 100", checks.is_whole(least=1, most=100)),
    "retry_base_seconds": _SECONDS,
}


def is_loopback(peer: str | None) -> bool:
    """Tell whether a peer's address is this machine's own loopback."""
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


class Control:
    """The routes under /control."""

    def __init__(self, *, flow: Flow, settings: Settings) -> None:
        self._flow = flow
        self._settings = settings
        self._initial = settings.copy()

    def routes(self) -> list[web.RouteDef]:
        """Return what the control side answers to."""
        table: list[tuple[str, str, Callable[[web.Request, JSON], object]]] = [
            ("GET", "/control/health", self._health),
            ("GET", "/control/ledger", self._ledger),
            ("GET", "/control/in-flight", self._in_flight),
            ("GET", "/control/behaviour", self._switches),
            ("POST", "/control/behaviour", self._switch_on),
            ("DELETE", "/control/behaviour", self._switch_off),
            ("GET", "/control/settings", self._show_settings),
            ("POST", "/control/settings", self._change_settings),
            ("POST", "/control/release", self._release),
            ("POST", "/control/forget-keys", self._forget_keys),
            ("POST", "/control/reset", self._reset),
            ("POST", "/control/charges/{charge_id}/settle", self._settle),
        ]
        return [web.route(method, path, _guarded(act)) for method, path, act in table]

    def _health(self, request: web.Request, body: JSON) -> object:
        return {"status": "ok"}

    def _ledger(self, request: web.Request, body: JSON) -> object:
        text = ("a text", checks.is_text(longest=255))
        check_fields(request.query, {"reference": text, "key": text})
        return self._flow.engine.ledger.dump(reference=request.query.get("reference"), key=request.query.get("key"))

    def _in_flight(self, request: web.Request, body: JSON) -> object:
        return {"count": self._flow.gauge.count, "peak": self._flow.gauge.peak, "held": len(self._flow.holds)}

    def _switches(self, request: web.Request, body: JSON) -> object:
        return {
            "switches": [
                {
                    "behaviour": switch.behaviour.name,
                    "operation": switch.operation,
                    "times": switch.times,
                    "fraction": switch.fraction,
                }
                for switch in self._flow.switches.active()
            ]
        }

    def _switch_on(self, request: web.Request, body: JSON) -> object:
        check_fields(body, _BEHAVIOUR_FIELDS, required=frozenset({"behaviour"}))
        behaviour = parse_behaviour(body["behaviour"]) or OK  # It exists: that was checked.
        operation = body.get("operation")
        if behaviour.kind is Kind.PENDING and operation not in {None, *CREATES}:
            raise InvalidRequestError("Only a new charge can be pending.", param="operation")
        if behaviour.kind is Kind.DECLINE and operation in {
            ALL_OPERATIONS,
            Operation.LOOKUP,
            Operation.CANCEL,
        }:
            raise InvalidRequestError("Only what moves money can be declined.", param="operation")
        switch = Switch(
            behaviour=behaviour,
            operation=operation,
            times=body.get("times"),
            fraction=body.get("fraction", 1.0),
        )
        self._flow.switches.turn_on(switch)
        return self._switches(request, body)

    def _switch_off(self, request: web.Request, body: JSON) -> object:
        self._flow.switches.clear()
        return self._switches(request, body)

    def _show_settings(self, request: web.Request, body: JSON) -> object:
        shown = dataclasses.asdict(self._settings)
        shown["profile"] = self._settings.profile.name
        del shown["api_key"], shown["webhook"]["secrets"]
        return shown

    def _change_settings(self, request: web.Request, body: JSON) -> object:
        check_fields(body, _SETTINGS_FIELDS)
        webhook = dict(body.get("webhook", {}))
        check_fields(webhook, _WEBHOOK_FIELDS)
        if "secrets" in webhook:
            webhook["secrets"] = tuple(webhook["secrets"])
        for name, value in webhook.items():
            setattr(self._settings.webhook, name, value)
        for name, value in body.items():
            if name != "webhook":
                setattr(self._settings, name, PROFILES[value] if name == "profile" else value)
        return self._show_settings(request, body)

    def _release(self, request: web.Request, body: JSON) -> object:
        return {"released": self._flow.holds.release()}

    def _forget_keys(self, request: web.Request, body: JSON) -> object:
        return {"forgotten": self._flow.engine.ledger.forget_answers()}

    def _reset(self, request: web.Request, body: JSON) -> object:
        self._flow.empty()
        self._settings.restore(self._initial)
        return {"status": "empty"}

    def _settle(self, request: web.Request, body: JSON) -> object:
        what = (
            f"one of {', '.join(Settlement)}",
            lambda value: isinstance(value, str) and value in set(Settlement),
        )
        check_fields(body, {"action": what}, required=frozenset({"action"}))
        charge_id = request.match_info["charge_id"]
        match self._flow.engine.settle(charge_id, Settlement(body["action"]), cause=Cause.CONTROL):
            case Refused(code, message):
                return word_error(404 if code == "not_found" else 409, code, message)
            case Done(charge) | Declined(charge, _):
                return charge_object(charge)


def _guarded(
    act: Callable[[web.Request, JSON], object],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Let in loopback only, parse the body, and word what went wrong."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if not is_loopback(request.remote):
            return respond(word_error(403, "forbidden", "The control endpoints answer on loopback only."))
        try:
            done: Any = act(request, checks.parse_object(await request.read()))
        except InvalidRequestError as error:
            return respond(word_error(400, "invalid_request", error.message, param=error.param))
        return respond(done if isinstance(done, Answer) else Answer(200, json.dumps(done)))

    return handle
