"""PhonePe's dialect: Standard Checkout v2 under /phonepe. Orders are paid on the hosted page, in rupees.

There are no payment tokens here. What the customer's bank says comes from the amount's last two digits, from switches,
and from what is chosen on the page. An id is taken once: PhonePe refuses a repeat instead of answering it again.
"""

import datetime as dt
import hmac
import json
import re
import secrets
from functools import partial

from aiohttp import web

from payments.gateways.sandbox import checks
from payments.gateways.sandbox.behaviours import Operation
from payments.gateways.sandbox.checks import JSON, InvalidRequestError
from payments.gateways.sandbox.clock import read_clock
from payments.gateways.sandbox.delivery import respond
from payments.gateways.sandbox.engine import Engine
from payments.gateways.sandbox.face import Face, clean
from payments.gateways.sandbox.faces import phonepe_words as words
from payments.gateways.sandbox.flow import Call, Flow, Wordings
from payments.gateways.sandbox.records import Act, Answer, Charge, Create, Outcome, Refused
from payments.gateways.sandbox.settings import Settings

_TOKEN_LIFE_SECONDS = 3600
_DEFAULT_EXPIRY_SECONDS = 1200
_SCHEME = "O-Bearer "
_ID = re.compile("[A-Za-z0-9_-]{1,63}")
_LARGEST_AMOUNT = 999_999_999_999
_LEAST_AMOUNT = 100  # One rupee.
_TOKEN_FIELDS = {
    name: ("a text", checks.is_text(longest=200)) for name in ("client_id", "client_version", "client_secret")
}


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


_ID_FIELD = ("1 to 63 letters, digits, _ or -", _is_id)
_AMOUNT_FIELD = ("an integer of at least 100 paisa", checks.is_whole(least=_LEAST_AMOUNT, most=_LARGEST_AMOUNT))
_OBJECT = ("an object", lambda value: isinstance(value, dict))
_PAY_FIELDS = {
    "merchantOrderId": _ID_FIELD,
    "amount": _AMOUNT_FIELD,
    "expireAfter": ("an integer from 300 to 3600", checks.is_whole(least=300, most=3600)),
    "metaInfo": ("an object of texts", checks.is_labels),
    "paymentFlow": _OBJECT,
    "disablePaymentRetry": ("true or false", checks.is_flag),
    "prefillUserLoginDetails": _OBJECT,
}
_FLOW_FIELDS = {
    "type": ("PG_CHECKOUT", lambda value: value == "PG_CHECKOUT"),
    "message": ("a text", checks.is_text(longest=255)),
    "merchantUrls": _OBJECT,
    "paymentModeConfig": _OBJECT,
}
_URL_FIELDS = {"redirectUrl": ("an absolute http(s) URL", checks.is_url)}
_REFUND_FIELDS = {"merchantRefundId": _ID_FIELD, "originalMerchantOrderId": _ID_FIELD, "amount": _AMOUNT_FIELD}
_FLAGS = {name: ("true or false", lambda value: value in {"true", "false"}) for name in ("details", "errorContext")}


class PhonePeFace(Face):
    """The routes under /phonepe."""

    dialect = "phonepe"

    def __init__(self, *, flow: Flow, settings: Settings) -> None:
        super().__init__(flow=flow, settings=settings)
        self._tokens: dict[str, dt.datetime] = {}  # With their ends. A restart forgets them: all are let in anew.

    def routes(self) -> list[web.RouteDef]:
        """Return what this face answers to."""
        return [
            web.post("/phonepe/v1/oauth/token", self._issue_token),
            web.post("/phonepe/checkout/v2/pay", self._pay),
            web.get("/phonepe/checkout/v2/order/{order_id}/status", self._order_status, allow_head=False),
            web.post("/phonepe/payments/v2/refund", self._refund),
            web.get("/phonepe/payments/v2/refund/{refund_id}/status", self._refund_status, allow_head=False),
        ]

    async def _issue_token(self, request: web.Request) -> web.StreamResponse:
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        known = {**_TOKEN_FIELDS, "grant_type": ("client_credentials", lambda value: value == "client_credentials")}
        try:
            checks.check_fields(form, known, required=frozenset(known))
        except InvalidRequestError as error:
            return respond(words.word_error(400, "BAD_REQUEST", error.message))
        if not hmac.compare_digest(form["client_secret"].encode(), self.settings.api_key.encode()):
            return respond(words.word_error(401, "UNAUTHORIZED", "Unknown client."))
        now, token = read_clock(), secrets.token_urlsafe(32)
        ends = now + dt.timedelta(seconds=_TOKEN_LIFE_SECONDS)
        self._tokens = {known: until for known, until in self._tokens.items() if until > now} | {token: ends}
        issued = {
            "access_token": token,
            "encrypted_access_token": token,
            "expires_in": _TOKEN_LIFE_SECONDS,
            "issued_at": int(now.timestamp()),
            "expires_at": int(ends.timestamp()),
            "session_expires_at": int(ends.timestamp()),
            "token_type": "O-Bearer",
        }
        return respond(Answer(200, json.dumps(issued)))

    async def _pay(self, request: web.Request) -> web.StreamResponse:
        page_origin = f"{request.scheme}://{request.host}"

        def prepare(call: Call, body: JSON) -> None:
            checks.check_fields(body, _PAY_FIELDS, required=frozenset({"merchantOrderId", "amount", "paymentFlow"}))
            flow = body["paymentFlow"]
            checks.check_fields(flow, _FLOW_FIELDS, required=frozenset({"type"}))
            addresses = flow.get("merchantUrls", {})
            checks.check_fields(addresses, _URL_FIELDS)
            if _order_of(self.engine, body["merchantOrderId"]) is not None:
                call.read = words.word_used_id
                return
            call.command = Create(
                reference=body["merchantOrderId"],
                amount_minor=body["amount"],
                currency="INR",
                payment_token="phonepe_page",  # noqa: S106  # no secret: a name for what is no card
                capture=True,
                return_url=addresses.get("redirectUrl"),
                expires_in_seconds=body.get("expireAfter", _DEFAULT_EXPIRY_SECONDS),
                metadata=body.get("metaInfo", {}),
                page_origin=page_origin,
                dialect=self.dialect,
                pending=True,
                hosted=True,
            )

        wordings = Wordings(outcome=partial(words.word_creation, page_origin=page_origin), error=words.word_error)
        return await self.take_in(request, Operation.CHARGE, prepare, wordings=wordings, keyed=True)

    async def _order_status(self, request: web.Request) -> web.StreamResponse:
        def read() -> Answer:
            charge = _order_of(self.engine, request.match_info["order_id"])
            if charge is None:
                return words.word_unknown_order()
            return Answer(200, json.dumps(words.order_object(charge)))

        def prepare(call: Call, body: JSON) -> None:
            checks.check_fields({**request.query, **body}, _FLAGS)
            call.read = read

        return await self.take_in(request, Operation.LOOKUP, prepare, wordings=_REFUSALS)

    async def _refund(self, request: web.Request) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            checks.check_fields(body, _REFUND_FIELDS, required=frozenset(_REFUND_FIELDS))
            charge = _order_of(self.engine, body["originalMerchantOrderId"])
            if charge is None:
                call.read = words.word_unknown_order
                return
            if self._refund_of(body["merchantRefundId"]) is not None:
                call.read = words.word_used_id
                return
            outcome = partial(words.word_refund, amount_minor=body["amount"])
            call.wordings = Wordings(outcome=outcome, error=words.word_error)
            call.charge_id = charge.id
            call.command = Act(operation=Operation.REFUND, charge_id=charge.id, amount_minor=body["amount"])

        return await self.take_in(request, Operation.REFUND, prepare, wordings=_REFUSALS, keyed=True)

    async def _refund_status(self, request: web.Request) -> web.StreamResponse:
        def read() -> Answer:
            refund = self._refund_of(request.match_info["refund_id"])
            if refund is None:
                return words.word_error(404, "BAD_REQUEST", "There is no such refund.")
            return Answer(200, json.dumps(refund))

        def prepare(call: Call, body: JSON) -> None:
            checks.check_fields({**request.query, **body}, {})
            call.read = read

        return await self.take_in(request, Operation.LOOKUP, prepare, wordings=_REFUSALS)

    def _refund_of(self, refund_id: str) -> JSON | None:
        for row in self.engine.ledger.operations_of_key(refund_id):
            charge = self.engine.ledger.charge(row["charge_id"])
            if row["operation"] == Operation.REFUND and charge is not None and charge.dialect == self.dialect:
                return words.refund_object(charge, amount_minor=row["amount_minor"], at=row["at"])
        return None

    def may_enter(self, request: web.Request) -> bool:
        """Tell whether the request carries a token that is still good."""
        given = request.headers.get("Authorization", "")
        ends = self._tokens.get(given.removeprefix(_SCHEME))
        return given.startswith(_SCHEME) and ends is not None and read_clock() < ends

    def word_problem(self, status: int, code: str, message: str, *, param: str | None = None) -> Answer:
        """Word what is wrong with a request at the door."""
        if status == web.HTTPUnauthorized.status_code:
            return words.word_error(status, "AUTHORIZATION_FAILED", "Please check the authorization token.")
        return words.word_error(status, "BAD_REQUEST", message)

    def describe(self, call: Call, request: web.Request, body: JSON) -> None:
        """Fill in what the ledger wants to know of a request, before it is known to be well formed."""
        call.key = clean(body.get("merchantRefundId") or body.get("merchantOrderId"))
        named = body.get("originalMerchantOrderId") or body.get("merchantOrderId")
        call.reference = clean(named or request.match_info.get("order_id"))
        charge = None if call.reference is None else _order_of(self.engine, call.reference)
        call.charge_id = None if charge is None else charge.id

    word_event = staticmethod(words.word_event)
    sign_event = staticmethod(words.sign_event)


def _order_of(engine: Engine, reference: str) -> Charge | None:
    found = engine.look_up_reference(reference)
    return next((charge for charge in found if charge.dialect == PhonePeFace.dialect), None)


def _word_refused(outcome: Outcome) -> Answer:
    return words.word_refusal(outcome if isinstance(outcome, Refused) else Refused("bad_request", "Not possible."))


_REFUSALS = Wordings(outcome=_word_refused, error=words.word_error)
