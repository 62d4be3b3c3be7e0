"""Charges that are made before anybody pays them: the engine's rules, whatever the dialect words them as."""

import dataclasses

import pytest

from payments.gateways.sandbox import rules
from payments.gateways.sandbox.behaviours import Operation, Switch, parse_behaviour
from payments.gateways.sandbox.clock import read_clock
from payments.gateways.sandbox.records import Act, Change, Charge, Create, Refused, Settlement, Status

NOW = read_clock()


def order(*, capture: bool = False) -> Charge:
    command = Create(
        reference="pay_1",
        amount_minor=1250,
        currency="USD",
        payment_token="",
        capture=capture,
        return_url=None,
        expires_in_seconds=60,
        metadata={},
        page_origin="http://sandbox",
        dialect="paypal",
        pending=True,
        hosted=True,
        charge_id="5ORDER",
    )
    return rules.create(command, key="k:order", now=NOW).charge


def act(operation: Operation, *, token: str | None = "tok_ok") -> Act:
    return Act(operation=operation, charge_id="5ORDER", payment_token=token, expires_in_seconds=3600)


def done(change: Change | Refused) -> Change:
    assert isinstance(change, Change), change
    return change


def approved() -> Charge:
    return done(rules.settle(order(), settlement=Settlement.PAY, now=NOW)).charge


def test_an_order_has_the_dialects_id_a_page_and_no_money() -> None:
    made = order()
    assert (made.id, made.status, made.redirect_url) == ("5ORDER", Status.PENDING, "http://sandbox/pay/5ORDER")
    assert made.is_order
    assert not made.final


@pytest.mark.parametrize(
    ("operation", "status"), [(Operation.AUTHORIZE, Status.AUTHORIZED), (Operation.CHARGE, Status.CAPTURED)]
)
def test_a_token_pays_it_in_the_way_it_was_made_for(operation: Operation, status: Status) -> None:
    made = order(capture=operation is Operation.CHARGE)
    paid = done(rules.act(made, command=act(operation), now=NOW))
    assert (paid.charge.status, paid.operation, paid.amount_minor) == (status, operation, 1250)
    other = Operation.AUTHORIZE if operation is Operation.CHARGE else Operation.CHARGE
    refused = rules.act(made, command=act(other), now=NOW)
    assert isinstance(refused, Refused)
    assert refused.code == "wrong_intent"


def test_it_is_paid_once() -> None:
    paid = done(rules.pay(order(), command=act(Operation.AUTHORIZE), now=NOW)).charge
    assert isinstance(rules.pay(paid, command=act(Operation.AUTHORIZE), now=NOW), Refused)
    assert isinstance(rules.settle(paid, settlement=Settlement.PAY, now=NOW), Refused)


def test_the_customer_approves_and_nothing_moves_until_the_shop_asks() -> None:
    change = done(rules.settle(order(), settlement=Settlement.PAY, now=NOW))
    assert (change.charge.status, change.operation, change.event_type) == (Status.APPROVED, None, "charge.approved")
    assert not change.charge.final
    paid = done(rules.pay(change.charge, command=act(Operation.AUTHORIZE, token=None), now=NOW))
    assert (paid.charge.status, paid.operation) == (Status.AUTHORIZED, Operation.AUTHORIZE)


def test_without_approval_or_token_it_is_not_paid() -> None:
    refused = rules.pay(order(), command=act(Operation.AUTHORIZE, token=None), now=NOW)
    assert isinstance(refused, Refused)
    assert refused.code == "not_approved"


def test_a_declined_payment_is_the_end_of_it() -> None:
    command = dataclasses.replace(act(Operation.AUTHORIZE), decline_code="declined")
    change = done(rules.pay(order(), command=command, now=NOW))
    assert (change.charge.status, change.charge.decline_code, change.operation) == (Status.DECLINED, "declined", None)
    assert isinstance(rules.pay(change.charge, command=act(Operation.AUTHORIZE), now=NOW), Refused)


def test_a_pending_payment_is_decided_later() -> None:
    pending = done(
        rules.pay(order(), command=dataclasses.replace(act(Operation.AUTHORIZE), pending=True), now=NOW)
    ).charge
    assert (pending.status, pending.is_order) == (Status.PENDING, False)
    settled = done(rules.settle(pending, settlement=Settlement.PAY, now=NOW))
    assert (settled.charge.status, settled.operation) == (Status.AUTHORIZED, Operation.AUTHORIZE)


@pytest.mark.parametrize("made", [order(), approved()])
def test_unpaid_it_can_be_ended_and_lapses(made: Charge) -> None:
    for change in (rules.void(made, now=NOW), rules.expire(made, now=NOW)):
        ended = done(change)
        assert ended.operation is None
        assert isinstance(rules.pay(ended.charge, command=act(Operation.AUTHORIZE), now=NOW), Refused)


def test_a_switch_for_charges_spares_orders() -> None:
    hang = parse_behaviour("hang_after")
    assert hang is not None
    for scope in (None, "charge", "authorize"):
        assert not Switch(behaviour=hang, operation=scope).fits(Operation.ORDER)
    for scope in ("all", "order"):
        assert Switch(behaviour=hang, operation=scope).fits(Operation.ORDER)
