"""What may happen to a charge, as pure functions: the old form in, the new form and the money moved out.

Nothing here touches the ledger; a refusal is a value. Each step raises the charge's version by one.
"""

import dataclasses
import datetime as dt
import secrets
from typing import Any

from payments.gateways.sandbox.behaviours import CREATES, Operation
from payments.gateways.sandbox.clock import stamp
from payments.gateways.sandbox.records import Act, Change, Charge, Create, Refused, Settlement, Status


def create(command: Create, *, key: str, now: dt.datetime) -> Change:
    """Return the charge that `command` makes at `now`: declined, pending, captured or only authorised."""
    charge_id = command.charge_id or f"ch_{secrets.token_hex(12)}"
    created_at = stamp(now)
    charge = Charge(
        id=charge_id,
        dialect=command.dialect,
        reference=command.reference,
        idempotency_key=key,
        status=Status.PENDING,
        amount_minor=command.amount_minor,
        amount_captured_minor=0,
        amount_refunded_minor=0,
        currency=command.currency,
        capture=command.capture,
        decline_code=None,
        redirect_url=f"{command.page_origin}/pay/{charge_id}" if command.hosted else None,
        return_url=command.return_url,
        payment_token=command.payment_token,
        metadata=command.metadata,
        created_at=created_at,
        updated_at=created_at,
        expires_at=_after(now, command.expires_in_seconds),
        settles_at=_after(now, command.settles_in_seconds),
        settles_as=command.settles_as,
        version=1,
    )
    if command.decline_code is not None:
        declined = dataclasses.replace(charge, status=Status.DECLINED, decline_code=command.decline_code)
        return Change(charge=declined, event_type="charge.declined")
    if command.pending:
        return Change(charge=charge, event_type="charge.pending")
    return _take(charge)


def settle(charge: Charge, *, settlement: Settlement, now: dt.datetime) -> Change | Refused:
    """Decide a pending charge: the customer (or a timer, or a test) paid, was declined, or gave up; or let it lapse."""
    if settlement is Settlement.EXPIRE:
        return expire(charge, now=now)
    if settlement is Settlement.FAIL_REFUND:
        return _fail_refund(charge, now=now)
    if charge.status is not Status.PENDING:
        return _illegal(charge, "settled")
    match settlement:
        case Settlement.PAY if charge.is_order:
            return Change(charge=_moved(charge, now=now, status=Status.APPROVED), event_type="charge.approved")
        case Settlement.PAY:
            return _take(_moved(charge, now=now, settles_at=None))
        case Settlement.DECLINE:
            declined = _moved(charge, now=now, status=Status.DECLINED, decline_code="declined", settles_at=None)
            return Change(charge=declined, event_type="charge.declined")
        case Settlement.CANCEL:
            return void(charge, now=now)


def _fail_refund(charge: Charge, *, now: dt.datetime) -> Change | Refused:
    if not charge.amount_refunded_minor:
        return _illegal(charge, "left unrefunded")
    failed = _moved(charge, now=now, status=Status.CAPTURED, amount_refunded_minor=0)
    return Change(charge=failed, event_type="charge.refund_failed")


def act(charge: Charge, *, command: Act, now: dt.datetime) -> Change | Refused:
    """Capture, void or refund `charge`, or pay an order."""
    match command.operation:
        case operation if operation in CREATES:
            return pay(charge, command=command, now=now)
        case Operation.CAPTURE:
            return capture(charge, amount_minor=command.amount_minor, now=now)
        case Operation.VOID:
            return void(charge, now=now)
        case Operation.REFUND:
            return refund(charge, amount_minor=command.amount_minor, now=now)
        case _:
            raise ValueError(f"{command.operation} is not done to an existing charge")


def pay(charge: Charge, *, command: Act, now: dt.datetime) -> Change | Refused:
    """Pay an order, in the way that it was made for: once, whether that works or not."""
    is_for_capture = command.operation is Operation.CHARGE
    if not charge.is_order or charge.status not in {Status.PENDING, Status.APPROVED}:
        return _illegal(charge, "paid")
    if charge.capture is not is_for_capture:
        return Refused("wrong_intent", "The order was made for the other way to pay.")
    if command.payment_token is None and charge.status is not Status.APPROVED:
        return Refused("not_approved", "The customer has not approved the order.")
    tried = _moved(
        charge,
        now=now,
        status=Status.PENDING,
        payment_token=command.payment_token or "approved",
        expires_at=_after(now, command.expires_in_seconds),
        settles_at=_after(now, command.settles_in_seconds),
        settles_as=command.settles_as,
    )
    if command.decline_code is not None:
        declined = dataclasses.replace(tried, status=Status.DECLINED, decline_code=command.decline_code)
        return Change(charge=declined, event_type="charge.declined")
    if command.pending:
        return Change(charge=tried, event_type="charge.pending")
    return _take(tried)


def capture(charge: Charge, *, amount_minor: int | None, now: dt.datetime) -> Change | Refused:
    """Take an authorised amount, or part of it once; the rest of the hold falls away."""
    if charge.status is not Status.AUTHORIZED:
        return _illegal(charge, "captured")
    amount_minor = charge.amount_minor if amount_minor is None else amount_minor
    if amount_minor > charge.amount_minor:
        return Refused(
            "capture_exceeds_authorized", f"{amount_minor} is more than the {charge.amount_minor} authorized."
        )
    taken = _moved(charge, now=now, status=Status.CAPTURED, amount_captured_minor=amount_minor)
    return Change(charge=taken, event_type="charge.captured", operation=Operation.CAPTURE, amount_minor=amount_minor)


def void(charge: Charge, *, now: dt.datetime) -> Change | Refused:
    """Let go of a charge that took no money. Only a hold that existed counts as an operation."""
    if charge.status not in {Status.AUTHORIZED, Status.PENDING, Status.APPROVED}:
        return _illegal(charge, "voided")
    voided = _moved(charge, now=now, status=Status.VOIDED, settles_at=None)
    return _released(charge, voided, event_type="charge.voided")


def expire(charge: Charge, *, now: dt.datetime) -> Change | Refused:
    """End a pending or authorised charge whose deadline has passed."""
    if charge.status not in {Status.AUTHORIZED, Status.PENDING, Status.APPROVED}:
        return _illegal(charge, "expired")
    expired = _moved(charge, now=now, status=Status.EXPIRED, settles_at=None)
    return _released(charge, expired, event_type="charge.expired")


def refund(charge: Charge, *, amount_minor: int | None, now: dt.datetime) -> Change | Refused:
    """Give back all that is left, or part of it; never more than was captured."""
    if charge.status not in {Status.CAPTURED, Status.REFUNDED}:
        return _illegal(charge, "refunded")
    left_minor = charge.amount_captured_minor - charge.amount_refunded_minor
    amount_minor = left_minor if amount_minor is None else amount_minor
    if amount_minor > left_minor or left_minor == 0:
        return Refused(
            "refund_exceeds_captured",
            f"Only {left_minor} of {charge.amount_captured_minor} is left to refund.",
        )
    given_back = _moved(
        charge,
        now=now,
        status=Status.REFUNDED if amount_minor == left_minor else Status.CAPTURED,
        amount_refunded_minor=charge.amount_refunded_minor + amount_minor,
    )
    return Change(
        charge=given_back, event_type="charge.refunded", operation=Operation.REFUND, amount_minor=amount_minor
    )


def is_overdue(charge: Charge, *, now: dt.datetime) -> bool:
    """Tell whether the deadline of a charge that can still expire has passed."""
    return (
        charge.status in {Status.AUTHORIZED, Status.PENDING, Status.APPROVED}
        and charge.expires_at is not None
        and charge.expires_at <= stamp(now)
    )


def _take(charge: Charge) -> Change:
    if charge.capture:
        taken = dataclasses.replace(
            charge, status=Status.CAPTURED, amount_captured_minor=charge.amount_minor, expires_at=None
        )
        return Change(
            charge=taken,
            event_type="charge.captured",
            operation=Operation.CHARGE,
            amount_minor=charge.amount_minor,
        )
    held = dataclasses.replace(charge, status=Status.AUTHORIZED)
    return Change(
        charge=held,
        event_type="charge.authorized",
        operation=Operation.AUTHORIZE,
        amount_minor=charge.amount_minor,
    )


def _released(before: Charge, after: Charge, *, event_type: str) -> Change:
    if before.status is Status.AUTHORIZED:
        return Change(charge=after, event_type=event_type, operation=Operation.VOID, amount_minor=before.amount_minor)
    return Change(charge=after, event_type=event_type)


def _moved(charge: Charge, *, now: dt.datetime, **changes: Any) -> Charge:
    return dataclasses.replace(charge, updated_at=stamp(now), version=charge.version + 1, **changes)


def _illegal(charge: Charge, verb: str) -> Refused:
    return Refused("invalid_state", f"A charge that is {charge.status} cannot be {verb}.")


def _after(now: dt.datetime, seconds: float | None) -> str | None:
    return None if seconds is None else stamp(now + dt.timedelta(seconds=seconds))
