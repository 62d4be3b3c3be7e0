"""Speaks to Square: payments with a token here, those on Square's own page in checkout.py.

A key is never repeated: how long Square keeps one it does not say, and its cancel by key ("if no payment is found, no
action is taken") bars nothing that may still arrive. So a doubt is resolved by asking alone, and a hold that nobody
finds ends by itself, when its delay is over.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Self
from urllib.parse import quote

from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Authorized,
    Captured,
    ChargeSeen,
    Declined,
    InDoubt,
    NeverSent,
    NotFound,
    Operation,
    Outcome,
    Pending,
    Several,
    Undoing,
    Undone,
)
from payments.gateways import reading
from payments.gateways.deadline import Deadline
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
from payments.gateways.square import answers
from payments.gateways.square.asking import ONCE, Client
from payments.gateways.square.checkout import Checkout
from payments.gateways.square.hearing import Subscription, read_event
from payments.gateways.square.pages import page_of
from payments.gateways.square.payments import Payments, unanswered
from payments.gateways.transport import Answer, CallResult

# Square publishes no such time. Its SDK gives up after 60 s; what was not executed after an hour never will be.
_HORIZON_SECONDS = 3600
# What `delay_duration` takes for a card that is not present: from a minute to less than seven days.
_SHORTEST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS = 60, 7 * 24 * 3600 - 60


# Of ours; a seller has the one of their country (developer.squareup.com, international development), and none is India.
_CURRENCIES = frozenset({"EUR", "GBP", "JPY", "USD"})


class SquareGateway:
    """One location of one Square account."""

    capabilities: Capabilities = Capabilities(
        authorizes=True,
        cancels_keys=False,
        key_life_seconds=0,
        horizon_seconds=_HORIZON_SECONDS,
        shortest_window_seconds=_SHORTEST_DELAY_SECONDS,
        longest_window_seconds=_LONGEST_DELAY_SECONDS,
        takes_window=True,
        currencies=_CURRENCIES,
    )

    def __init__(
        self,
        *,
        client: Client,
        location_id: str,
        webhook_secrets: tuple[str, ...] = (),
        notification_url: str = "",
        merchant_id: str = "",
    ) -> None:
        self._client = client
        self._location_id = location_id
        self._payments = Payments(client=client, location_id=location_id)
        self._checkout = Checkout(client=client, payments=self._payments, location_id=location_id)
        self._subscription = Subscription(
            secrets=webhook_secrets, notification_url=notification_url, merchant_id=merchant_id
        )

    @classmethod
    def from_settings(cls, settings: Mapping[str, str], *, connect_seconds: float) -> Self:
        """Make one of `access_token` and `location_id`.

        `url` may be missing, and for events `webhook_secrets`, `notification_url`, as Square was told it, and
        `merchant_id`.
        """
        return cls(
            client=Client.from_settings(settings, connect_seconds=connect_seconds),
            location_id=settings["location_id"],
            webhook_secrets=tuple(listed(settings.get("webhook_secrets", ""))),
            notification_url=settings.get("notification_url", ""),
            merchant_id=settings.get("merchant_id", ""),
        )

    def authorize(self, request: ChargeRequest, *, deadline_seconds: float) -> Outcome:
        """Hold the money, no longer than the window; on Square's page, which knows no hold, it is taken."""
        delay = {"delay_action": "CANCEL", "delay_duration": f"PT{request.window_seconds}S"}
        options = {"autocomplete": False, **(delay if request.window_seconds else {})}
        return self._create(request, options=options, deadline=Deadline(deadline_seconds))

    def charge(self, request: ChargeRequest, *, deadline_seconds: float) -> Outcome:
        """Hold and take the money in one call."""
        return self._create(request, options={"autocomplete": True}, deadline=Deadline(deadline_seconds))

    def capture(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Take what is held, all of it. Square takes no key for this, and refuses a second time."""
        deadline = Deadline(deadline_seconds)
        page = page_of(request.charge_reference)
        if page is not None:
            return self._checkout.capture(page, asked=self._asked(request), deadline=deadline)
        payment_id = quote(request.charge_reference, safe="")
        result = self._client.ask(
            lambda square: square.payments.complete(payment_id, request_options=ONCE), deadline=deadline
        )
        return self._read_act(result, operation=Operation.CAPTURE, request=request, deadline=deadline)

    def void(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Let go of what is held or pending, all of it."""
        deadline = Deadline(deadline_seconds)
        page = page_of(request.charge_reference)
        if page is not None:
            return self._checkout.end(page, asked=self._asked(request), request=request, deadline=deadline)
        payment_id = quote(request.charge_reference, safe="")
        result = self._client.ask(
            lambda square: square.payments.cancel(payment_id, request_options=ONCE), deadline=deadline
        )
        return self._read_act(result, operation=Operation.VOID, request=request, deadline=deadline)

    def refund(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Give `amount_minor` back: Square takes it in hand, and how far it got is asked at once."""
        deadline = Deadline(deadline_seconds)
        page = page_of(request.charge_reference)
        payment_id = request.charge_reference if page is None else self._checkout.payment_of(page, deadline=deadline)
        if not isinstance(payment_id, str):
            return payment_id  # Nothing was asked for yet, so what was never sent was never sent.
        amount = answers.money(amount_minor=request.amount_minor, currency=request.currency)
        result = self._client.ask(
            lambda square: square.refunds.refund_payment(
                idempotency_key=request.idempotency_key,
                amount_money=amount,
                payment_id=payment_id,
                request_options=ONCE,
            ),
            deadline=deadline,
        )
        asked = {"payment_id": payment_id, "amount_money": amount}
        if not isinstance(result, Answer):
            return unanswered(result)
        begun = answers.read_refund_begun(result, asked=asked, reference=request.charge_reference)
        if not isinstance(begun, str):
            return begun
        return self._refunded(request, refund_id=begun, payment_id=payment_id, deadline=deadline)

    def look_up(self, question: Question, *, deadline_seconds: float) -> Outcome:
        """Ask for the charge that is known, else for every one under our reference."""
        deadline = Deadline(deadline_seconds)
        if question.charge_reference:
            asked = answers.asked_by(question, location_id=self._location_id)
            page = page_of(question.charge_reference)
            if page is not None:
                return self._checkout.see(page, asked=asked, deadline=deadline)
            return self._payments.see(question.charge_reference, asked=asked, deadline=deadline)
        is_hosted = None if question.charge is None else question.charge.is_hosted
        charges: list[ChargeSeen] = []
        if is_hosted is not True:
            found = self._payments.find(question, deadline=deadline)
            if not isinstance(found, list):
                return found
            charges += found
        if is_hosted is not False:
            found = self._checkout.find(question, deadline=deadline)
            if not isinstance(found, list):
                return found
            charges += found
        match charges:
            case []:
                return NotFound()
            case [only]:
                return only
            case _:
                return Several(charges=tuple(charges))

    def cancel_key(self, question: Question, *, deadline_seconds: float) -> Outcome:
        """Undo and bar nothing: Square's own cancel by key does not promise the second."""
        raise NotImplementedError

    def check(self, *, deadline_seconds: float) -> Outcome:
        """List the payments of one cent, of which there are few if any."""
        found = self._payments.find(replace(NOBODYS, amount_minor=1), deadline=Deadline(deadline_seconds))
        return NotFound() if isinstance(found, list) else found

    def read_event(self, *, headers: Mapping[str, str], body: bytes, unix_seconds: int) -> Event | NotGenuine:
        """Verify and read an event."""
        return read_event(headers=headers, body=body, subscription=self._subscription, unix_seconds=unix_seconds)

    def close(self) -> None:
        """Let go of every connection."""
        self._client.close()

    def _create(self, request: ChargeRequest, *, options: Mapping[str, Any], deadline: Deadline) -> Outcome:
        if request.is_hosted:
            return self._checkout.create(request, deadline=deadline)
        amount = answers.money(amount_minor=request.amount_minor, currency=request.currency)
        result = self._client.ask(
            lambda square: square.payments.create(
                source_id=request.payment_token,
                idempotency_key=request.idempotency_key,
                amount_money=amount,
                location_id=self._location_id,
                reference_id=request.reference,
                request_options=ONCE,
                **options,
            ),
            deadline=deadline,
        )
        asked = answers.asked_by(request, location_id=self._location_id)
        return reading.read(result, partial(answers.read_creation, asked=asked))

    def _read_act(
        self, result: CallResult, *, operation: Operation, request: ActRequest, deadline: Deadline
    ) -> Outcome:
        asked = {"id": request.charge_reference, **self._asked(request)}
        outcome = reading.read(result, partial(answers.read_act, asked=asked))
        if _is_done(operation, outcome):
            return outcome
        if not isinstance(outcome, Declined) or outcome.code in _SAYS_NOTHING_OF_THE_PAYMENT:
            is_strange = isinstance(outcome, Captured | Authorized | Pending | Undone)
            return reading.doubt(f"{operation} was answered with {outcome}") if is_strange else outcome
        # Its refusals of a state are not told apart by their codes, so the payment is asked for what it is.
        seen = self._payments.see(request.charge_reference, asked=asked, deadline=deadline)
        if isinstance(seen, InDoubt | NeverSent):
            return answers.as_doubt(seen)
        if _is_done(operation, seen):
            return seen
        is_untouched = isinstance(seen, Authorized | Pending)
        code = outcome.code if is_untouched else FailureCode.ALREADY_DONE
        return Declined(code=code, gateway_code=outcome.gateway_code, reference=request.charge_reference)

    def _refunded(
        self, request: ActRequest, *, refund_id: str, payment_id: str, deadline: Deadline
    ) -> Captured | Undone | InDoubt:
        # Each question is a request after the one that asked for the money: none of their endings is "never sent".
        returned = self._payments.returned_by(refund_id, payment_id=payment_id, deadline=deadline)
        if not isinstance(returned, int):
            return replace(answers.as_doubt(returned), reference=request.charge_reference)
        if returned != request.amount_minor:
            return reading.doubt(f"the refund {refund_id} is not completed", reference=request.charge_reference)
        asked = {"location_id": self._location_id}
        seen = self._payments.see(payment_id, asked=asked, reference=request.charge_reference, deadline=deadline)
        match seen:
            case Undone(how=Undoing.REFUNDED):
                return seen
            case Captured(refunded_minor=refunded) if refunded >= request.amount_minor:
                return seen
            case InDoubt() | NeverSent():
                return answers.as_doubt(seen)
            case _:
                return reading.doubt(f"refunded, and yet {seen}", reference=request.charge_reference)

    def _asked(self, request: ActRequest) -> dict[str, object]:
        amount = answers.money(amount_minor=request.amount_minor, currency=request.currency)
        return {"location_id": self._location_id, "amount_money": amount, "total_money": amount}


_SAYS_NOTHING_OF_THE_PAYMENT = frozenset({FailureCode.CONFIGURATION})


def _is_done(operation: Operation, outcome: Outcome) -> bool:
    if operation is Operation.CAPTURE:
        return isinstance(outcome, Captured) and not outcome.refunded_minor
    return isinstance(outcome, Undone) and outcome.how is not Undoing.REFUNDED
