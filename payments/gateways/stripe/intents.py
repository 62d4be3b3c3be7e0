"""As what a Payment Intent, or a Checkout Session with the intent it made, is seen: Stripe's objects in, outcomes out.

Each is held against what was asked: one that is not ours, amounts that do not add up, a status that does not go with
them prove nothing. A charge has one id for us: the intent's, or the session's for a payment on Stripe's page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from payments.domain.outcomes import (
    Authorized,
    Captured,
    ChargeSeen,
    Declined,
    InDoubt,
    Pending,
    Undoing,
    Undone,
)
from payments.gateways import failures
from payments.gateways.protocol import ActRequest, ChargeRequest, Question
from payments.gateways.reading import LONGEST_ID, declined, doubt, inner, is_address, is_amount, is_text
from payments.gateways.stripe.wording import REFERENCE

FAILURES = failures.load("stripe")

# Of the API reference, `cancellation_reason`: Stripe let it lapse by itself. Every other was asked for.
_LAPSED = frozenset({"automatic", "expired"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What an intent or session has to be to be ours; None and empty where the question does not say."""

    amount_minor: int | None
    currency: str
    reference: str = ""  # Our payment's id.
    intent: str = ""  # Stripe's id of the intent.
    shown_as: str = ""  # The session's id, where the charge is known by that.


def asked_by(request: ChargeRequest | Question) -> Asked:
    """Return what a charge of `request` looks like."""
    return Asked(amount_minor=request.amount_minor, currency=request.currency, reference=request.reference)


def acted_on(request: ActRequest, *, intent: str) -> Asked:
    """Return what the `intent` that `request` acts on looks like."""
    shown_as = "" if intent == request.charge_reference else request.charge_reference
    return Asked(amount_minor=request.amount_minor, currency=request.currency, intent=intent, shown_as=shown_as)


def code_of(error: object) -> object:
    """Return the most particular code that an error of Stripe gives: why the card was declined, or what went wrong."""
    told = inner(error)
    return told.get("decline_code") or told.get("code") or told.get("type")


def read_intent(intent: object, *, asked: Asked) -> ChargeSeen | InDoubt:
    """Tell as what an intent is seen, if it is the one that was `asked` about."""
    if not isinstance(intent, dict) or not is_text(intent.get("id"), longest=LONGEST_ID):
        return doubt("no payment intent where one belongs")
    reference = asked.shown_as or intent["id"]
    amount, taken = intent.get("amount"), intent.get("amount_received")
    if not (_is_ours(intent, asked=asked) and is_amount(amount) and is_amount(taken)):
        return doubt(f"the payment intent {intent['id']} is another one, or says no amounts")
    status = intent.get("status")
    if status == "succeeded" and taken == amount:
        return _read_taken(intent, amount=amount, reference=reference)
    if status == "requires_capture" and taken == 0 and intent.get("amount_capturable") == amount:
        return Authorized(reference=reference)
    if taken == 0 and not intent.get("amount_capturable"):
        return _read_untaken(intent, status=status, reference=reference)
    return doubt(f"the payment intent {intent['id']} is {status!r} with {taken} of {amount}", reference=reference)


def _is_ours(intent: Mapping[str, Any], *, asked: Asked) -> bool:
    return (
        intent.get("currency") == asked.currency.lower()
        and asked.intent in {"", intent["id"]}
        and (asked.amount_minor is None or intent.get("amount") == asked.amount_minor)
        and (not asked.reference or inner(intent, "metadata").get(REFERENCE) == asked.reference)
    )


def _read_taken(intent: Mapping[str, Any], *, amount: int, reference: str) -> ChargeSeen | InDoubt:
    charge = inner(intent, "latest_charge")  # Asked for with the intent; a mere id says nothing of refunds.
    amounts, returned = [charge.get("amount"), charge.get("amount_captured")], returned_of(charge)
    if amounts != [amount, amount] or returned is None or returned > amount:
        told = [*amounts, charge.get("amount_refunded")]
        return doubt(f"the payment intent {intent['id']} succeeded with {told}", reference=reference)
    if returned == amount:
        return Undone(how=Undoing.REFUNDED, reference=reference)
    return Captured(reference=reference, refunded_minor=returned)


def returned_of(charge: Mapping[str, Any]) -> int | None:
    """Return what of a charge has gone back; None as long as that is not certain.

    Stripe's sum counts a refund that is pending, which can fail yet. So each has to be shown, and to be over.
    """
    total, shown = charge.get("amount_refunded"), inner(charge, "refunds")
    refunds = shown.get("data", [])
    if not is_amount(total) or not isinstance(refunds, list) or shown.get("has_more"):
        return None
    returned = 0
    for refund in map(inner, refunds):
        status, amount = refund.get("status"), refund.get("amount")
        if status == "succeeded" and is_amount(amount):
            returned += amount
        elif status not in ("failed", "canceled"):
            return None
    return returned if returned == total else None


def _read_untaken(intent: Mapping[str, Any], *, status: object, reference: str) -> ChargeSeen | InDoubt:
    match status:
        case "canceled":
            lapsed = intent.get("cancellation_reason") in _LAPSED
            return Undone(how=Undoing.EXPIRED if lapsed else Undoing.VOIDED, reference=reference)
        case "requires_payment_method" if intent.get("last_payment_error"):
            return declined(FAILURES, code_of(intent["last_payment_error"]), reference=reference)
        case "requires_action":
            return _read_action(intent, reference=reference)
        case "processing" | "requires_confirmation" | "requires_payment_method":
            # The latter two never held anything, but could still be paid: a void ends that.
            return Pending(reference=reference, redirect_url=None)
        case _:
            return doubt(f"the payment intent {intent['id']} is {status!r}", reference=reference)


def _read_action(intent: Mapping[str, Any], *, reference: str) -> ChargeSeen | InDoubt:
    address = inner(intent, "next_action", "redirect_to_url").get("url")
    if address is not None and not is_address(address):
        return doubt(f"the payment intent {intent['id']} leads nowhere", reference=reference)
    return Pending(reference=reference, redirect_url=address)


@dataclass(frozen=True, slots=True)
class Session:
    """A Checkout Session that is ours."""

    id: str
    status: str  # open, complete or expired.
    url: str | None
    intent: object  # As it was shown: an object where it was asked for, an id, or None as long as there is none.

    @property
    def intent_id(self) -> str:
        """Return the intent's id; empty if there is none."""
        told = self.intent.get("id") if isinstance(self.intent, dict) else self.intent
        return told if is_text(told, longest=LONGEST_ID) else ""


def as_session(value: object, *, asked: Asked) -> Session | InDoubt:
    """Return the session that `value` is, if it is the one that was `asked` about."""
    session = inner(value)
    session_id, status, url = session.get("id"), session.get("status"), session.get("url")
    if not is_text(session_id, longest=LONGEST_ID) or status not in ("open", "complete", "expired"):
        return doubt("no checkout session where one belongs")
    is_ours = (
        session.get("mode") == "payment"
        and session.get("currency") == asked.currency.lower()
        and asked.shown_as in {"", session_id}
        and (asked.amount_minor is None or session.get("amount_total") == asked.amount_minor)
        and (not asked.reference or session.get("client_reference_id") == asked.reference)
    )
    if not is_ours:
        return doubt(f"the checkout session {session_id} is another one")
    if url is not None and not is_address(url):
        return doubt(f"the checkout session {session_id} leads nowhere", reference=session_id)
    return Session(id=session_id, status=str(status), url=url, intent=session.get("payment_intent"))


def read_session(value: object, *, asked: Asked) -> ChargeSeen | InDoubt:
    """Tell as what a session is seen, with the intent that it made shown whole."""
    session = as_session(value, asked=asked)
    if isinstance(session, InDoubt):
        return session
    if session.intent is None:
        if session.status == "complete":
            return doubt("a complete checkout session without a payment intent", reference=session.id)
        if session.status == "open":
            return Pending(reference=session.id, redirect_url=session.url)
        return Undone(how=Undoing.EXPIRED, reference=session.id)
    made = Asked(
        amount_minor=asked.amount_minor, currency=asked.currency, reference=asked.reference, shown_as=session.id
    )
    seen = read_intent(session.intent, asked=made)
    match session.status, seen:
        case _, InDoubt():
            return seen
        case "complete", _:
            return seen
        case "open", Pending() | Declined():  # A card that was declined there may be followed by another.
            return Pending(reference=session.id, redirect_url=session.url)
        case "expired", Pending() | Declined() | Undone(how=Undoing.VOIDED | Undoing.EXPIRED):
            return Undone(how=Undoing.EXPIRED, reference=session.id)
        case _:
            return doubt(f"the checkout session is {session.status} with {seen}", reference=session.id)
