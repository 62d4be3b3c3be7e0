"""Stripe's dialect, under /stripe: payment intents, checkout sessions and refunds, as forms in and JSON out.

Paths, fields, errors and the semantics of keys follow docs.stripe.com/api in its version 2022-11-15, for what Paywindow
uses and a little beyond. Not here: the least amounts of each currency, customers, and intents confirmed later.
"""

import base64
import binascii
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web

from payments.gateways.sandbox.behaviours import Operation, behaviour_of_payment
from payments.gateways.sandbox.checks import JSON, InvalidRequestError
from payments.gateways.sandbox.clock import read_clock
from payments.gateways.sandbox.face import LONGEST_KEY, Face, clean
from payments.gateways.sandbox.faces import stripe_forms as forms
from payments.gateways.sandbox.faces import stripe_objects as objects
from payments.gateways.sandbox.faces import stripe_words as words
from payments.gateways.sandbox.faces.stripe_books import Books
from payments.gateways.sandbox.flow import Call, Flow, Wordings
from payments.gateways.sandbox.records import Act, Answer, Create, Declined, Done, Outcome, Refused, Status
from payments.gateways.sandbox.settings import Settings
from payments.gateways.sandbox.webhooks import sign

_NO_REFERENCE = "(none)"
_HOSTED_TOKEN = "tok_hosted"  # noqa: S105  # the behaviour that makes a page


class StripeFace(Face):
    """The routes under /stripe/v1."""

    dialect = "stripe"

    def __init__(self, *, flow: Flow, settings: Settings) -> None:
        super().__init__(flow=flow, settings=settings)
        self._books = Books(self.engine)

    def routes(self) -> list[web.RouteDef]:
        """Return what this face answers to."""
        intents, sessions = "/stripe/v1/payment_intents", "/stripe/v1/checkout/sessions"
        return [
            web.post(intents, self._create_intent),
            web.get(intents, self._list_intents, allow_head=False),
            web.get(f"{intents}/search", self._search_intents, allow_head=False),
            web.get(intents + "/{intent}", self._fetch_intent, allow_head=False),
            web.post(intents + "/{intent}/capture", self._capture),
            web.post(intents + "/{intent}/cancel", self._cancel),
            web.post("/stripe/v1/refunds", self._refund),
            web.post(sessions, self._create_session),
            web.get(sessions, self._list_sessions, allow_head=False),
            web.get(sessions + "/{session}", self._fetch_session, allow_head=False),
            web.post(sessions + "/{session}/expire", self._expire),
        ]

    # Intents.

    async def _create_intent(self, request: web.Request) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            _check_key(request)
            forms.check_intent(body)
            amount_minor, token = int(body["amount"]), body["payment_method"]
            call.wordings = words.of(lambda charge: objects.intent_object(charge, expand=_expand(body)))
            asks_customer = behaviour_of_payment(token=token, amount_minor=amount_minor).name == "hosted"
            shall_fail = asks_customer and forms.flag(body.get("error_on_requires_action"))
            call.command = Create(
                reference=call.reference or _NO_REFERENCE,
                amount_minor=amount_minor,
                currency=body["currency"].upper(),
                payment_token=token,
                capture=body.get("capture_method") != "manual",
                return_url=body.get("return_url"),
                expires_in_seconds=None,
                metadata={objects.INTENT_METADATA: forms.labels(body.get("metadata"))},
                page_origin=f"{request.scheme}://{request.host}",
                dialect=self.dialect,
                decline_code="authentication_required" if shall_fail else None,
            )

        return await self.take_in(request, Operation.CHARGE, prepare, wordings=words.PLAIN, keyed=True)

    async def _capture(self, request: web.Request) -> web.StreamResponse:
        return await self._act(request, Operation.CAPTURE, forms.CAPTURE, amount="amount_to_capture")

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        return await self._act(request, Operation.VOID, forms.CANCEL)

    async def _act(
        self, request: web.Request, operation: Operation, known: forms.Fields, *, amount: str = ""
    ) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            _check_key(request)
            forms.check(body, known)
            charge = self._books.intent(call.charge_id)
            if charge is None:
                call.read = words.missing("payment_intent", request.match_info["intent"], param="intent")
                return
            call.wordings = words.of(
                lambda changed: objects.intent_object(changed, expand=_expand(body)),
                refused=lambda: self.engine.ledger.charge(charge.id),
            )
            amount_minor = int(body[amount]) if amount in body else None
            call.command = Act(operation=operation, charge_id=charge.id, amount_minor=amount_minor)

        return await self.take_in(request, operation, prepare, wordings=words.PLAIN, keyed=True)

    async def _fetch_intent(self, request: web.Request) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            asked = _asked(request)
            forms.check(asked, forms.expandable("latest_charge", "latest_charge.refunds"))
            call.read = words.reading(
                lambda: self._books.intent(call.charge_id),
                lambda charge: objects.intent_object(charge, expand=_expand(asked)),
                missing=words.missing("payment_intent", request.match_info["intent"], param="intent"),
            )

        return await self.take_in(request, Operation.LOOKUP, prepare, wordings=words.PLAIN)

    async def _list_intents(self, request: web.Request) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            asked = _asked(request)
            forms.check(asked, forms.LIST_INTENTS)
            forms.check(asked.get("created", {}), forms.CREATED, inside="created")
            expand = frozenset(path.removeprefix("data.") for path in _expand(asked))
            call.read = lambda: self._books.page(
                asked,
                url="/v1/payment_intents",
                has=objects.has_intent,
                show=lambda charge: objects.intent_object(charge, expand=expand),
            )

        return await self.take_in(request, Operation.LOOKUP, prepare, wordings=words.PLAIN)

    async def _search_intents(self, request: web.Request) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            asked = _asked(request)
            forms.check(asked, forms.SEARCH, required=frozenset({"query"}))
            reference = forms.searched_reference(asked["query"])
            expand = frozenset(path.removeprefix("data.") for path in _expand(asked))

            def read() -> Answer:
                ours = self._books.intents_of(reference)
                limit = int(asked.get("limit", 10))
                found = {
                    "object": "search_result",
                    "data": [objects.intent_object(charge, expand=expand) for charge in ours[:limit]],
                    "has_more": len(ours) > limit,
                    "next_page": None,
                    "url": "/v1/payment_intents/search",
                }
                return Answer(200, json.dumps(found))

            call.read = read

        return await self.take_in(request, Operation.LOOKUP, prepare, wordings=words.PLAIN)

    async def _refund(self, request: web.Request) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            _check_key(request)
            forms.check(body, forms.REFUND, required=frozenset({"payment_intent"}))
            before = self._books.intent(call.charge_id)
            if before is None:
                call.read = words.missing("payment_intent", body["payment_intent"], param="payment_intent")
                return
            amount_minor = int(body["amount"]) if "amount" in body else None
            left_minor = before.amount_captured_minor - before.amount_refunded_minor

            def word(outcome: Outcome) -> Answer:
                if isinstance(outcome, Refused):
                    return words.refusal(outcome, self.engine.ledger.charge(before.id))
                refund = objects.refund_object(
                    outcome.charge,
                    amount_minor=amount_minor or left_minor,
                    expand=_expand(body),
                    decline_code=outcome.decline_code if isinstance(outcome, Declined) else None,
                )
                return Answer(200, json.dumps(refund))

            call.wordings = Wordings(outcome=word, error=words.trouble)
            call.command = Act(operation=Operation.REFUND, charge_id=before.id, amount_minor=amount_minor)

        return await self.take_in(request, Operation.REFUND, prepare, wordings=words.PLAIN, keyed=True)

    # Sessions.

    async def _create_session(self, request: web.Request) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            _check_key(request)
            now_unix = int(read_clock().timestamp())
            price = forms.check_session(body, now_unix=now_unix)
            expires_at = int(body.get("expires_at", now_unix + 24 * 3600))
            intent = body.get("payment_intent_data", {})
            asked = {
                "cancel_url": body.get("cancel_url"),
                "client_reference_id": body.get("client_reference_id"),
                "expires_at": expires_at,
                "metadata": body.get("metadata") or {},
                "success_url": body["success_url"],
            }
            call.wordings = words.of(lambda charge: objects.session_object(charge, expand=_expand(body)))
            call.command = Create(
                reference=call.reference or _NO_REFERENCE,
                amount_minor=int(price["unit_amount"]),
                currency=price["currency"].upper(),
                payment_token=_HOSTED_TOKEN,
                capture=intent.get("capture_method") != "manual",
                return_url=body["success_url"],
                expires_in_seconds=max(1, expires_at - now_unix),
                metadata={
                    objects.INTENT_METADATA: forms.labels(intent.get("metadata")),
                    objects.SESSION: json.dumps(asked, sort_keys=True),
                },
                page_origin=f"{request.scheme}://{request.host}",
                dialect=self.dialect,
                pending=True,  # Whatever goes wrong with the call, the customer has not paid yet.
                hosted=True,
            )

        return await self.take_in(request, Operation.CHARGE, prepare, wordings=words.PLAIN, keyed=True)

    async def _fetch_session(self, request: web.Request) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            asked = _asked(request)
            forms.check(asked, forms.EXPIRE)
            call.read = words.reading(
                lambda: self._books.session(call.charge_id),
                lambda charge: objects.session_object(charge, expand=_expand(asked)),
                missing=words.missing("checkout.session", request.match_info["session"], param="session"),
            )

        return await self.take_in(request, Operation.LOOKUP, prepare, wordings=words.PLAIN)

    async def _list_sessions(self, request: web.Request) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            asked = _asked(request)
            forms.check(asked, forms.PAGE)
            call.read = lambda: self._books.page(
                asked, url="/v1/checkout/sessions", has=objects.is_session, show=objects.session_object
            )

        return await self.take_in(request, Operation.LOOKUP, prepare, wordings=words.PLAIN)

    async def _expire(self, request: web.Request) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            _check_key(request)
            forms.check(body, forms.EXPIRE)
            charge = self._books.session(call.charge_id)
            if charge is None:
                call.read = words.missing("checkout.session", request.match_info["session"], param="session")
                return
            if charge.status is Status.AUTHORIZED:  # The ledger would void it; Stripe only ends what is open.
                call.read = lambda: words.not_open(charge)
                return

            def word(outcome: Outcome) -> Answer:
                match outcome:
                    case Done(ended):
                        return Answer(200, json.dumps(objects.session_object(ended, expand=_expand(body))))
                    case Refused(code) if code == "invalid_state":
                        return words.not_open(charge)
                    case Refused():
                        return words.refusal(outcome, charge)
                    case Declined():
                        return words.trouble(500, "internal_error", "Something went wrong on our side.")

            call.wordings = Wordings(outcome=word, error=words.trouble)
            call.command = Act(operation=Operation.VOID, charge_id=charge.id)

        return await self.take_in(request, Operation.VOID, prepare, wordings=words.PLAIN, keyed=True)

    # What every request has.

    def parse(self, raw: bytes, request: web.Request) -> JSON:
        """Read a form."""
        try:
            return forms.parse_form(raw.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise InvalidRequestError("The form is not UTF-8.") from error

    def may_enter(self, request: web.Request) -> bool:
        """Tell whether the request carries the API key: as a bearer, or as a user name without a password."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            try:
                given = base64.b64decode(given, validate=True).decode().removesuffix(":")
            except (binascii.Error, UnicodeDecodeError, ValueError):
                return False
        elif scheme != "Bearer":
            return False
        return hmac.compare_digest(given.encode(errors="surrogateescape"), self.settings.api_key.encode())

    def word_problem(self, status: int, code: str, message: str, *, param: str | None = None) -> Answer:
        """Word what is wrong with a request at the door."""
        del code  # Of the other dialects.
        if status == HTTPStatus.UNAUTHORIZED:
            return objects.word_error(status, None, "Invalid API Key provided.", kind=words.REQUEST_ERROR)
        return objects.word_error(status, forms.code_of(message), message, kind=words.REQUEST_ERROR, param=param)

    def describe(self, call: Call, request: web.Request, body: JSON) -> None:
        """Fill in what the ledger wants to know of a request, before it is known to be well formed."""
        if request.method == "POST":
            call.key = clean(request.headers.get("Idempotency-Key")) or f"unkeyed_{secrets.token_hex(12)}"
        named = request.match_info.get("intent") or request.match_info.get("session") or body.get("payment_intent")
        if isinstance(named, str):
            call.charge_id = clean(objects.charge_id(named))
            charge = None if call.charge_id is None else self.engine.ledger.charge(call.charge_id)
            call.reference = None if charge is None else charge.reference
            return
        labels, intent = body.get("metadata"), body.get("payment_intent_data")
        told = body.get("client_reference_id") or (labels.get("reference") if isinstance(labels, dict) else None)
        call.reference = clean(told)
        method = intent.get("capture_method") if isinstance(intent, dict) else body.get("capture_method")
        if call.operation is Operation.CHARGE and method == "manual":
            call.operation = Operation.AUTHORIZE

    word_event = staticmethod(objects.word_event)

    @staticmethod
    def sign_event(body: bytes, *, url: str, secrets: Sequence[str], unix_seconds: int) -> Mapping[str, str]:
        """Return the headers that an event is sent with."""
        del url  # This signature does not cover where it goes.
        return {"Stripe-Signature": sign(body, secrets=secrets, unix_seconds=unix_seconds)}


def _asked(request: web.Request) -> dict[str, Any]:
    return forms.parse_form(request.query_string)


def _expand(asked: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(asked.get("expand", ()))


def _check_key(request: web.Request) -> None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and clean(key) is None:
        raise InvalidRequestError(f"Idempotency keys have 1 to {LONGEST_KEY} printable characters.")
