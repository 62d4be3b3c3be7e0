"""Speaks to PayPal. What it answers is read in answers.py, what an order shows in orders.py.

An order is the charge, and its id the reference of it from first to last. To make one moves no money and can be
repeated; to authorise or capture it is the one request that may. So a call that breaks before that was never sent, and
one that breaks there is in doubt about an order whose id is known.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Self
from urllib.parse import quote

from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Authorized,
    Captured,
    ChargeSeen,
    InDoubt,
    NeverSent,
    NotFound,
    Outcome,
    Pending,
    Undoing,
    Undone,
)
from payments.gateways import reading
from payments.gateways.deadline import Deadline
from payments.gateways.paypal import answers, hearing, wording
from payments.gateways.paypal.client import Body, Client
from payments.gateways.paypal.orders import Asked, Order, asked_by, judge
from payments.gateways.paypal.wakefulness import Wakefulness
from payments.gateways.paypal.wording import Intent
from payments.gateways.protocol import ActRequest, Capabilities, ChargeRequest, Event, NotGenuine, Question
from payments.gateways.reading import doubt
from payments.gateways.transport import Answer, Broken, CallResult, Refused, Transport

# Orders v2, parameter PayPal-Request-Id: "The server stores keys for 6 hours." One hour less for two clocks.
_KEY_LIFE_SECONDS = 5 * 3600
# PayPal says nothing of it. Three hours is how long an order waits to be paid (Orders v2, `links`): what arrives later
# finds no order.
_HORIZON_SECONDS = 3 * 3600
# Orders v2, `links`: "The API caller has 3 hours (default setting ...) from the time the order is created, to redirect
# your payer." So long a page can be reached; a longer window would promise one that is gone.
_LONGEST_WINDOW_SECONDS = 3 * 3600

# Of ours (developer.paypal.com, currency codes): PayPal cannot be paid in Indian rupees.
_CURRENCIES = frozenset({"EUR", "GBP", "JPY", "USD"})


class PayPalGateway:
    """PayPal's Orders v2 and Payments v2."""

    capabilities: Capabilities = Capabilities(
        authorizes=True,
        cancels_keys=False,
        key_life_seconds=_KEY_LIFE_SECONDS,
        horizon_seconds=_HORIZON_SECONDS,
        longest_window_seconds=_LONGEST_WINDOW_SECONDS,
        # An order cannot be ended, only be made one that nobody pays; PayPal says nothing of a payment that was begun.
        voids_are_final=False,
        currencies=_CURRENCIES,
    )

    def __init__(self, *, client: Client, ear: hearing.Ear) -> None:
        self._client = client
        self._ear = ear

    @classmethod
    def from_settings(cls, settings: Mapping[str, str], *, connect_seconds: float) -> Self:
        """Make it from url, client_id, client_secret, webhook_secrets (our webhook ids) and webhook_verification.

        :raises ValueError: `webhook_verification` is neither "certificate" nor "api".
        """
        transport = Transport(base_url=settings["url"], headers={}, connect_seconds=connect_seconds)
        client = Client(transport=transport, client_id=settings["client_id"], client_secret=settings["client_secret"])
        return cls(client=client, ear=hearing.ear(settings, client=client, connect_seconds=connect_seconds))

    def authorize(self, request: ChargeRequest, *, deadline_seconds: float) -> Outcome:
        """Hold the money."""
        return self._begin(request, Intent.AUTHORIZE, deadline=Deadline(deadline_seconds))

    def charge(self, request: ChargeRequest, *, deadline_seconds: float) -> Outcome:
        """Hold and take the money in one call."""
        return self._begin(request, Intent.CAPTURE, deadline=Deadline(deadline_seconds))

    def capture(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Take what is held, all of it."""
        deadline, wakefulness = Deadline(deadline_seconds), Wakefulness()
        order = self._order_of(request, amount_minor=request.amount_minor, deadline=deadline)
        if not isinstance(order, Order):
            return order
        seen = judge(order, is_hosted=None)
        if isinstance(seen, InDoubt) or (isinstance(seen, Captured) and order.authorizations):
            return seen  # What was held is taken, all of it: an earlier call of this capture did it.
        if not isinstance(seen, Authorized):
            return answers.in_no_state(seen, reference=order.id)
        body = {
            "amount": wording.money(amount_minor=request.amount_minor, currency=request.currency),
            "final_capture": True,
        }
        result = self._act(
            f"authorizations/{order.authorizations[0].id}/capture",
            deadline=deadline,
            body=body,
            key=request.idempotency_key,
            wakefulness=wakefulness,
        )
        if isinstance(result, Refused) and wakefulness.has_slept:
            return NeverSent(code=FailureCode.STALE_CHECK, detail=wakefulness.worded)
        return reading.read(result, partial(answers.read_capture, request=request, reference=order.reference))

    def void(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Let go of what is held or pending, all of it."""
        deadline = Deadline(deadline_seconds)
        order = self._order_of(request, amount_minor=request.amount_minor, deadline=deadline)
        if not isinstance(order, Order):
            return order
        if order.is_unpaid and order.intent is order.made_for:
            return self._bar(order, request, deadline=deadline)
        seen = judge(order, is_hosted=None)
        if isinstance(seen, Undone | InDoubt):
            return seen
        if not isinstance(seen, Authorized | Pending) or not order.authorizations:
            return self._no_state(order)
        # The one act without a key: PayPal takes none here, and a second void is told so.
        result = self._act(f"authorizations/{order.authorizations[0].id}/void", deadline=deadline)
        if isinstance(result, Answer) and answers.asks_to_look_again(result):
            return self._after(order, request, deadline=deadline)
        return reading.read(result, partial(answers.read_void, request=request, reference=order.reference))

    def refund(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Give `amount_minor` back."""
        deadline = Deadline(deadline_seconds)
        order = self._order_of(request, amount_minor=None, deadline=deadline)
        if not isinstance(order, Order):
            return order
        seen = judge(order, is_hosted=None)
        if isinstance(seen, InDoubt) or (isinstance(seen, Undone) and seen.how is Undoing.REFUNDED):
            return seen
        if not isinstance(seen, Captured):
            return self._no_state(order)
        capture = next(capture for capture in order.captures if capture.status in {"COMPLETED", "PARTIALLY_REFUNDED"})
        body = {"amount": wording.money(amount_minor=request.amount_minor, currency=request.currency)}
        result = self._act(f"captures/{capture.id}/refund", deadline=deadline, body=body, key=request.idempotency_key)
        if isinstance(result, Answer) and answers.asks_to_look_again(result):
            return self._after(order, request, deadline=deadline)
        return reading.read(result, partial(answers.read_refund, request=request, capture=capture))

    def look_up(self, question: Question, *, deadline_seconds: float) -> Outcome:
        """Ask what became of an order, by its id, or else by making it again."""
        deadline = Deadline(deadline_seconds)
        if question.charge_reference:
            return self._see(asked_by(question, order_id=question.charge_reference), deadline=deadline)
        if question.charge is None:
            return doubt("PayPal finds an order by its id only, and nobody knows it")
        for intent in Intent:
            seen = self._see_again(question, question.charge, intent, deadline=deadline)
            if seen is not None:
                return seen
        return NotFound()

    def cancel_key(self, question: Question, *, deadline_seconds: float) -> Outcome:
        """Undo and bar nothing: PayPal cannot."""
        raise NotImplementedError

    def check(self, *, deadline_seconds: float) -> Outcome:
        """Ask for an order that nobody made."""
        asked = Asked(currency="USD", order_id="0" * 17, amount_minor=None)
        return self._see(asked, deadline=Deadline(deadline_seconds))

    def read_event(self, *, headers: Mapping[str, str], body: bytes, unix_seconds: int) -> Event | NotGenuine:
        """Verify and read an event."""
        return self._ear.read_event(headers=headers, body=body, unix_seconds=unix_seconds)

    def close(self) -> None:
        """Let go of every connection."""
        self._client.close()
        self._ear.close()

    # A charge

    def _begin(self, request: ChargeRequest, intent: Intent, *, deadline: Deadline) -> Outcome:
        wakefulness = Wakefulness()
        order_id = self._open(request, intent, deadline=deadline)
        if not isinstance(order_id, str):
            return order_id
        asked = asked_by(request, order_id=order_id)
        if request.is_hosted:
            seen = self._see(asked, deadline=deadline)
            if not isinstance(seen, Pending) or not seen.is_approved:
                return _opened(seen, order_id)
        verb = "authorize" if intent is Intent.AUTHORIZE else "capture"
        result = self._client.call(
            "POST",
            f"/v2/checkout/orders/{order_id}/{verb}",
            deadline=deadline,
            body=wording.payment(request),
            key=request.idempotency_key,
            wakefulness=wakefulness,
        )
        if isinstance(result, Refused) and wakefulness.has_slept:
            return NeverSent(code=FailureCode.STALE_CHECK, detail=wakefulness.worded)
        if isinstance(result, Answer) and answers.leaves_open(result):
            return _opened(self._see_refused(result, asked=asked, deadline=deadline), order_id)
        outcome = reading.read(result, partial(answers.read_paying, asked=asked))
        return replace(outcome, reference=order_id) if isinstance(outcome, InDoubt) else outcome

    def _see_refused(
        self, answer: Answer, *, asked: Asked, deadline: Deadline
    ) -> ChargeSeen | NotFound | InDoubt | NeverSent:
        """Look at an order after a refusal to pay it that says too little. Unpaid, it may still become paid."""
        order = self._fetch(asked, deadline=deadline)
        if not isinstance(order, Order):
            return order
        if order.is_unpaid and order.intent is order.made_for:
            return answers.read_unpaid(answer, order)
        return judge(order, is_hosted=asked.is_hosted)

    def _open(self, request: ChargeRequest, intent: Intent, *, deadline: Deadline) -> str | Outcome:
        result = self._client.call(
            "POST",
            "/v2/checkout/orders",
            deadline=deadline,
            body=wording.order(request, intent),
            key=wording.order_key(request.idempotency_key, intent),
        )
        match result:
            case Refused(detail=detail):
                return NeverSent(code=FailureCode.GATEWAY_UNREACHABLE, detail=detail)
            case Broken(detail=detail, by_deadline=by_deadline):
                code = FailureCode.GATEWAY_TIMEOUT if by_deadline else FailureCode.GATEWAY_ERROR
                return NeverSent(code=code, detail=f"no order: {detail}")
            case Answer():
                return answers.read_opening(result, asked=asked_by(request, order_id=None), intent=intent)

    def _see(self, asked: Asked, *, deadline: Deadline) -> ChargeSeen | NotFound | InDoubt | NeverSent:
        order = self._fetch(asked, deadline=deadline)
        return judge(order, is_hosted=asked.is_hosted) if isinstance(order, Order) else order

    def _see_again(
        self, question: Question, charge: ChargeRequest, intent: Intent, *, deadline: Deadline
    ) -> Outcome | None:
        """Make the order again and look at it; None when nothing came of it.

        While PayPal knows the key, that is the order which the charge made. One that was made after that is another,
        and proves nothing of the first. PayPal's own clock says when it was made, and two orders of one key are at
        least a key's life apart: so one that was made within it is the only one.
        """
        order_id = self._open(charge, intent, deadline=deadline)
        if not isinstance(order_id, str):
            # A refusal of this request says nothing of an earlier one.
            return order_id if isinstance(order_id, InDoubt | NeverSent) else doubt(f"no order to look at: {order_id}")
        order = self._fetch(asked_by(question, order_id=order_id), deadline=deadline)
        if not isinstance(order, Order):
            return doubt(f"the order {order_id} was made and is not found") if isinstance(order, NotFound) else order
        made_at = order.created_at_unix
        if made_at is None or made_at - question.opened_at_unix > _KEY_LIFE_SECONDS:
            return doubt(f"the order {order_id} may be another than the one that the charge made")
        if order.is_unpaid and order.status != "APPROVED" and order.intent is order.made_for:
            return None
        return judge(order, is_hosted=charge.is_hosted)

    def _fetch(self, asked: Asked, *, deadline: Deadline) -> Order | NotFound | InDoubt | NeverSent:
        path = f"/v2/checkout/orders/{quote(asked.order_id or '', safe='')}"
        result = self._client.call("GET", path, deadline=deadline)
        match result:
            case Refused(detail=detail):
                return NeverSent(code=FailureCode.GATEWAY_UNREACHABLE, detail=detail)
            case Broken(detail=detail, by_deadline=by_deadline):
                return doubt(detail, code=FailureCode.GATEWAY_TIMEOUT if by_deadline else FailureCode.GATEWAY_ERROR)
            case Answer():
                return answers.read_sight(result, asked=asked)

    # What is done to a charge

    def _order_of(
        self, request: ActRequest, *, amount_minor: int | None, deadline: Deadline
    ) -> Order | InDoubt | NeverSent:
        """Look at the order first: what is done is done to one of its payments."""
        asked = Asked(currency=request.currency, order_id=request.charge_reference, amount_minor=amount_minor)
        order = self._fetch(asked, deadline=deadline)
        match order:
            case NotFound():
                return doubt(f"the order {request.charge_reference} is not found", reference=request.charge_reference)
            case InDoubt(code=code, detail=detail):
                # Nothing was sent that could do anything; but an earlier request may have been.
                return doubt(f"before the act: {detail}", code=code, reference=request.charge_reference)
            case _:
                return order

    def _act(
        self,
        path: str,
        *,
        deadline: Deadline,
        body: Body | None = None,
        key: str | None = None,
        wakefulness: Wakefulness | None = None,
    ) -> CallResult:
        return self._client.call(
            "POST", f"/v2/payments/{path}", deadline=deadline, body=body, key=key, wakefulness=wakefulness
        )

    def _bar(self, order: Order, request: ActRequest, *, deadline: Deadline) -> Outcome:
        result = self._client.call(
            "PATCH", f"/v2/checkout/orders/{order.id}", deadline=deadline, body=wording.barring(order.made_for)
        )
        if isinstance(result, Answer) and result.status != HTTPStatus.NO_CONTENT:
            refusal = answers.read_refusal(result, reference=order.id)
            if result.status != HTTPStatus.UNPROCESSABLE_ENTITY:
                return refusal
        elif not isinstance(result, Answer):
            return reading.read(result, partial(answers.read_refusal, reference=order.id))
        # Changed or refused: the order says whether it was paid meanwhile.
        return self._after(order, request, deadline=deadline)

    def _after(self, order: Order, request: ActRequest, *, deadline: Deadline) -> Outcome:
        asked = Asked(currency=request.currency, order_id=order.id, reference=order.reference)
        seen = self._see(asked, deadline=deadline)
        if isinstance(seen, NotFound):
            return doubt(f"the order {order.id} is not found", reference=order.id)
        if isinstance(seen, Undone | InDoubt | NeverSent):
            return seen
        return answers.in_no_state(seen, reference=order.id)

    def _no_state(self, order: Order) -> Outcome:
        seen = judge(order, is_hosted=None)
        return seen if isinstance(seen, InDoubt) else answers.in_no_state(seen, reference=order.id)


def _opened(seen: ChargeSeen | NotFound | InDoubt | NeverSent, order_id: str) -> Outcome:
    """Say how an order stands that was just opened or paid; one that is not found any more is a doubt."""
    match seen:
        case NotFound():
            return doubt("the order is gone", reference=order_id)
        case NeverSent(code=code, detail=detail):
            return doubt(detail, code=code, reference=order_id)
        case InDoubt():
            return replace(seen, reference=order_id)
        case _:
            return seen
