"""The adapter and PhonePe's face of the sandbox: what each road leads to, and what the gateway's ledger says of it."""

import contextlib
import sqlite3

import httpx
import pytest

from payments.domain.failures import FailureCode
from payments.domain.outcomes import Captured, Declined, InDoubt, NotFound, Outcome, Pending, Undoing, Undone
from payments.gateways.phonepe.adapter import PhonePeGateway
from tests.contract.phonepe.asking import (
    AMOUNT_MINOR,
    ORDER,
    REFUND,
    Asking,
    act_request,
    charge_id,
    charge_request,
    question,
)
from tests.contract.sandbox_server import SandboxProcess, wait_until

C = FailureCode


def test_what_it_can_do_is_declared() -> None:
    can = PhonePeGateway.capabilities
    assert (can.authorizes, can.cancels_keys, can.takes_tokens, can.hosts_pages) == (False, False, False, True)
    assert (can.takes_window, can.shortest_window_seconds, can.longest_window_seconds) == (True, 300, 3600)
    assert (can.key_life_seconds, can.currencies) == (0, frozenset({"INR"}))


def test_an_order_is_paid_on_its_page(sandbox: SandboxProcess, phonepe: Asking) -> None:
    begun = phonepe.charge()
    assert isinstance(begun, Pending)
    assert (begun.reference, begun.redirect_url) == (ORDER, f"{sandbox.url}/pay/{charge_id(sandbox)}")
    assert phonepe.look_up() == Pending(reference=ORDER, redirect_url=None)
    assert sandbox.operations() == []

    page = httpx.post(str(begun.redirect_url), data={"action": "pay"}, follow_redirects=False)
    assert (page.status_code, page.headers["Location"][:28]) == (303, "https://shop.example/return/")
    assert phonepe.look_up() == Captured(ORDER)
    assert sandbox.operations() == [("charge", AMOUNT_MINOR)]
    (charge,) = sandbox.ledger()["charges"]
    assert (charge["reference"], charge["currency"], charge["dialect"]) == (ORDER, "INR", "phonepe")


@pytest.mark.parametrize(
    ("action", "code", "gateway_code"),
    [
        ("decline", C.DECLINED, "TRANSACTION_DECLINED"),
        ("cancel", C.DECLINED, "ORDER_CANCELLED_BY_USER"),
    ],
)
def test_an_order_that_was_not_paid_on_its_page_has_failed(
    sandbox: SandboxProcess, phonepe: Asking, action: str, code: FailureCode, gateway_code: str
) -> None:
    phonepe.pay(sandbox, action=action)
    assert phonepe.look_up() == Declined(code, gateway_code, ORDER)
    assert sandbox.operations() == []


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (41, C.DECLINED),
        (42, C.INSUFFICIENT_FUNDS),
        (43, C.EXPIRED_CARD),
        (44, C.LIMIT_EXCEEDED),
        (45, C.INVALID_CARD_DATA),
        (46, C.BLOCKED),
        (47, C.AUTHENTICATION_REQUIRED),
        (48, C.ISSUER_UNAVAILABLE),
        (49, C.DECLINED),  # A code that nobody knows.
    ],
)
def test_what_the_bank_says_comes_from_the_amount(phonepe: Asking, ending: int, code: FailureCode) -> None:
    amount = 1200 + ending
    assert isinstance(phonepe.charge(charge_request(amount_minor=amount)), Pending)
    seen = phonepe.look_up(question(amount_minor=amount))
    assert isinstance(seen, Declined)
    assert (seen.code, seen.reference) == (code, ORDER)


def test_an_order_is_taken_once_and_a_repeat_is_a_doubt(sandbox: SandboxProcess, phonepe: Asking) -> None:
    phonepe.charge()
    for amount in (AMOUNT_MINOR, 9900):
        repeated = phonepe.charge(charge_request(amount_minor=amount))
        assert repeated == InDoubt(C.KEY_MISMATCH, "HTTP 417 INVALID_MERCHANT_ORDER_ID")
    assert len(sandbox.ledger()["charges"]) == 1


@pytest.mark.parametrize(
    "request_of_it",
    [
        charge_request(token="tok_visa"),
        charge_request(currency="USD"),
        charge_request(reference="pay:1"),
        charge_request(reference="x" * 64),
    ],
    ids=["token", "currency", "characters", "length"],
)
def test_what_phonepe_cannot_do_is_refused_without_a_call(
    sandbox: SandboxProcess, phonepe: Asking, request_of_it: object
) -> None:
    assert phonepe.charge(request_of_it) == Declined(C.INVALID_REQUEST, "cannot_charge", None)  # type: ignore[arg-type]
    assert sandbox.ledger()["requests"] == []


def test_an_amount_that_phonepe_does_not_take_is_a_refusal(phonepe: Asking) -> None:
    assert phonepe.charge(charge_request(amount_minor=99)) == Declined(C.INVALID_REQUEST, "BAD_REQUEST", None)


def test_what_does_not_exist_is_not_found_and_another_amount_is_another_order(
    sandbox: SandboxProcess, phonepe: Asking
) -> None:
    assert phonepe.look_up() == NotFound()
    phonepe.pay(sandbox)
    assert isinstance(phonepe.look_up(question(amount_minor=AMOUNT_MINOR + 1)), InDoubt)


# Void


def test_an_unpaid_order_is_not_let_go_of_but_runs_out(sandbox: SandboxProcess, phonepe: Asking) -> None:
    phonepe.charge()
    assert phonepe.void() == InDoubt(C.GATEWAY_ERROR, "the order is unpaid, and nothing but its time can end it", ORDER)
    assert phonepe.look_up() == Pending(ORDER, None)


def test_an_order_that_ran_out_is_undone(sandbox: SandboxProcess, phonepe: Asking) -> None:
    expire(sandbox, phonepe)
    assert phonepe.void() == Undone(Undoing.EXPIRED, ORDER)
    assert phonepe.look_up() == Undone(Undoing.EXPIRED, ORDER)


def expire(sandbox: SandboxProcess, phonepe: Asking) -> None:
    """Make an order and let its time pass: PhonePe's shortest is five minutes, so the ledger is told."""
    phonepe.charge()
    with contextlib.closing(sqlite3.connect(sandbox.ledger_path)) as books, books:
        books.execute("UPDATE charges SET expires_at = '2020-01-01T00:00:00.000000Z'")
    wait_until(lambda: sandbox.ledger()["charges"][0]["status"] == "expired", what="the order has run out")


@pytest.mark.parametrize(("action", "gateway_code"), [("pay", "COMPLETED"), ("decline", "TRANSACTION_DECLINED")])
def test_an_order_that_has_ended_otherwise_cannot_be_let_go_of(
    sandbox: SandboxProcess, phonepe: Asking, action: str, gateway_code: str
) -> None:
    phonepe.pay(sandbox, action=action)
    assert phonepe.void() == Declined(C.ALREADY_DONE, gateway_code, ORDER)


# Refund


def test_all_is_given_back_once_however_often_it_is_asked_for(sandbox: SandboxProcess, phonepe: Asking) -> None:
    phonepe.pay(sandbox)
    assert [phonepe.refund(), phonepe.refund()] == [Undone(Undoing.REFUNDED, ORDER)] * 2
    assert sandbox.operations() == [("charge", AMOUNT_MINOR), ("refund", AMOUNT_MINOR)]
    assert phonepe.look_up() == Captured(ORDER)  # An order's status does not tell.


def test_a_part_is_given_back_and_more_than_is_left_is_refused(sandbox: SandboxProcess, phonepe: Asking) -> None:
    phonepe.pay(sandbox)
    assert phonepe.refund(act_request(amount_minor=1000)) == Captured(ORDER, refunded_minor=1000)
    again: Outcome = phonepe.refund(act_request(key="cmp_other", amount_minor=1000))
    assert again == Declined(C.ALREADY_DONE, "BAD_REQUEST", ORDER)
    assert sandbox.operations() == [("charge", AMOUNT_MINOR), ("refund", 1000)]


@pytest.mark.parametrize("action", [None, "decline"])
def test_an_order_that_was_not_paid_is_not_refunded(
    sandbox: SandboxProcess, phonepe: Asking, action: str | None
) -> None:
    phonepe.charge()
    if action is not None:
        sandbox.settle(charge_id(sandbox), action)
    assert phonepe.refund() == Declined(C.ALREADY_DONE, "NOT_REFUNDABLE", ORDER)
    assert sandbox.ledger(key=REFUND)["requests"] == []
    assert sandbox.operations() == []


def test_more_than_was_paid_is_not_asked_for(sandbox: SandboxProcess, phonepe: Asking) -> None:
    phonepe.pay(sandbox)
    too_much = act_request(amount_minor=AMOUNT_MINOR + 1)
    assert phonepe.refund(too_much) == Declined(C.ALREADY_DONE, "NOT_REFUNDABLE", ORDER)
    assert sandbox.operations() == [("charge", AMOUNT_MINOR)]


def test_a_refund_of_the_same_id_with_another_amount_is_a_doubt(sandbox: SandboxProcess, phonepe: Asking) -> None:
    phonepe.pay(sandbox)
    phonepe.refund(act_request(amount_minor=500))
    again = phonepe.refund(act_request(amount_minor=600))
    assert isinstance(again, InDoubt)
    assert again.code == C.KEY_MISMATCH
    assert sandbox.operations() == [("charge", AMOUNT_MINOR), ("refund", 500)]
