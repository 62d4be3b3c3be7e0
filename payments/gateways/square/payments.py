"""What is asked about payments: one by its id, all of them under our reference, and what was refunded of each."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from payments.domain.outcomes import Captured, ChargeSeen, InDoubt, NeverSent
from payments.gateways import reading
from payments.gateways.deadline import Deadline
from payments.gateways.protocol import Question
from payments.gateways.reading import content, doubt
from payments.gateways.square import answers
from payments.gateways.square.answers import Asked
from payments.gateways.square.asking import ONCE, Client
from payments.gateways.transport import Answer, CallResult

Seen = ChargeSeen | InDoubt | NeverSent

# A list that is longer was asked for with the wrong bounds; nobody reads it to the end inside a deadline.
MOST_PAGES = 50
_PER_PAGE = 100  # As many as Square shows at most.
# A payment that is given back is given back whole, so once; more than a few refunds were made by hand.
_MOST_REFUNDS = 10
# Between our database's clock, which says when an attempt began, and Square's: what a question begins too late for is
# not found, and may be called absent.
_SKEW_SECONDS = 3600


class Payments:
    """Asks about the payments of one location."""

    def __init__(self, *, client: Client, location_id: str) -> None:
        self._client = client
        self._location_id = location_id

    def see(self, payment_id: str, *, asked: Asked, deadline: Deadline, reference: str = "") -> Seen:
        """Ask for one payment, and for each of its refunds."""
        result = self._client.ask(
            lambda square: square.payments.get(quote(payment_id, safe=""), request_options=ONCE), deadline=deadline
        )
        if not isinstance(result, Answer):
            return unanswered(result)
        if result.status != answers.OK:
            refused = answers.read_refusal(result, reference=None)
            # A payment that was seen is not proven away by an account that does not see it.
            return refused if isinstance(refused, NeverSent) else answers.as_doubt(refused)
        payment = content(result).get("payment")
        seen = answers.read_payment(payment, asked=asked, reference=reference)
        return self._with_refunds(seen, payment=payment, deadline=deadline)

    def find(self, question: Question, *, deadline: Deadline) -> list[ChargeSeen] | InDoubt | NeverSent:
        """List the payments under our reference since the attempt began, and ask for each of them."""
        asked = answers.asked_by(question, location_id=self._location_id)
        began = dt.datetime.fromtimestamp(max(0, question.opened_at_unix - _SKEW_SECONDS), dt.UTC)

        def ask(cursor: str) -> CallResult:
            return self._client.ask(
                lambda square: square.payments.list(
                    begin_time=began.strftime("%Y-%m-%dT%H:%M:%SZ") if question.opened_at_unix else None,
                    sort_order="ASC",
                    cursor=cursor or None,
                    location_id=self._location_id,
                    total=question.amount_minor,
                    limit=_PER_PAGE,
                    request_options=ONCE,
                ),
                deadline=deadline,
            )

        def is_ours(payment: dict[str, Any]) -> bool:
            return payment.get("reference_id") == question.reference

        payments = read_pages(ask, of="payments", is_ours=is_ours)
        if not isinstance(payments, list):
            return payments
        # A list may be seconds behind: what each is now, only its own answer tells.
        told = [payment.get("id") for payment in payments]
        payment_ids = [payment_id for payment_id in told if answers.is_id(payment_id)]
        if len(payment_ids) != len(told) or len(told) > answers.MOST_PAYMENTS:
            return doubt(f"{len(told)} payments under our reference, {len(payment_ids)} of which have an id")
        found: list[ChargeSeen] = []
        for payment_id in dict.fromkeys(payment_ids):  # One may move to the next page while we turn it.
            seen = self.see(payment_id, asked=asked, deadline=deadline)
            if isinstance(seen, InDoubt | NeverSent):
                return seen
            found.append(seen)
        return found

    def returned_by(self, refund_id: str, *, payment_id: str, deadline: Deadline) -> int | InDoubt | NeverSent:
        """Ask what a refund of a payment has given back by now, in minor units: a doubt while it is pending."""
        result = self._client.ask(
            lambda square: square.refunds.get(quote(refund_id, safe=""), request_options=ONCE), deadline=deadline
        )
        asked = {"id": refund_id, "payment_id": payment_id}
        return answers.read_refund(result, asked=asked) if isinstance(result, Answer) else unanswered(result)

    def _with_refunds(self, seen: ChargeSeen | InDoubt, *, payment: Any, deadline: Deadline) -> Seen:
        refund_ids = answers.refund_ids(payment)
        if not isinstance(seen, Captured) or refund_ids == ():
            return seen
        if isinstance(refund_ids, InDoubt):
            return replace(refund_ids, reference=seen.reference)
        if len(refund_ids) > _MOST_REFUNDS:
            return doubt(f"{len(refund_ids)} refunds", reference=seen.reference)
        returned_minor = 0
        for refund_id in refund_ids:
            returned = self.returned_by(refund_id, payment_id=payment["id"], deadline=deadline)
            if isinstance(returned, InDoubt):
                return replace(returned, reference=seen.reference)
            if isinstance(returned, NeverSent):
                return returned
            returned_minor += returned
        return answers.add_refunds(seen, payment=payment, returned_minor=returned_minor)


def read_pages(
    ask: Callable[[str], CallResult], *, of: str, is_ours: Callable[[dict[str, Any]], bool]
) -> list[dict[str, Any]] | InDoubt | NeverSent:
    """Ask for every page of a list, by its cursor, and return what is ours of it. A part of it proves nothing."""
    ours: list[dict[str, Any]] = []
    cursor = ""
    for _ in range(MOST_PAGES):
        result = ask(cursor)
        if not isinstance(result, Answer):
            return unanswered(result)
        page = answers.read_page(result, of=of)
        if isinstance(page, InDoubt | NeverSent):
            return page
        items, cursor = page
        ours += [item for item in items if isinstance(item, dict) and is_ours(item)]
        if not cursor:
            return ours
    return doubt(f"more than {MOST_PAGES} pages of {of}")


def unanswered(result: CallResult) -> InDoubt | NeverSent:
    """Say what a call without an answer proves."""
    return reading.read(result, lambda answer: doubt(f"HTTP {answer.status}"))
