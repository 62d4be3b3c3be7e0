"""What Square's answers about its payment page prove, as pure functions: a link, its order, and what paid it.

A link takes the money at once, when the customer pays; there is no hold. Its charge is called by the order, which says
what became of it, and by the link, which ends it. An order is paid by payments that are shown as its tenders.
"""

from dataclasses import dataclass
from typing import Any

from payments.domain.outcomes import ChargeSeen, Declined, InDoubt, Outcome, Pending, Undoing, Undone
from payments.gateways.protocol import ChargeRequest
from payments.gateways.reading import LONGEST_ID, content, doubt, inner, is_address
from payments.gateways.square.answers import OK, Asked, as_doubt, is_id, money, read_refusal
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
        return doubt(f"a link with {[link_id, order_id, address]}")
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
    orders = inner(answered, "related_resources").get("orders") or []
    totals = [inner({"order": order}, "order").get("total_money") for order in orders]
    if answered.get("errors") or any(total != price for total in totals):
        return doubt(f"a link for {totals} in place of {price}", reference=page.reference)
    return Pending(reference=page.reference, redirect_url=address)


def read_order(answer: Answer, *, page: Page, asked: Asked) -> list[str] | ChargeSeen | InDoubt:
    """Read what became of a page: the ids of the payments that its order shows, or that there is none."""
    if answer.status != OK:
        # An order that was there is not proven away by an account that does not see it.
        return as_doubt(read_refusal(answer, reference=page.reference))
    order = inner(content(answer), "order")
    said = {name: order.get(name) for name in asked}
    if order.get("id") != page.order_id or said != dict(asked):
        return doubt(f"the order {page.order_id} is another one: {said}", reference=page.reference)
    tenders = order.get("tenders", [])
    payment_ids = [inner({"tender": tender}, "tender").get("id") for tender in tenders or []]
    if any(not is_id(payment_id) for payment_id in payment_ids):
        return doubt(f"the order {page.order_id} was paid with {payment_ids}", reference=page.reference)
    if payment_ids:
        return [payment_id for payment_id in payment_ids if is_id(payment_id)]
    return read_unpaid(order.get("state"), page=page)


def read_unpaid(state: object, *, page: Page) -> ChargeSeen | InDoubt:
    """Tell what an order without a payment that stands is seen as."""
    match state:
        case "CANCELED":  # A terminal state, in which an order is not paid and cannot be.
            return Undone(how=Undoing.VOIDED, reference=page.reference)
        case "DRAFT" | "OPEN":
            return Pending(reference=page.reference, redirect_url=None)
        case _:
            return doubt(f"the order {page.order_id} is {state!r} and shows no payment", reference=page.reference)


def read_tenders(seen: list[ChargeSeen], *, page: Page, state: object) -> ChargeSeen | InDoubt:
    """Tell what an order is seen as by its payments: by the one that stands, else by the order."""
    standing = [charge for charge in seen if not isinstance(charge, Declined | Undone) or _is_refunded(charge)]
    match standing:
        case [only]:
            return only
        case []:
            unpaid = read_unpaid(state, page=page)
            return seen[-1] if isinstance(unpaid, Undone) else unpaid  # The page of a failed try can be paid still.
        case _:
            return doubt(f"the order {page.order_id} was paid {len(standing)} times", reference=page.reference)


def _is_refunded(charge: ChargeSeen) -> bool:
    return isinstance(charge, Undone) and charge.how is Undoing.REFUNDED
