"""The gateway's own dialect over HTTP: a plain, Stripe-like JSON API under /v1.

A face only translates. It turns a request into a `Call` and the engine's outcomes into answers; what
happens between is the flow's business and the same for every dialect.
"""

import datetime as dt
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from typing import Any

from aiohttp import web

from payments.gateways.sandbox import checks
from payments.gateways.sandbox.behaviours import Operation, token_exists
from payments.gateways.sandbox.checks import JSON, InvalidRequestError
from payments.gateways.sandbox.flow import Call, Flow, Wordings
from payments.gateways.sandbox.records import (
    Act,
    Answer,
    Cancelled,
    Change,
    Charge,
    Create,
    Declined,
    Done,
    Outcome,
    Refused,
)
from payments.gateways.sandbox.settings import Settings

LONGEST_KEY = 255
LARGEST_AMOUNT_MINOR = 999_999_999_999
_CURRENCY = re.compile("[A-Z]{3}")

_STATUSES = {
    "not_found": 404,
    "idempotency_key_mismatch": 400,
    "idempotency_key_in_use": 409,
    "key_cancelled": 409,
    "invalid_state": 409,
    "refund_exceeds_captured": 409,
    "capture_exceeds_authorized": 409,
}
_AMOUNT = ("an integer > 0", checks.is_whole(least=1, most=LARGEST_AMOUNT_MINOR))
_CREATE_FIELDS: dict[str, tuple[str, checks.Check]] = {
    "reference": ("a text of 1 to 200 characters", checks.is_text(longest=200)),
    "amount_minor": _AMOUNT,
    "currency": (
        "three capital letters",
        lambda value: isinstance(value, str) and _CURRENCY.fullmatch(value) is not None,
    ),
    "payment_token": (
        "a token that exists",
        lambda value: checks.is_text(longest=200)(value) and token_exists(value),
    ),
    "capture": ("true or false", checks.is_flag),
    "return_url": ("an absolute http(s) URL", checks.is_url),
    "expires_in_seconds": ("an integer from 1 to 2592000", checks.is_whole(least=1, most=2_592_000)),
    "metadata": ("an object of texts", checks.is_labels),
}
_CREATE_REQUIRED = frozenset({"reference", "amount_minor", "currency", "payment_token"})


def charge_object(charge: Charge) -> JSON:
    """Return the charge as this dialect shows it."""
    return {
        "id": charge.id,
        "object": "charge",
        "reference": charge.reference,
        "status": charge.status,
        "amount_minor": charge.amount_minor,
        "amount_captured_minor": charge.amount_captured_minor,
        "amount_refunded_minor": charge.amount_refunded_minor,
        "currency": charge.currency,
        "decline_code": charge.decline_code,
        "redirect_url": charge.redirect_url,
        "payment_token": charge.payment_token,
        "metadata": charge.metadata,
        "expires_at": charge.expires_at,
        "created_at": charge.created_at,
        "updated_at": charge.updated_at,
        "version": charge.version,
    }


def word_event(event_id: str, change: Change, now: dt.datetime) -> str:
    """Return an event's JSON text, with the charge as it was when the event happened."""
    return json.dumps(
        {
            "id": event_id,
            "type": change.event_type,
            "created": int(now.timestamp()),
            "data": {"charge": charge_object(change.charge)},
        }
    )


def word_error(status: int, code: str, message: str, **more: object) -> Answer:
    """Return an error answer; `more` goes beside code and message."""
    return Answer(status, json.dumps({"error": {"code": code, "message": message, **more}}))


def word_outcome(outcome: Outcome) -> Answer:
    """Return the answer for what the engine did: 200, 402 or what a refusal is worth."""
    match outcome:
        case Done(charge):
            return Answer(200, json.dumps(charge_object(charge)))
        case Declined(charge, decline_code):
            message = f"The card was declined: {decline_code.replace('_', ' ')}."
            return word_error(402, "card_declined", message, decline_code=decline_code, charge=charge_object(charge))
        case Refused(code, message):
            return word_error(_STATUSES[code], code, message)


def word_creation(outcome: Outcome) -> Answer:
    """Return the answer for a new charge: 201 when there is one."""
    answer = word_outcome(outcome)
    return Answer(201, answer.body) if isinstance(outcome, Done) else answer


_ACTS = Wordings(outcome=word_outcome, error=word_error)
_CREATION = Wordings(outcome=word_creation, error=word_error)


class NativeFace:
    """The routes under /v1."""

    def __init__(self, *, flow: Flow, settings: Settings) -> None:
        self._flow = flow
        self._engine = flow.engine
        self._settings = settings

    def routes(self) -> list[web.RouteDef]:
        """Return what this face answers to."""
        return [
            web.post("/v1/charges", self._create),
            web.get("/v1/charges", self._find, allow_head=False),
            web.get("/v1/charges/{charge_id}", self._fetch, allow_head=False),
            web.post("/v1/charges/{charge_id}/{verb:capture|void|refund}", self._act),
            web.post("/v1/idempotency-keys/{key}/cancel", self._cancel),
        ]

    async def _create(self, request: web.Request) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            checks.check_fields(body, _CREATE_FIELDS, required=_CREATE_REQUIRED)
            call.command = Create(
                reference=body["reference"],
                amount_minor=body["amount_minor"],
                currency=body["currency"],
                payment_token=body["payment_token"],
                capture=body.get("capture", True),
                return_url=body.get("return_url"),
                expires_in_seconds=body.get("expires_in_seconds"),
                metadata=body.get("metadata", {}),
                page_origin=f"{request.scheme}://{request.host}",
            )

        return await self._take_in(request, Operation.CHARGE, prepare, wordings=_CREATION, keyed=True)

    async def _act(self, request: web.Request) -> web.StreamResponse:
        operation = Operation(request.match_info["verb"])
        charge_id = request.match_info["charge_id"]

        def prepare(call: Call, body: JSON) -> None:
            known = {} if operation is Operation.VOID else {"amount_minor": _AMOUNT}
            checks.check_fields(body, known)
            call.command = Act(operation=operation, charge_id=charge_id, amount_minor=body.get("amount_minor"))

        return await self._take_in(request, operation, prepare, wordings=_ACTS, keyed=True)

    async def _fetch(self, request: web.Request) -> web.StreamResponse:
        charge_id = request.match_info["charge_id"]

        def read() -> Answer:
            charge = self._engine.look_up(charge_id)
            return word_outcome(Refused("not_found", "No such charge.") if charge is None else Done(charge))

        def prepare(call: Call, body: JSON) -> None:
            checks.check_fields({**request.query, **body}, {})
            call.read = read

        return await self._take_in(request, Operation.LOOKUP, prepare)

    async def _find(self, request: web.Request) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            known = {"reference": _CREATE_FIELDS["reference"]}
            checks.check_fields({**request.query, **body}, known, required=frozenset(known))
            call.read = read

        def read() -> Answer:
            charges = self._engine.look_up_reference(request.query["reference"])
            return Answer(200, json.dumps({"data": [charge_object(charge) for charge in charges]}))

        return await self._take_in(request, Operation.LOOKUP, prepare)

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        key = request.match_info["key"]

        def read() -> Answer:
            match self._engine.cancel_key(key):
                case Refused() as refused:
                    return word_outcome(refused)
                case Cancelled(result, charge):
                    shown = None if charge is None else charge_object(charge)
                    return Answer(200, json.dumps({"result": result, "charge": shown}))

        def prepare(call: Call, body: JSON) -> None:
            checks.check_fields(body, {})
            _check_key(key)
            call.read = read

        return await self._take_in(request, Operation.CANCEL, prepare)

    async def _take_in(
        self,
        request: web.Request,
        operation: Operation,
        prepare: Callable[[Call, JSON], None],
        *,
        wordings: Wordings = _ACTS,
        keyed: bool = False,
    ) -> web.StreamResponse:
        """Write the request down, let in who may come in, check it, and hand it to the flow."""
        self._flow.gauge.up()
        try:
            raw = await request.read()
            call = Call(operation=operation, wordings=wordings)
            body, problem = _parse(raw)
            self._describe(call, request, body, raw, keyed=keyed)
            self._flow.arrive(call)
            if not self._may_enter(request):
                return self._flow.answer(call, word_error(401, "unauthorized", "Wrong or missing API key."))
            try:
                if problem is not None:
                    raise problem
                if keyed:
                    _check_key(call.key)
                prepare(call, body)
            except InvalidRequestError as error:
                answer = word_error(400, "invalid_request", error.message, param=error.param)
                return self._flow.answer(call, answer, ended="invalid")
            return await self._flow.run(request, call)
        finally:
            self._flow.gauge.down()

    def _describe(self, call: Call, request: web.Request, body: JSON, raw: bytes, *, keyed: bool) -> None:
        """Fill in what the ledger wants to know of a request, before it is known to be well formed."""
        call.charge_id = request.match_info.get("charge_id")
        named = body.get("reference") or request.query.get("reference")
        if call.charge_id is not None:
            charge = self._engine.ledger.charge(call.charge_id)
            named = None if charge is None else charge.reference
        call.reference = _clean(named)
        call.key = _clean(request.headers.get("Idempotency-Key") if keyed else request.match_info.get("key"))
        if raw:
            canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode() if body else raw
            call.body_hash = hashlib.sha256(canonical).hexdigest()
        if keyed:
            text = f"{request.method} {request.path} {call.body_hash or ''}"
            call.fingerprint = hashlib.sha256(text.encode()).hexdigest()
        if call.operation is Operation.CHARGE and body.get("capture") is False:
            call.operation = Operation.AUTHORIZE

    def _may_enter(self, request: web.Request) -> bool:
        expected = f"Bearer {self._settings.api_key}".encode()
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        return hmac.compare_digest(given, expected)


def _parse(raw: bytes) -> tuple[JSON, InvalidRequestError | None]:
    try:
        return checks.parse_object(raw), None
    except InvalidRequestError as error:
        return {}, error


def _check_key(key: str | None) -> None:
    if key is None:
        what = f"An Idempotency-Key of 1 to {LONGEST_KEY} printable characters is required."
        raise InvalidRequestError(what, param="Idempotency-Key")


def _clean(text: Any) -> str | None:
    """Return a text the ledger can keep, or None: what a stranger sends may be anything."""
    return text if checks.is_text(longest=LONGEST_KEY)(text) else None
