"""PayPal's dialect under /paypal: OAuth tokens, Orders v2, Payments v2 and its signed events.

An order is a charge of the engine that nobody pays yet; its authorisation and its capture are the same charge under
two more ids. What is said of it is worded in paypal_words.py, events in paypal_events.py.
"""

import base64
import datetime as dt
import functools
import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from payments.gateways.sandbox import checks
from payments.gateways.sandbox.behaviours import Operation, token_exists
from payments.gateways.sandbox.checks import JSON, InvalidRequestError
from payments.gateways.sandbox.clock import read_clock
from payments.gateways.sandbox.delivery import respond
from payments.gateways.sandbox.face import Face, clean
from payments.gateways.sandbox.faces import paypal_events, paypal_words
from payments.gateways.sandbox.faces.paypal_words import money_minor, to_order_id
from payments.gateways.sandbox.flow import Call, Wordings
from payments.gateways.sandbox.records import Act, Answer, Charge, Create, Outcome, Refused, Status

CLIENT_ID = "sandbox"  # Its secret is the gateway's API key.
LONGEST_KEY = 108  # paypal.orders, PayPal-Request-Id.
TOKEN_LIFE_SECONDS = 32_400  # As PayPal's live, nine hours.
ORDER_LIFE_SECONDS = 3 * 3600  # An order that nobody pays is gone after three hours.
HOLD_LIFE_SECONDS = 29 * 24 * 3600  # PayPal honours an authorisation for three days, and keeps it for 29.
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
_INTENTS = {"CAPTURE": True, "AUTHORIZE": False}
# The sandbox's own tokens may have a point in them (tok_slow_0.5).
_TOKEN = re.compile(r"[0-9a-zA-Z_.-]{1,255}")
_TEXT_127 = ("a text of 1 to 127 characters", checks.is_text(longest=127))
_OBJECT = ("an object", lambda value: isinstance(value, dict))
_MONEY = ("an amount in its currency's digits", lambda value: money_minor(value) is not None)
_TOKEN_OF_OURS = (
    "a token that exists",
    lambda value: isinstance(value, str) and _TOKEN.fullmatch(value) is not None and token_exists(value),
)
_UNIT: dict[str, tuple[str, checks.Check]] = {
    "amount": _MONEY,
    "custom_id": _TEXT_127,
    "invoice_id": _TEXT_127,
    "description": _TEXT_127,
    "reference_id": ("a text of 1 to 256 characters", checks.is_text(longest=256)),
}
_CONTEXT: dict[str, tuple[str, checks.Check]] = {
    "return_url": ("an absolute URL", checks.is_url),
    "cancel_url": ("an absolute URL", checks.is_url),
    "brand_name": _TEXT_127,
}
_ORDER: dict[str, tuple[str, checks.Check]] = {
    "intent": ("CAPTURE or AUTHORIZE", lambda value: isinstance(value, str) and value in _INTENTS),
    "purchase_units": ("a list of one", lambda value: isinstance(value, list) and len(value) == 1),
    "application_context": _OBJECT,
}

Prepare = Callable[[Call, JSON], None]


class PayPalFace(Face):
    """The routes under /paypal."""

    dialect = "paypal"
    word_event = staticmethod(paypal_events.word_event)
    sign_event = staticmethod(paypal_events.sign_event)

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self._tokens: dict[str, dt.datetime] = {}  # A restart forgets them, as PayPal may at any time.

    def routes(self) -> list[web.RouteDef]:
        """Return what this face answers to."""
        orders, payments = "/paypal/v2/checkout/orders", "/paypal/v2/payments"
        return [
            web.post("/paypal/v1/oauth2/token", self._give_token),
            web.post(orders, self._create),
            web.get(orders + "/{order_id}", self._show, allow_head=False),
            web.patch(orders + "/{order_id}", self._patch),
            web.post(orders + "/{order_id}/{verb:authorize|capture}", self._pay),
            web.get(payments + "/{kind:authorizations|captures}/{payment_id}", self._show_payment, allow_head=False),
            web.post(payments + "/authorizations/{payment_id}/capture", self._capture),
            web.post(payments + "/authorizations/{payment_id}/void", self._void),
            web.post(payments + "/captures/{payment_id}/refund", self._refund),
            web.get("/paypal/v1/notifications/certs/{name}", self._give_certificate, allow_head=False),
            web.post("/paypal/v1/notifications/verify-webhook-signature", self._verify),
        ]

    # The door

    async def _give_token(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        pair = f"{CLIENT_ID}:{self.settings.api_key}".encode()
        expected = f"Basic {base64.b64encode(pair).decode()}".encode()
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, expected):
            wrong = {"error": "invalid_client", "error_description": "Client Authentication failed"}
            return respond(Answer(401, json.dumps(wrong)))
        if form.get("grant_type") != "client_credentials":
            wrong = {"error": "unsupported_grant_type", "error_description": "Unsupported grant_type"}
            return respond(Answer(400, json.dumps(wrong)))
        token = f"A21AA{secrets.token_urlsafe(48)}"
        now = read_clock()
        self._tokens = {text: ends_at for text, ends_at in self._tokens.items() if ends_at > now}
        self._tokens[token] = now + dt.timedelta(seconds=TOKEN_LIFE_SECONDS)
        given_out = {
            "scope": "https://uri.paypal.com/services/payments/payment",
            "access_token": token,
            "token_type": "Bearer",
            "app_id": "APP-80W284485P519543T",
            "expires_in": TOKEN_LIFE_SECONDS,
            "nonce": secrets.token_hex(12),
        }
        return respond(Answer(200, json.dumps(given_out)))

    def may_enter(self, request: web.Request) -> bool:
        """Tell whether the request carries a token that was given out and still lives."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        ends_at = self._tokens.get(token)
        return scheme == "Bearer" and ends_at is not None and ends_at > read_clock()

    def word_problem(self, status: int, code: str, message: str, *, param: str | None = None) -> Answer:
        """Word what is wrong with a request at the door."""
        del code
        if status == web.HTTPUnauthorized.status_code:
            return paypal_words.word_error(status, "unauthorized", message)
        issue = message if message.isupper() else "INVALID_PARAMETER_VALUE"
        return paypal_words.problem(status, "INVALID_REQUEST", issue, message, field=param)

    def parse(self, raw: bytes, request: web.Request) -> JSON:
        """Read the body; a patch, which is a list, as the object {"patch": list}."""
        return super().parse(b'{"patch":' + raw + b"}" if request.method == "PATCH" else raw, request)

    def describe(self, call: Call, request: web.Request, body: JSON) -> None:
        """Fill in what the ledger wants to know of a request, before it is known to be well formed."""
        charge = self._charge_of(request)
        call.charge_id = None if charge is None else charge.id
        call.reference = None if charge is None else charge.reference
        units = body.get("purchase_units")
        if call.operation is Operation.ORDER and isinstance(units, list) and units and isinstance(units[0], dict):
            call.reference = clean(units[0].get("custom_id"))
        if call.operation is not Operation.LOOKUP:
            # Without an id each request is one of its own.
            call.key = clean(request.headers.get("PayPal-Request-Id", secrets.token_hex(16)))

    def _charge_of(self, request: web.Request) -> Charge | None:
        order_id = request.match_info.get("order_id")
        if order_id is None and (payment_id := request.match_info.get("payment_id")) is not None:
            order_id = to_order_id(payment_id)
        charge = None if order_id is None else self.engine.look_up(order_id)
        if charge is None or charge.dialect != self.dialect:
            return None
        return None if charge.is_order and charge.status is Status.EXPIRED else charge

    # Orders

    async def _create(self, request: web.Request) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            _check_key(call)
            checks.check_fields(body, _ORDER, required=frozenset({"intent", "purchase_units"}))
            unit, context = body["purchase_units"][0], body.get("application_context", {})
            if not isinstance(unit, dict):
                raise InvalidRequestError("A purchase unit is an object.", param="purchase_units")
            checks.check_fields(unit, _UNIT, required=frozenset({"amount"}))
            checks.check_fields(context, _CONTEXT)
            call.command = Create(
                reference=unit.get("custom_id", "none"),
                amount_minor=money_minor(unit["amount"]) or 0,
                currency=unit["amount"]["currency_code"],
                payment_token="",
                capture=_INTENTS[body["intent"]],
                return_url=context.get("return_url"),
                expires_in_seconds=ORDER_LIFE_SECONDS,
                metadata={"reference_id": unit.get("reference_id", "default")},
                page_origin=f"{request.scheme}://{request.host}",
                dialect=self.dialect,
                pending=True,
                hosted=True,
                charge_id="5" + "".join(secrets.choice(_ALPHABET) for _ in range(16)),
            )

        return await self._take_in(request, Operation.ORDER, prepare, paypal_words.word_order)

    async def _show(self, request: web.Request) -> web.StreamResponse:
        return await self._look(request, lambda charge: paypal_words.order(charge, refunds=self._refunds(charge)))

    async def _patch(self, request: web.Request) -> web.StreamResponse:
        charge = self._charge_of(request)

        def prepare(call: Call, body: JSON) -> None:
            wanted = "AUTHORIZE" if charge is not None and charge.capture else "CAPTURE"
            if body.get("patch") != [{"op": "replace", "path": "/intent", "value": wanted}]:
                raise InvalidRequestError("Here only the intent of an order can be changed, and only once.")
            if charge is None or not charge.is_order:
                call.read = functools.partial(_refuse, charge)
                return
            call.command = Act(operation=Operation.VOID, charge_id=charge.id)

        return await self._take_in(request, Operation.VOID, prepare, paypal_words.word_patch)

    async def _pay(self, request: web.Request) -> web.StreamResponse:
        operation = Operation.AUTHORIZE if request.match_info["verb"] == "authorize" else Operation.CHARGE

        def prepare(call: Call, body: JSON) -> None:
            _check_key(call)
            token = _token_in(body)
            if token is not None and "PayPal-Request-Id" not in request.headers:
                raise InvalidRequestError("PAYPAL_REQUEST_ID_REQUIRED", param="PayPal-Request-Id")
            call.command = Act(
                operation=operation,
                charge_id=request.match_info["order_id"],
                payment_token=token,
                expires_in_seconds=HOLD_LIFE_SECONDS,
            )

        return await self._take_in(request, operation, prepare, paypal_words.word_payment_of_order)

    # Payments

    async def _show_payment(self, request: web.Request) -> web.StreamResponse:
        kind = request.match_info["kind"]

        def word(charge: Charge) -> JSON | None:
            if kind not in paypal_words.payments(charge, refunds=[]):
                return None
            return paypal_words.authorization(charge) if kind == "authorizations" else paypal_words.capture(charge)

        return await self._look(request, word)

    async def _capture(self, request: web.Request) -> web.StreamResponse:
        known = {"amount": _MONEY, "final_capture": ("true or false", checks.is_flag), "invoice_id": _TEXT_127}
        return await self._act(request, Operation.CAPTURE, known, paypal_words.word_capture)

    async def _void(self, request: web.Request) -> web.StreamResponse:
        return await self._act(request, Operation.VOID, {}, paypal_words.word_void)

    async def _refund(self, request: web.Request) -> web.StreamResponse:
        known = {"amount": _MONEY, "invoice_id": _TEXT_127, "custom_id": _TEXT_127, "note_to_payer": _TEXT_127}
        return await self._act(request, Operation.REFUND, known, paypal_words.word_refund)

    async def _act(
        self,
        request: web.Request,
        operation: Operation,
        known: Mapping[str, tuple[str, checks.Check]],
        word: paypal_words.Word,
    ) -> web.StreamResponse:
        charge = self._charge_of(request)

        def prepare(call: Call, body: JSON) -> None:
            _check_key(call)
            checks.check_fields(body, known)
            if charge is not None and "amount" in body and body["amount"]["currency_code"] != charge.currency:
                raise InvalidRequestError("CURRENCY_MISMATCH", param="amount")
            amount_minor = money_minor(body["amount"]) if "amount" in body else None
            charge_id = to_order_id(request.match_info["payment_id"])
            call.command = Act(operation=operation, charge_id=charge_id, amount_minor=amount_minor)

        return await self._take_in(request, operation, prepare, word)

    # Events

    async def _give_certificate(self, request: web.Request) -> web.StreamResponse:
        name, pem = paypal_events.certificate()
        if request.match_info["name"] != name:
            return respond(paypal_words.problem(404, "RESOURCE_NOT_FOUND", "INVALID_RESOURCE_ID", "No certificate."))
        return web.Response(body=pem, content_type="application/x-pem-file")

    async def _verify(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()

        def prepare(call: Call, body: JSON) -> None:
            call.read = lambda: paypal_events.verify(body, raw)

        return await self._take_in(request, Operation.LOOKUP, prepare, paypal_words.word_order)

    # What they have in common

    async def _take_in(
        self, request: web.Request, operation: Operation, prepare: Prepare, word: paypal_words.Word
    ) -> web.StreamResponse:
        is_whole = "return=representation" in request.headers.get("Prefer", "")

        def outcome(done: Outcome) -> Answer:
            charge = self._charge_of(request) if isinstance(done, Refused) else done.charge
            refunds = [] if charge is None else self._refunds(charge)
            return paypal_words.shorten(word(done, charge, refunds), is_whole=is_whole)

        wordings = Wordings(outcome=outcome, error=paypal_words.word_error)
        return await self.take_in(
            request, operation, prepare, wordings=wordings, keyed=operation is not Operation.LOOKUP
        )

    async def _look(self, request: web.Request, word: Callable[[Charge], JSON | None]) -> web.StreamResponse:
        def read() -> Answer:
            charge = self._charge_of(request)
            shown = None if charge is None else word(charge)
            return _refuse(None) if shown is None else Answer(200, json.dumps(shown))

        def prepare(call: Call, body: JSON) -> None:
            checks.check_fields({**request.query, **body}, {"fields": _TEXT_127})
            call.read = read

        return await self._take_in(request, Operation.LOOKUP, prepare, paypal_words.word_order)

    def _refunds(self, charge: Charge) -> Sequence[int]:
        if not charge.amount_refunded_minor:
            return []
        rows = self.engine.ledger.dump(reference=charge.reference, key=None)["operations"]
        return [
            row["amount_minor"]
            for row in rows
            if row["charge_id"] == charge.id and row["operation"] == Operation.REFUND
        ]


def _check_key(call: Call) -> None:
    if call.key is None or len(call.key) > LONGEST_KEY:
        raise InvalidRequestError(f"PayPal-Request-Id has 1 to {LONGEST_KEY} characters.", param="PayPal-Request-Id")


def _refuse(charge: Charge | None) -> Answer:
    if charge is None:
        return paypal_words.problem(404, "RESOURCE_NOT_FOUND", "INVALID_RESOURCE_ID", "No such resource.")
    return paypal_words.problem(422, "UNPROCESSABLE_ENTITY", "ORDER_ALREADY_COMPLETED", "The order is completed.")


def _token_in(body: JSON) -> str | None:
    """Return the token of a payment source: a billing agreement, or one of the vault; None without a source."""
    checks.check_fields(body, {"payment_source": _OBJECT})
    if "payment_source" not in body:
        return None
    source = body["payment_source"]
    checks.check_fields(source, {"token": _OBJECT, "card": _OBJECT, "paypal": _OBJECT})
    if len(source) != 1:
        raise InvalidRequestError("A payment source is one of token, card and paypal.", param="payment_source")
    (kind, given), *_ = source.items()
    if kind == "token":
        is_agreement = ("BILLING_AGREEMENT", lambda value: value == "BILLING_AGREEMENT")
        known = {"id": _TOKEN_OF_OURS, "type": is_agreement}
        checks.check_fields(given, known, required=frozenset(known))
        return str(given["id"])
    checks.check_fields(given, {"vault_id": _TOKEN_OF_OURS}, required=frozenset({"vault_id"}))
    return str(given["vault_id"])
