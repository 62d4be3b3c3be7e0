"""What Square's answers about its payment page prove, as pure functions: a link, its order, and what paid it.

A link takes the money at once, when the customer pays; there is no hold. Its charge is called by the order, which says
what became of it, and by the link, which ends it. An order is paid by payments that are shown as its tenders.
"""

from dataclasses import dataclass
from typing import Any

from payments.domain.outcomes import (
    Authorized,
    Captured,
    ChargeSeen,
    Declined,
    InDoubt,
    Outcome,
    Pending,
    Undoing,
    Undone,
)
from payments.gateways.protocol import ChargeRequest
from payments.gateways.reading import LONGEST_ID, content, doubt, inner, is_address
from payments.gateways.square.answers import MOST_PAYMENTS, OK, Asked, as_doubt, is_id, money, read_refusal, shown
from payments.gateways.transport import Answer

_BETWEEN = ":"  # In no id of theirs.


@dataclass(frozen=True, slots=True)
class Page:
    """One payment link and its order."""

    order_id: str
    link_id: str

    @property
    def reference(self) -> str:
        """What the charge is called by."""
        return f"{self.order_id}{_BETWEEN}{self.link_id}"


def page_of(reference: str) -> Page | None:
    """Return the page that a charge was begun on; None for one that was made with a token."""
    order_id, between, link_id = reference.partition(_BETWEEN)
    return Page(order_id=order_id, link_id=link_id) if between else None


def word_order(request: ChargeRequest, *, location_id: str) -> dict[str, Any]:
    """Word the order that a link is for: one line, our reference, and nothing that could add to the amount."""
    price = money(amount_minor=request.amount_minor, currency=request.currency)
    line = {"name": request.reference, "quantity": "1", "base_price_money": price}
    return {"location_id": location_id, "reference_id": request.reference, "line_items": [line]}


def read_link(link: object, *, payment_note: str) -> tuple[Page, str] | InDoubt:
    """Read a link of ours: its page, and where the customer goes."""
    if not isinstance(link, dict) or link.get("payment_note") != payment_note:
        return doubt("no link of ours")
    link_id, order_id, address = link.get("id"), link.get("order_id"), link.get("url")
    if not is_id(link_id) or not is_id(order_id) or not is_address(address):
        return doubt(f"a link with {[shown(link_id), shown(order_id), shown(address)]}")
    page = Page(order_id=order_id, link_id=link_id)
    if len(page.reference) > LONGEST_ID:
        return doubt(f"a link whose name has {len(page.reference)} characters")
    return page, address


def read_link_creation(answer: Answer, *, request: ChargeRequest) -> Outcome:
    """Read the answer to a link that was asked for."""
    if answer.status != OK:
        return read_refusal(answer, reference=None)
    answered = content(answer)
    read = read_link(answered.get("payment_link"), payment_note=request.reference)
    if isinstance(read, InDoubt):
        return read
    page, address = read
    price = money(amount_minor=request.amount_minor, currency=request.currency)
    orders = inner(answered, "related_resources").get("orders")
    if orders is not None and not isinstance(orders, list):
        return doubt(f"a link for orders that are {shown(orders)}", reference=page.reference)
    others = [order for order in orders or [] if inner({"order": order}, "order").get("total_money") != price]
    if answered.get("errors") or others:
        return doubt(f"a link with errors, or for {len(others)} orders of another amount", reference=page.reference)
    return Pending(reference=page.reference, redirect_url=address)


def read_order(answer: Answer, *, page: Page, asked: Asked) -> list[str] | ChargeSeen | InDoubt:
    """Read what became of a page: the ids of the payments that its order shows, or that there is none."""
    if answer.status != OK:
        # An order that was there is not proven away by an account that does not see it.
        return as_doubt(read_refusal(answer, reference=page.reference))
    order = inner(content(answer), "order")
    said = {name: order.get(name) for name in asked}
    if order.get("id") != page.order_id or said != dict(asked):
        others = [name for name in asked if said[name] != asked[name]]
        return doubt(f"the order {page.order_id} is another one, by its {others}", reference=page.reference)
    tenders = order.get("tenders")
    if tenders is not None and not isinstance(tenders, list):
        return doubt(f"the order {page.order_id} was paid with {shown(tenders)}", reference=page.reference)
    told = [inner({"tender": tender}, "tender").get("id") for tender in tenders or []]
    payment_ids = [payment_id for payment_id in told if is_id(payment_id)]
    if len(payment_ids) != len(told) or len(told) > MOST_PAYMENTS:
        detail = f"the order {page.order_id} was paid with {len(told)} tenders, {len(payment_ids)} of which have an id"
        return doubt(detail, reference=page.reference)
    if payment_ids:
        return payment_ids
    return read_unpaid(order.get("state"), page=page)


def read_unpaid(state: object, *, page: Page) -> ChargeSeen | InDoubt:
    """Tell what an order without a payment that stands is seen as."""
    match state:
        case "CANCELED":  # A terminal state, in which an order is not paid and cannot be.
            return Undone(how=Undoing.VOIDED, reference=page.reference)
        case "DRAFT" | "OPEN":
            return Pending(reference=page.reference, redirect_url=None)
        case _:
            return doubt(f"the order {page.order_id} is {shown(state)} and shows no payment", reference=page.reference)


def read_tenders(seen: list[ChargeSeen], *, page: Page, state: object) -> ChargeSeen | InDoubt:
    """Tell what an order is seen as by its payments: by the one that stands, else by the order."""
    standing = [charge for charge in seen if stands(charge)]
    match standing:
        case [Authorized()]:  # A page holds nothing: what it was paid with is on its way to being taken.
            return Pending(reference=page.reference, redirect_url=None)
        case [only]:
            return only
        case []:
            unpaid = read_unpaid(state, page=page)
            return seen[-1] if isinstance(unpaid, Undone) else unpaid  # The page of a failed try can be paid still.
        case _:
            return doubt(f"the order {page.order_id} was paid {len(standing)} times", reference=page.reference)


def stands(charge: ChargeSeen) -> bool:
    """Tell whether a payment of an order has its money, had it, or may get it: a try that failed does not."""
    is_refunded = isinstance(charge, Undone) and charge.how is Undoing.REFUNDED
    return is_refunded or not isinstance(charge, Declined | Undone)


def read_paying(tried: list[tuple[str, ChargeSeen]], *, page: Page) -> str | InDoubt:
    """Return the id of the one payment that paid a page: nothing is given back of one that did not."""
    match [(payment_id, charge) for payment_id, charge in tried if stands(charge)]:
        case [(payment_id, Captured() | Undone())]:
            return payment_id
        case standing:
            told = [type(charge).__name__ for _, charge in standing]
            return doubt(f"no one payment paid the order {page.order_id}: {told}", reference=page.reference)
