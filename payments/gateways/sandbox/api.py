"""The gateway's own dialect over HTTP: a plain, Stripe-like JSON API under /v1."""

import datetime as dt
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from aiohttp import web

from payments.gateways.sandbox import checks
from payments.gateways.sandbox.behaviours import MOVES_MONEY, Operation, token_exists
from payments.gateways.sandbox.checks import JSON, InvalidRequestError
from payments.gateways.sandbox.face import LONGEST_KEY, Face, clean
from payments.gateways.sandbox.flow import Call, Wordings
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
from payments.gateways.sandbox.webhooks import SIGNATURE_HEADER, sign

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


class NativeFace(Face):
    """The routes under /v1."""

    dialect = "sandbox"

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
            _check_key(call.key)
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
                dialect=self.dialect,
            )

        return await self.take_in(request, Operation.CHARGE, prepare, wordings=_CREATION, keyed=True)

    async def _act(self, request: web.Request) -> web.StreamResponse:
        operation = Operation(request.match_info["verb"])
        charge_id = request.match_info["charge_id"]

        def prepare(call: Call, body: JSON) -> None:
            _check_key(call.key)
            known = {} if operation is Operation.VOID else {"amount_minor": _AMOUNT}
            checks.check_fields(body, known)
            call.command = Act(operation=operation, charge_id=charge_id, amount_minor=body.get("amount_minor"))

        return await self.take_in(request, operation, prepare, wordings=_ACTS, keyed=True)

    async def _fetch(self, request: web.Request) -> web.StreamResponse:
        charge_id = request.match_info["charge_id"]

        def read() -> Answer:
            charge = self.engine.look_up(charge_id)
            return word_outcome(Refused("not_found", "No such charge.") if charge is None else Done(charge))

        def prepare(call: Call, body: JSON) -> None:
            checks.check_fields({**request.query, **body}, {})
            call.read = read

        return await self.take_in(request, Operation.LOOKUP, prepare, wordings=_ACTS)

    async def _find(self, request: web.Request) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            known = {"reference": _CREATE_FIELDS["reference"]}
            checks.check_fields({**request.query, **body}, known, required=frozenset(known))
            call.read = read

        def read() -> Answer:
            charges = self.engine.look_up_reference(request.query["reference"])
            return Answer(200, json.dumps({"data": [charge_object(charge) for charge in charges]}))

        return await self.take_in(request, Operation.LOOKUP, prepare, wordings=_ACTS)

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        key = request.match_info["key"]

        def read() -> Answer:
            match self.engine.cancel_key(key):
                case Refused() as refused:
                    return word_outcome(refused)
                case Cancelled(result, charge):
                    shown = None if charge is None else charge_object(charge)
                    return Answer(200, json.dumps({"result": result, "charge": shown}))

        def prepare(call: Call, body: JSON) -> None:
            checks.check_fields(body, {})
            _check_key(key)
            call.read = read

        return await self.take_in(request, Operation.CANCEL, prepare, wordings=_ACTS)

    def may_enter(self, request: web.Request) -> bool:
        """Tell whether the request carries the API key."""
        expected = f"Bearer {self.settings.api_key}".encode()
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        return hmac.compare_digest(given, expected)

    def word_problem(self, status: int, code: str, message: str, *, param: str | None = None) -> Answer:
        """Word what is wrong with a request at the door."""
        return word_error(status, code, message, **({} if status == HTTPStatus.UNAUTHORIZED else {"param": param}))

    def describe(self, call: Call, request: web.Request, body: JSON) -> None:
        """Fill in what the ledger wants to know of a request, before it is known to be well formed."""
        call.charge_id = request.match_info.get("charge_id")
        named = body.get("reference") or request.query.get("reference")
        if call.charge_id is not None:
            charge = self.engine.ledger.charge(call.charge_id)
            named = None if charge is None else charge.reference
        call.reference = clean(named)
        is_keyed = call.operation in MOVES_MONEY
        call.key = clean(request.headers.get("Idempotency-Key") if is_keyed else request.match_info.get("key"))
        if call.operation is Operation.CHARGE and body.get("capture") is False:
            call.operation = Operation.AUTHORIZE

    word_event = staticmethod(word_event)

    @staticmethod
    def sign_event(body: bytes, *, url: str, secrets: Sequence[str], unix_seconds: int) -> Mapping[str, str]:
        """Return the headers that an event is sent with."""
        del url  # This signature does not cover where it goes.
        return {SIGNATURE_HEADER: sign(body, secrets=secrets, unix_seconds=unix_seconds)}


def _check_key(key: str | None) -> None:
    if key is None:
        what = f"An Idempotency-Key of 1 to {LONGEST_KEY} printable characters is required."
        raise InvalidRequestError(what, param="Idempotency-Key")
