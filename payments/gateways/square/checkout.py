"""Square's own page: a payment link for one order, made, looked at, found again, and ended.

A link has no end of its own: it is deleted when the window is over, which cancels its order, also under the eyes of a
customer who has the page open (developer.squareup.com/forums/t/checkout-api-hosted-checkout-timeout/8367).
"""

from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Captured,
    ChargeSeen,
    Declined,
    InDoubt,
    NeverSent,
    Outcome,
    Pending,
    Undoing,
    Undone,
)
from payments.gateways import reading
from payments.gateways.deadline import Deadline
from payments.gateways.protocol import ActRequest, ChargeRequest, Question
from payments.gateways.reading import content, doubt, inner
from payments.gateways.square import answers, pages
from payments.gateways.square.answers import Asked
from payments.gateways.square.asking import ONCE, Client
from payments.gateways.square.pages import Page
from payments.gateways.square.payments import Payments, Seen, read_pages, unanswered
from payments.gateways.transport import Answer, CallResult

# Square shows up to 1,000; so many fit into an answer (MAX_ANSWER_BYTES) with long addresses, too.
_LINKS_PER_PAGE = 250


@dataclass(frozen=True, slots=True)
class _Tried:
    """What an order shows of its payments: each under its own id, of which at most one stands."""

    payments: list[tuple[str, ChargeSeen]]
    state: object


class Checkout:
    """The payment links of one location."""

    def __init__(self, *, client: Client, payments: Payments, location_id: str) -> None:
        self._client = client
        self._payments = payments
        self._location_id = location_id

    def create(self, request: ChargeRequest, *, deadline: Deadline) -> Outcome:
        """Make a link for the customer to pay at."""
        options: dict[str, Any] = {"redirect_url": request.return_url} if request.return_url else {}
        result = self._client.ask(
            lambda square: square.checkout.payment_links.create(
                idempotency_key=request.idempotency_key,
                order=pages.word_order(request, location_id=self._location_id),
                checkout_options={"allow_tipping": False, **options},
                payment_note=request.reference,  # Square copies it to the payment: it carries no reference of ours.
                request_options=ONCE,
            ),
            deadline=deadline,
        )
        return reading.read(result, partial(pages.read_link_creation, request=request))

    def see(self, page: Page, *, asked: Asked, deadline: Deadline) -> Seen:
        """Ask what became of a page: its order, what paid it, and where it is while nothing has."""
        tried = self._ask_payments(page, asked=asked, deadline=deadline)
        if isinstance(tried, Pending):
            return self._with_address(tried, page=page, deadline=deadline)
        if not isinstance(tried, _Tried):
            return tried
        return pages.read_tenders([charge for _, charge in tried.payments], page=page, state=tried.state)

    def find(self, question: Question, *, deadline: Deadline) -> list[ChargeSeen] | InDoubt | NeverSent:
        """Look for our link among all of them, when its making was not answered."""

        def ask(cursor: str) -> CallResult:
            return self._client.ask(
                lambda square: square.checkout.payment_links.list(
                    cursor=cursor or None, limit=_LINKS_PER_PAGE, request_options=ONCE
                ),
                deadline=deadline,
            )

        links = read_pages(ask, of="payment_links", is_ours=lambda link: link.get("payment_note") == question.reference)
        if not isinstance(links, list):
            return links
        found: list[ChargeSeen] = []
        for link in links:
            read = pages.read_link(link, payment_note=question.reference)
            if isinstance(read, InDoubt):
                return read
            asked = answers.asked_by(question, location_id=self._location_id)
            seen = self.see(read[0], asked=asked, deadline=deadline)
            if isinstance(seen, InDoubt | NeverSent):
                return seen
            found.append(seen)
        return found

    def capture(self, page: Page, *, asked: Asked, deadline: Deadline) -> Outcome:
        """Take nothing, since a page takes by itself when the customer pays: tell whether it did."""
        seen = self.see(page, asked=asked, deadline=deadline)
        match seen:
            case Captured(refunded_minor=0) | InDoubt() | NeverSent():
                return seen
            case Pending():
                return doubt("there is no hold on a page, and nobody has paid there yet", reference=page.reference)
            case _:
                code = FailureCode.ALREADY_DONE
                return Declined(code=code, gateway_code=type(seen).__name__.upper(), reference=page.reference)

    def end(self, page: Page, *, asked: Asked, request: ActRequest, deadline: Deadline) -> Outcome:
        """Delete the link, so that nobody can pay there any more, and see what its order says then."""
        result = self._client.ask(
            lambda square: square.checkout.payment_links.delete(quote(page.link_id, safe=""), request_options=ONCE),
            deadline=deadline,
        )
        begun = reading.read(result, lambda answer: _read_deletion(answer, page=page))
        if isinstance(begun, NeverSent):
            return begun
        seen = self.see(page, asked=asked, deadline=deadline)
        match seen:
            case Undone() | Declined():
                return seen
            case Captured():
                return Declined(
                    code=FailureCode.ALREADY_DONE, gateway_code="COMPLETED", reference=request.charge_reference
                )
            case InDoubt() | NeverSent():
                return answers.as_doubt(seen)
            case _ if isinstance(begun, Declined):
                return begun
            case _:
                return doubt(f"the link was deleted, and its charge is {seen}", reference=page.reference)

    def payment_of(self, page: Page, *, deadline: Deadline) -> str | InDoubt | NeverSent:
        """Ask which payment paid a page, whatever was tried before it."""
        tried = self._ask_payments(page, asked={"location_id": self._location_id}, deadline=deadline)
        match tried:
            case _Tried(payments=payments):
                return pages.read_paying(payments, page=page)
            case InDoubt() | NeverSent():
                return tried
            case _:
                return doubt(f"nobody paid the order: {tried}", reference=page.reference)

    def _ask_payments(self, page: Page, *, asked: Asked, deadline: Deadline) -> _Tried | Seen:
        """Ask for the order, and for each payment that it shows; what the order says when it shows none."""
        result = self._client.ask(
            lambda square: square.orders.get(quote(page.order_id, safe=""), request_options=ONCE), deadline=deadline
        )
        if not isinstance(result, Answer):
            return unanswered(result)
        read = pages.read_order(result, page=page, asked=_of_an_order(asked))
        if not isinstance(read, list):
            return read
        seen: list[tuple[str, ChargeSeen]] = []
        for payment_id in read:
            one = self._payments.see(
                payment_id, asked=_of_a_payment(asked, page=page), reference=page.reference, deadline=deadline
            )
            if isinstance(one, InDoubt | NeverSent):
                return one
            seen.append((payment_id, one))
        return _Tried(payments=seen, state=inner(content(result), "order").get("state"))

    def _with_address(self, pending: Pending, *, page: Page, deadline: Deadline) -> Seen:
        result = self._client.ask(
            lambda square: square.checkout.payment_links.get(quote(page.link_id, safe=""), request_options=ONCE),
            deadline=deadline,
        )
        if not isinstance(result, Answer):
            return unanswered(result)
        link = inner(content(result), "payment_link")
        read = pages.read_link(link, payment_note=link.get("payment_note", ""))
        if result.status != answers.OK or isinstance(read, InDoubt) or read[0] != page:
            return doubt(f"HTTP {result.status} in place of the link of an unpaid order", reference=page.reference)
        return Pending(reference=pending.reference, redirect_url=read[1])


def _of_an_order(asked: Asked) -> Asked:
    return {name: asked[name] for name in ("reference_id", "location_id", "total_money") if name in asked}


def _of_a_payment(asked: Asked, *, page: Page) -> Asked:
    """Return what a payment of the page has to be. Square gives it no reference of ours; its order has that."""
    return {"order_id": page.order_id, **{name: asked[name] for name in asked if name != "reference_id"}}


def _read_deletion(answer: Answer, *, page: Page) -> Outcome:
    if answer.status != answers.OK:
        return answers.read_refusal(answer, reference=page.reference)
    return Undone(how=Undoing.VOIDED, reference=page.reference)
