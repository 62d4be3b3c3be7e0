"""Square's dialect: its Payments, Refunds, Orders and Checkout APIs under /square/v2, as far as they are used here.

What is written of Square is at developer.squareup.com/reference/square; what is not written there, such as the status
of a decline or of a key in use, is a guess and stands in docs/gateways.md as one.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets as random_secrets
from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from payments.gateways.sandbox import checks
from payments.gateways.sandbox.behaviours import Operation
from payments.gateways.sandbox.checks import JSON, InvalidRequestError
from payments.gateways.sandbox.face import Face, clean
from payments.gateways.sandbox.faces import square_fields as fields
from payments.gateways.sandbox.faces import square_lists as lists
from payments.gateways.sandbox.faces import square_words as words
from payments.gateways.sandbox.flow import Call, Wordings
from payments.gateways.sandbox.records import Act, Answer, Charge, Create, Done, Outcome, Refused, Status

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")
_NOBODY = "none"  # The id of no charge: the engine refuses, as it does for any that it does not know.
_NO_PAYMENT = Refused("not_found", "Could not find payment.")
_NO_LINK = Refused("not_found", "Could not find payment link.")


class SquareFace(Face):
    """The routes under /square/v2."""

    dialect = "square"

    def routes(self) -> list[web.RouteDef]:
        """Return what this face answers to."""
        payments, links = "/square/v2/payments", "/square/v2/online-checkout/payment-links"
        return [
            web.post(payments, self._create),
            web.get(payments, self._list_payments, allow_head=False),
            web.get(payments + "/{payment_id}", self._fetch, allow_head=False),
            web.post(payments + "/{payment_id}/complete", self._complete),
            web.post(payments + "/{payment_id}/cancel", self._cancel),
            web.post("/square/v2/refunds", self._refund),
            web.get("/square/v2/refunds/{refund_id}", self._fetch_refund, allow_head=False),
            web.get("/square/v2/orders/{order_id}", self._fetch_order, allow_head=False),
            web.post(links, self._create_link),
            web.get(links, self._list_links, allow_head=False),
            web.get(links + "/{link_id}", self._fetch_link, allow_head=False),
            web.delete(links + "/{link_id}", self._delete_link),
        ]

    # Payments.

    async def _create(self, request: web.Request) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            _check_version(request)
            checks.check_fields(body, fields.PAYMENT_FIELDS, required=frozenset({"source_id", "idempotency_key"}))
            if "amount_money" not in body:
                raise InvalidRequestError("amount_money is required.", param="amount_money")
            if body.get("autocomplete", True) and "delay_duration" in body:
                raise InvalidRequestError("delay_duration is for delayed capture only.", param="delay_duration")
            delay = body.get("delay_duration", "PT168H")
            note = {"note": body["note"]} if "note" in body else {}
            is_delayed = not body.get("autocomplete", True)
            call.command = Create(
                reference=body.get("reference_id", ""),
                amount_minor=body["amount_money"]["amount"],
                currency=body["amount_money"]["currency"],
                payment_token=body["source_id"],
                capture=not is_delayed,
                return_url=None,
                expires_in_seconds=fields.seconds(delay) if is_delayed else None,
                metadata={"location_id": body.get("location_id", words.LOCATION), "delay_duration": delay, **note},
                page_origin=f"{request.scheme}://{request.host}",
                dialect=self.dialect,
            )

        wordings = Wordings(outcome=lambda outcome: words.word_payment(outcome, refunds=[]), error=words.word_error)
        return await self.take_in(request, Operation.CHARGE, prepare, wordings=wordings, keyed=True)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        return await self._act(request, Operation.CAPTURE, known=fields.COMPLETE_FIELDS)

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        return await self._act(request, Operation.VOID, known={})

    async def _act(
        self, request: web.Request, operation: Operation, *, known: Mapping[str, tuple[str, checks.Check]]
    ) -> web.StreamResponse:
        payment_id = self._payment_id(request.match_info["payment_id"])

        def prepare(call: Call, body: JSON) -> None:
            _check_version(request)
            checks.check_fields(body, known)
            call.command = Act(operation=operation, charge_id=payment_id)

        def word(outcome: Outcome) -> Answer:
            charge = self.engine.ledger.charge(payment_id)
            return words.word_payment(outcome, refunds=self.engine.ledger.refunds_of(payment_id), charge=charge)

        wordings = Wordings(outcome=word, error=words.word_error)
        return await self.take_in(request, operation, prepare, wordings=wordings)

    async def _fetch(self, request: web.Request) -> web.StreamResponse:
        def read() -> Answer:
            charge = self._charge(request.match_info["payment_id"])
            if charge is None or not words.is_payment(charge):
                return words.word_refused(_NO_PAYMENT)
            return words.word_payment(Done(charge), refunds=self.engine.ledger.refunds_of(charge.id))

        return await self._look(request, read)

    async def _list_payments(self, request: web.Request) -> web.StreamResponse:
        return await self._look(
            request,
            lambda: lists.payments(request.query, engine=self.engine, dialect=self.dialect),
            known=lists.PAYMENT_QUERY,
        )

    # Refunds.

    async def _refund(self, request: web.Request) -> web.StreamResponse:
        asked: list[str] = []

        def prepare(call: Call, body: JSON) -> None:
            _check_version(request)
            checks.check_fields(
                body, fields.REFUND_FIELDS, required=frozenset({"idempotency_key", "payment_id", "amount_money"})
            )
            payment_id = self._payment_id(body["payment_id"])
            asked.append(payment_id)
            charge = self.engine.ledger.charge(payment_id)
            if charge is not None and body["amount_money"]["currency"] != charge.currency:
                raise InvalidRequestError("amount_money is in another currency.", param="amount_money")
            call.command = Act(
                operation=Operation.REFUND, charge_id=payment_id, amount_minor=body["amount_money"]["amount"]
            )

        def word(outcome: Outcome) -> Answer:
            ledger = self.engine.ledger
            payment_id = asked[0] if asked else ""
            return words.word_refund(outcome, refunds=ledger.refunds_of(payment_id), charge=ledger.charge(payment_id))

        wordings = Wordings(outcome=word, error=words.word_error)
        return await self.take_in(request, Operation.REFUND, prepare, wordings=wordings, keyed=True)

    async def _fetch_refund(self, request: web.Request) -> web.StreamResponse:
        refund_id = request.match_info["refund_id"]

        def read() -> Answer:
            charge = self._charge(words.charge_id_of(refund_id))
            rows = [] if charge is None else self.engine.ledger.refunds_of(charge.id)
            for row in rows:
                if charge is not None and words.refund_id(charge, row) == refund_id:
                    return Answer(200, json.dumps({"refund": words.refund_object(charge, row, status="COMPLETED")}))
            return words.word_refused(Refused("not_found", "Could not find refund."))

        return await self._look(request, read)

    # Orders and payment links.

    async def _fetch_order(self, request: web.Request) -> web.StreamResponse:
        order_id = request.match_info["order_id"]

        def read() -> Answer:
            charge = self._charge(words.charge_id_of(order_id))
            if charge is None or words.order_id_of(charge.id) != order_id:
                return words.word_refused(Refused("not_found", "Order not found."))
            return Answer(200, json.dumps({"order": words.order_object(charge)}))

        return await self._look(request, read)

    async def _create_link(self, request: web.Request) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            _check_version(request)
            # Square makes one without a key, too; whoever forgets it would make two.
            checks.check_fields(body, fields.LINK_FIELDS, required=frozenset({"idempotency_key", "order"}))
            order, price = body["order"], body["order"]["line_items"][0]["base_price_money"]
            note = {"note": body["payment_note"]} if "payment_note" in body else {}
            call.command = Create(
                reference=order.get("reference_id", ""),
                amount_minor=price["amount"],
                currency=price["currency"],
                payment_token="tok_ok",  # noqa: S106  # the customer's card is not known yet
                capture=True,
                return_url=body.get("checkout_options", {}).get("redirect_url"),
                expires_in_seconds=None,
                metadata={"location_id": order["location_id"], words.ON_A_PAGE: "yes", **note},
                page_origin=f"{request.scheme}://{request.host}",
                dialect=self.dialect,
                pending=True,
                hosted=True,
            )

        wordings = Wordings(outcome=words.word_link_creation, error=words.word_error)
        return await self.take_in(request, Operation.CHARGE, prepare, wordings=wordings, keyed=True)

    async def _list_links(self, request: web.Request) -> web.StreamResponse:
        return await self._look(
            request,
            lambda: lists.links(request.query, engine=self.engine, dialect=self.dialect),
            known=lists.LINK_QUERY,
        )

    async def _fetch_link(self, request: web.Request) -> web.StreamResponse:
        def read() -> Answer:
            charge = self._linked(request.match_info["link_id"])
            if charge is None:
                return words.word_refused(_NO_LINK)
            return Answer(200, json.dumps({"payment_link": words.link_object(charge)}))

        return await self._look(request, read)

    async def _delete_link(self, request: web.Request) -> web.StreamResponse:
        link_id = request.match_info["link_id"]

        def prepare(call: Call, body: JSON) -> None:
            _check_version(request)
            checks.check_fields(body, {})
            charge = self._linked(link_id)
            call.command = Act(operation=Operation.VOID, charge_id=_NOBODY if charge is None else charge.id)

        wordings = Wordings(outcome=words.word_link_deletion, error=words.word_error)
        return await self.take_in(request, Operation.VOID, prepare, wordings=wordings)

    # What every request has in common.

    async def _look(
        self,
        request: web.Request,
        read: Callable[[], Answer],
        *,
        known: Mapping[str, tuple[str, checks.Check]] | None = None,
    ) -> web.StreamResponse:
        def prepare(call: Call, body: JSON) -> None:
            _check_version(request)
            checks.check_fields({**request.query, **body}, known or {})
            call.read = read

        wordings = Wordings(outcome=lambda outcome: words.word_payment(outcome, refunds=[]), error=words.word_error)
        return await self.take_in(request, Operation.LOOKUP, prepare, wordings=wordings)

    def _charge(self, charge_id: str) -> Charge | None:
        charge = self.engine.look_up(charge_id)
        return None if charge is None or charge.dialect != self.dialect else charge

    def _payment_id(self, payment_id: str) -> str:
        """Return the id of the charge that is this payment; one of no charge if there is no such payment."""
        charge = self._charge(payment_id)
        return charge.id if charge is not None and words.is_payment(charge) else _NOBODY

    def _linked(self, link_id: str) -> Charge | None:
        charge = self._charge(words.charge_id_of(link_id))
        is_there = charge is not None and words.is_page(charge) and words.link_id_of(charge.id) == link_id
        is_deleted = charge is not None and charge.status in {Status.VOIDED, Status.EXPIRED}
        return charge if is_there and not is_deleted else None

    def may_enter(self, request: web.Request) -> bool:
        """Tell whether the request carries the access token."""
        expected = f"Bearer {self.settings.api_key}".encode()
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        return hmac.compare_digest(given, expected)

    def word_problem(self, status: int, code: str, message: str, *, param: str | None = None) -> Answer:
        """Word what is wrong with a request at the door."""
        if code == "unauthorized":
            return words.word_error(status, code, "This request could not be authorized.")
        square_code = "INVALID_VALUE"
        if message.startswith("Unknown field"):
            square_code = "UNKNOWN_BODY_PARAMETER"
        elif message.endswith("is required."):
            square_code = "MISSING_REQUIRED_PARAMETER"
        elif message.startswith("The body is not"):
            square_code = "EXPECTED_JSON_BODY"
        problem = words.error("INVALID_REQUEST_ERROR", square_code, message, field=param)
        return Answer(status, json.dumps({"errors": [problem]}))

    def describe(self, call: Call, request: web.Request, body: JSON) -> None:
        """Fill in what the ledger wants to know of a request, before it is known to be well formed."""
        ids = [*request.match_info.values(), body.get("payment_id")]
        call.charge_id = next((words.charge_id_of(their_id) for their_id in ids if isinstance(their_id, str)), None)
        order = body.get("order")
        named = order.get("reference_id") if isinstance(order, dict) else body.get("reference_id")
        charge = None if call.charge_id is None else self.engine.ledger.charge(call.charge_id)
        call.reference = clean(named if charge is None else charge.reference)
        call.key = clean(body.get("idempotency_key"))
        if call.operation in {Operation.CAPTURE, Operation.VOID}:
            # Square takes no key for these: each request is a new one.
            call.key = f"none-{random_secrets.token_hex(8)}"
        if call.operation is Operation.CHARGE and body.get("autocomplete") is False:
            call.operation = Operation.AUTHORIZE

    word_event = staticmethod(words.word_event)

    @staticmethod
    def sign_event(body: bytes, *, url: str, secrets: Sequence[str], unix_seconds: int) -> Mapping[str, str]:
        """Return the header that an event is sent with: Square signs with one key, over address and body."""
        del unix_seconds  # The signature has no time of its own.
        mark = hmac.new(secrets[0].encode(), url.encode() + body, hashlib.sha256).digest()
        return {"x-square-hmacsha256-signature": base64.b64encode(mark).decode()}


def _check_version(request: web.Request) -> None:
    version = request.headers.get("Square-Version")
    if version is not None and _VERSION.fullmatch(version) is None:
        raise InvalidRequestError("Square-Version must be a date.", param="Square-Version")
