"""Speaks to PhonePe's Standard Checkout v2. What it answers is read in answers.py and refunds.py.

The customer always pays on PhonePe's page. An order is asked for once: PhonePe refuses an order id that it has seen, so
nothing is ever repeated, and after a lost answer only the order's status tells. Without an answer nobody knows the
page's address either, so an order that came to be all the same stays unpaid, and runs out.

Where each fact is from: docs/gateways.md.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Self, TypeVar
from urllib.parse import quote, urlencode

from payments.domain.failures import FailureCode
from payments.domain.hashing import canonical_bytes
from payments.domain.outcomes import Declined, NotFound, Outcome
from payments.gateways import reading
from payments.gateways.deadline import Deadline
from payments.gateways.phonepe import refunds
from payments.gateways.phonepe.answers import (
    CURRENCY,
    NO_TOKEN_YET,
    UNAUTHORIZED,
    NoToken,
    read_creation,
    read_look_up,
    read_no_token,
    read_token,
    read_void,
)
from payments.gateways.phonepe.hearing import read_event
from payments.gateways.phonepe.refunds import RefundSeen
from payments.gateways.protocol import (
    NOBODYS,
    ActRequest,
    Capabilities,
    ChargeRequest,
    Event,
    NotGenuine,
    Question,
    listed,
)
from payments.gateways.tokens import Token, TokenCache
from payments.gateways.transport import Answer, Broken, CallResult, Refused, Transport

# PhonePe promises nothing about how late a request that it took may be executed. Long enough for any queue of theirs;
# an order that comes later still cannot be paid, and a refund that comes later is the same refund.
_HORIZON_SECONDS = 15 * 60
_ID = re.compile("[A-Za-z0-9_-]{1,63}")  # Of an order or a refund.
_Found = TypeVar("_Found")


class PhonePeGateway:
    """PhonePe, over HTTP."""

    capabilities: Capabilities = Capabilities(
        authorizes=False,
        cancels_keys=False,
        key_life_seconds=0,
        horizon_seconds=_HORIZON_SECONDS,
        shortest_window_seconds=300,
        longest_window_seconds=3600,
        takes_window=True,
        takes_tokens=False,
        hosts_pages=True,
        currencies=frozenset({CURRENCY}),
    )

    def __init__(
        self,
        *,
        transport: Transport,
        token_transport: Transport,
        credentials: Mapping[str, str],
        webhook_credentials: Sequence[str] = (),
        merchant_id: str = "",
    ) -> None:
        self._transport, self._token_transport = transport, token_transport
        self._credentials = urlencode({**credentials, "grant_type": "client_credentials"}).encode()
        self._webhook_credentials, self._merchant_id = tuple(webhook_credentials), merchant_id
        self._tokens = TokenCache(self._fetch_token)

    @classmethod
    def from_settings(cls, settings: Mapping[str, str], *, connect_seconds: float) -> Self:
        """Make the adapter from `url`, `token_url`, `client_id`, `client_version`, `client_secret`.

        Optional are `webhook_secrets`, each `username:password`, separated by commas, and `merchant_id`, without which
        events of every merchant are taken.
        """
        return cls(
            transport=Transport(base_url=settings["url"], headers={}, connect_seconds=connect_seconds),
            token_transport=Transport(base_url=settings["token_url"], headers={}, connect_seconds=connect_seconds),
            credentials={name: settings[name] for name in ("client_id", "client_version", "client_secret")},
            webhook_credentials=listed(settings.get("webhook_secrets", "")),
            merchant_id=settings.get("merchant_id", ""),
        )

    def authorize(self, request: ChargeRequest, *, deadline_seconds: float) -> Outcome:
        """Hold nothing: PhonePe cannot."""
        raise NotImplementedError

    def charge(self, request: ChargeRequest, *, deadline_seconds: float) -> Outcome:
        """Make an order, for the customer to pay on its page."""
        if not request.is_hosted or request.currency != CURRENCY or not _ID.fullmatch(request.reference):
            return _cannot("charge")
        flow: dict[str, object] = {"type": "PG_CHECKOUT"}
        if request.return_url:
            flow["merchantUrls"] = {"redirectUrl": request.return_url}
        body: dict[str, object] = {
            "merchantOrderId": request.reference,
            "amount": request.amount_minor,
            "paymentFlow": flow,
        }
        if request.window_seconds:
            body["expireAfter"] = request.window_seconds
        deadline = Deadline(deadline_seconds)
        result = self._ask("POST", "/checkout/v2/pay", body=body, deadline=deadline)
        return _read(result, partial(read_creation, request=request))

    def capture(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Take nothing: nothing is held."""
        raise NotImplementedError

    def void(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Find the order ended; PhonePe ends none on request."""
        deadline = Deadline(deadline_seconds)
        result = self._ask_order(request.charge_reference, deadline=deadline)
        return _read(result, partial(read_void, request=request), is_question=True)

    def refund(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Give `amount_minor` back, once under the key, however often it is asked for.

        Asks what was paid and whether the refund exists; if not, asks for it, and once what became of it.
        """
        if not _ID.fullmatch(request.idempotency_key):
            return _cannot("refund")
        deadline = Deadline(deadline_seconds)
        order = self._ask_order(request.charge_reference, deadline=deadline)
        paid_minor = _read(order, partial(refunds.read_paid_amount, request=request), is_question=True)
        if not isinstance(paid_minor, int):
            return paid_minor
        seen = self._ask_refund(request, deadline=deadline)
        if isinstance(seen, NotFound):
            seen = self._make_refund(request, deadline=deadline)
        return refunds.ended(seen, request=request, paid_minor=paid_minor) if isinstance(seen, RefundSeen) else seen

    def look_up(self, question: Question, *, deadline_seconds: float) -> Outcome:
        """Ask for the order under our reference. Refunds are not seen in it."""
        deadline = Deadline(deadline_seconds)
        result = self._ask_order(question.reference, deadline=deadline)
        return _read(result, partial(read_look_up, question=question), is_question=True)

    def cancel_key(self, question: Question, *, deadline_seconds: float) -> Outcome:
        """Undo and bar nothing: PhonePe cannot."""
        raise NotImplementedError

    def check(self, *, deadline_seconds: float) -> Outcome:
        """Look for a payment that nobody made."""
        return self.look_up(NOBODYS, deadline_seconds=deadline_seconds)

    def read_event(self, *, headers: Mapping[str, str], body: bytes, unix_seconds: int) -> Event | NotGenuine:
        """Verify and read an event. Nothing that it says of the time is signed, so the time is not looked at."""
        del unix_seconds
        return read_event(
            headers=headers, body=body, credentials=self._webhook_credentials, merchant_id=self._merchant_id
        )

    def close(self) -> None:
        """Let go of every connection."""
        self._transport.close()
        self._token_transport.close()

    def _make_refund(self, request: ActRequest, *, deadline: Deadline) -> RefundSeen | Outcome:
        body = {
            "merchantRefundId": request.idempotency_key,
            "originalMerchantOrderId": request.charge_reference,
            "amount": request.amount_minor,
        }
        result = self._ask("POST", "/payments/v2/refund", body=body, deadline=deadline)
        made = _read(result, partial(refunds.read_request, request=request))
        if not isinstance(made, RefundSeen) or made.state != "PENDING":
            return made
        seen = self._ask_refund(request, deadline=deadline)
        return seen if isinstance(seen, RefundSeen) else made  # However this question ends, the refund was made.

    def _ask_refund(self, request: ActRequest, *, deadline: Deadline) -> RefundSeen | Outcome:
        path = f"/payments/v2/refund/{request.idempotency_key}/status"
        result = self._ask("GET", path, deadline=deadline)
        return _read(result, partial(refunds.read_status, request=request), is_question=True)

    def _ask_order(self, reference: str, *, deadline: Deadline) -> CallResult | NoToken:
        path = f"/checkout/v2/order/{quote(reference, safe='')}/status?details=true"
        return self._ask("GET", path, deadline=deadline)

    def _ask(
        self, method: str, path: str, *, deadline: Deadline, body: Mapping[str, object] | None = None
    ) -> CallResult | NoToken:
        result = self._ask_once(method, path, deadline=deadline, body=body)
        if isinstance(result, Answer) and result.status == UNAUTHORIZED:
            # The token was taken back before its time; who is not let in has done nothing.
            result = self._ask_once(method, path, deadline=deadline, body=body)
        return result

    def _ask_once(
        self, method: str, path: str, *, deadline: Deadline, body: Mapping[str, object] | None
    ) -> CallResult | NoToken:
        token = self._tokens.get(deadline) or NO_TOKEN_YET
        if isinstance(token, NoToken):
            return token
        result = self._transport.call(
            method,
            path,
            body=b"" if body is None else canonical_bytes(body),
            headers={"Content-Type": "application/json", "Authorization": f"O-Bearer {token}"},
            deadline_seconds=deadline.left_seconds,
        )
        if isinstance(result, Answer) and result.status == UNAUTHORIZED:
            self._tokens.drop(token)
        return result

    def _fetch_token(self, deadline: Deadline) -> Token | NoToken:
        result = self._token_transport.call(
            "POST",
            "/v1/oauth/token",
            body=self._credentials,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            deadline_seconds=deadline.left_seconds,
        )
        return read_token(result)


def _cannot(what: str) -> Declined:
    return Declined(code=FailureCode.INVALID_REQUEST, gateway_code=f"cannot_{what}", reference=None)


def _read(
    result: CallResult | NoToken, reader: Callable[[Answer], _Found | Outcome], *, is_question: bool = False
) -> _Found | Outcome:
    """Give what `reader` makes of an answer, or what a call without one proves."""
    match result:
        case Answer():
            return reader(result)
        case NoToken():
            return read_no_token(result, is_question=is_question)
        case Refused() | Broken():
            return reading.read(result, lambda _answer: reading.doubt("no answer"))
