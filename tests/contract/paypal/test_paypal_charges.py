import dataclasses
from time import monotonic

import httpx
import pytest

from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Authorized,
    Captured,
    Declined,
    InDoubt,
    NeverSent,
    NotFound,
    Pending,
    Undoing,
    Undone,
)
from payments.gateways.deadline import Deadline
from payments.gateways.paypal.adapter import PayPalGateway
from tests.contract.paypal.asking import (
    AMOUNT_MINOR,
    KEY,
    PATIENT_SECONDS,
    Paying,
    charge_request,
    order_of,
    seconds_ago,
)
from tests.contract.paypal.bench import BENCH
from tests.contract.sandbox_server import SandboxProcess

C = FailureCode


def test_what_it_can_do_is_declared() -> None:
    can = PayPalGateway.capabilities
    assert (can.authorizes, can.cancels_keys, can.takes_window) == (True, False, False)
    # As long as PayPal keeps an order whose customer never came; and a key outlives every window.
    assert can.longest_window_seconds == 3 * 3600 < can.key_life_seconds


def test_money_is_held_then_taken(sandbox: SandboxProcess, paying: Paying) -> None:
    held = paying.authorize()
    order = order_of(held)
    assert held == Authorized(order)
    assert paying.look_up(order) == held
    assert paying.capture(order) == Captured(order)
    assert paying.capture(order) == Captured(order)
    assert paying.look_up(order) == Captured(order)
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR), ("capture", AMOUNT_MINOR)]


def test_money_is_taken_in_one_call_and_given_back_in_parts(sandbox: SandboxProcess, paying: Paying) -> None:
    taken = paying.charge()
    order = order_of(taken)
    assert taken == Captured(order)
    assert paying.refund(order, key="r1", amount_minor=300) == Captured(order, refunded_minor=300)
    assert paying.refund(order, key="r1", amount_minor=300) == Captured(order, refunded_minor=300)
    assert paying.look_up(order) == Captured(order, refunded_minor=300)
    too_much = paying.refund(order, key="r2", amount_minor=951)
    assert too_much == Declined(C.ALREADY_DONE, "REFUND_AMOUNT_EXCEEDED", order)
    assert paying.refund(order, key="r3", amount_minor=950) == Undone(Undoing.REFUNDED, order)
    assert paying.look_up(order) == Undone(Undoing.REFUNDED, order)
    assert paying.refund(order, key="r4", amount_minor=950) == Undone(Undoing.REFUNDED, order)
    assert sandbox.operations() == [("charge", 1250), ("refund", 300), ("refund", 950)]


@pytest.mark.parametrize(("currency", "amount_minor"), [("USD", 5), ("EUR", 1250), ("GBP", 100_000), ("JPY", 1250)])
def test_amounts_are_worded_in_the_digits_of_the_currency(
    sandbox: SandboxProcess, paying: Paying, currency: str, amount_minor: int
) -> None:
    request = charge_request(currency=currency, amount_minor=amount_minor)
    assert isinstance(paying.authorize(request), Authorized)
    (charge,) = sandbox.ledger()["charges"]
    assert (charge["amount_minor"], charge["currency"]) == (amount_minor, currency)


def test_rupees_are_refused_and_nothing_is_made(sandbox: SandboxProcess, paying: Paying) -> None:
    refused = paying.authorize(charge_request(currency="INR"))
    assert refused == Declined(C.INVALID_REQUEST, "INVALID_PARAMETER_VALUE", None)
    assert sandbox.ledger()["charges"] == []


@pytest.mark.parametrize(("token", "code"), BENCH.declines.items())
@pytest.mark.parametrize("operation", ["authorize", "charge"])
def test_each_decline_is_read_and_seen_again(
    sandbox: SandboxProcess, paying: Paying, token: str, code: FailureCode, operation: str
) -> None:
    request = charge_request(token=token)
    first = getattr(paying, operation)(request)
    assert isinstance(first, Declined)
    assert first.code is code
    assert getattr(paying, operation)(request) == first
    assert paying.look_up(order_of(first), charge=request) == first
    assert sandbox.operations() == []


def test_a_hold_is_let_go_of_once(sandbox: SandboxProcess, paying: Paying) -> None:
    order = order_of(paying.authorize())
    assert paying.void(order) == Undone(Undoing.VOIDED, order)
    assert paying.void(order, key="again") == Undone(Undoing.VOIDED, order)
    assert paying.look_up(order) == Undone(Undoing.VOIDED, order)
    late = paying.capture(order)
    assert late == Declined(C.ALREADY_DONE, "undone", order)
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR), ("void", AMOUNT_MINOR)]


def test_what_is_pending_is_let_go_of(sandbox: SandboxProcess, paying: Paying) -> None:
    order = order_of(paying.authorize(charge_request(token="tok_pending")))
    assert paying.void(order) == Undone(Undoing.VOIDED, order)
    assert paying.look_up(order) == Undone(Undoing.VOIDED, order)
    assert sandbox.operations() == []


def test_what_was_taken_is_not_let_go_of(sandbox: SandboxProcess, paying: Paying) -> None:
    order = order_of(paying.charge())
    assert paying.void(order) == Declined(C.ALREADY_DONE, "captured", order)
    assert paying.capture(order) == Declined(C.ALREADY_DONE, "captured", order)
    assert sandbox.operations() == [("charge", AMOUNT_MINOR)]


def test_what_is_held_is_not_given_back(sandbox: SandboxProcess, paying: Paying) -> None:
    order = order_of(paying.authorize())
    assert paying.refund(order) == Declined(C.ALREADY_DONE, "authorized", order)
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR)]


def test_what_is_pending_is_seen_so_until_it_is_decided(sandbox: SandboxProcess, paying: Paying) -> None:
    pending = paying.authorize(charge_request(token="tok_pending"))
    order = order_of(pending)
    assert pending == Pending(order, None)
    assert paying.look_up(order) == pending
    sandbox.settle(order, "pay")
    assert paying.look_up(order) == Authorized(order)


def test_a_capture_that_the_issuer_declines_leaves_the_hold(sandbox: SandboxProcess, paying: Paying) -> None:
    order = order_of(paying.authorize())
    sandbox.behave("expired_card", operation="capture", times=1)
    assert paying.capture(order) == Declined(C.EXPIRED_CARD, "5400", order)
    assert paying.look_up(order) == Authorized(order)


# The customer on PayPal's page


@pytest.mark.parametrize("operation", ["authorize", "charge"])
def test_the_customer_approves_and_then_the_money_moves(
    sandbox: SandboxProcess, paying: Paying, operation: str
) -> None:
    request, begin = charge_request(token=""), getattr(paying, operation)
    sent = begin(request)
    order = order_of(sent)
    assert sent == Pending(order, f"{sandbox.url}/pay/{order}")
    assert begin(request) == sent
    assert paying.look_up(order, charge=request) == sent

    sandbox.settle(order, "pay")
    assert sandbox.operations() == []
    assert paying.look_up(order, charge=request) == Pending(order, None, is_approved=True)
    paid = begin(request)
    assert paid == (Authorized(order) if operation == "authorize" else Captured(order))
    assert begin(request) == paid
    assert sandbox.operations() == [(operation, AMOUNT_MINOR)]


def test_the_page_sends_the_customer_back(sandbox: SandboxProcess, paying: Paying) -> None:
    order = order_of(paying.authorize(charge_request(token="")))
    (charge,) = sandbox.ledger()["charges"]
    assert (charge["id"], charge["return_url"]) == (order, "https://shop.example/return")
    back = httpx.post(f"{sandbox.url}/pay/{order}", data={"action": "pay"}, trust_env=False)
    assert back.headers["Location"] == f"https://shop.example/return?charge={order}&status=approved"
    shown = httpx.get(f"{sandbox.url}/pay/{order}", trust_env=False)
    assert "This payment is approved." in shown.text
    assert sandbox.operations() == []


def test_a_customer_who_is_declined_on_the_page_pays_nothing(sandbox: SandboxProcess, paying: Paying) -> None:
    order = order_of(paying.authorize(charge_request(token="")))
    sandbox.settle(order, "decline")
    declined = paying.look_up(order, charge=charge_request(token=""))
    assert isinstance(declined, Declined)


@pytest.mark.parametrize("is_approved", [False, True])
def test_an_unpaid_order_is_ended_for_good(sandbox: SandboxProcess, paying: Paying, is_approved: bool) -> None:
    request = charge_request(token="")
    order = order_of(paying.authorize(request))
    if is_approved:
        sandbox.settle(order, "pay")
    ended = Undone(Undoing.VOIDED, order)
    assert paying.void(order) == ended
    assert paying.void(order) == ended
    assert paying.look_up(order, charge=request) == ended
    assert paying.authorize(request) == ended  # The late repeat finds the order ended, and moves nothing.
    assert sandbox.operations() == []


def test_a_payment_that_comes_after_the_end_is_refused(sandbox: SandboxProcess, paying: Paying) -> None:
    sandbox.behave("error_before", operation="authorize", times=1)
    doubt = paying.authorize()
    order = order_of(doubt)
    assert isinstance(doubt, InDoubt)
    assert paying.void(order) == Undone(Undoing.VOIDED, order)
    sandbox.forget_keys()
    answer = paying.gateway._client.call(
        "POST",
        f"/v2/checkout/orders/{order}/authorize",
        deadline=Deadline(PATIENT_SECONDS),
        body={"payment_source": {"token": {"id": "tok_ok", "type": "BILLING_AGREEMENT"}}},
        key="late",
    )
    assert b"ACTION_DOES_NOT_MATCH_INTENT" in answer.body  # type: ignore[union-attr]  # an answer, or the test fails
    assert sandbox.operations() == []


# Calls that break


def test_all_requests_of_a_call_share_its_deadline(sandbox: SandboxProcess, paying: Paying) -> None:
    sandbox.behave("slow:2", operation="order", times=1)
    sandbox.behave("hang_after", operation="authorize", times=1)
    began = monotonic()
    doubt = paying.authorize(seconds=3.0)
    assert isinstance(doubt, InDoubt)
    assert doubt.code is C.GATEWAY_TIMEOUT
    assert monotonic() - began < 4.5  # With 3 s for each request it would be 5.
    assert paying.look_up(order_of(doubt)) == Authorized(order_of(doubt))


def test_an_act_that_never_got_to_its_order_did_nothing(sandbox: SandboxProcess, paying: Paying) -> None:
    order = order_of(paying.authorize())
    sandbox.behave("reset_before", operation="lookup")
    for act in (paying.capture, paying.void, paying.refund):
        assert isinstance(act(order), InDoubt)
    sandbox.behave_normally()
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR)]


@pytest.mark.parametrize("behaviour", ["reset_after", "error_after", "garbage"])
def test_a_void_whose_answer_is_lost_is_proven_by_the_next(
    sandbox: SandboxProcess, paying: Paying, behaviour: str
) -> None:
    for token, moved in (("tok_ok", [("authorize", AMOUNT_MINOR), ("void", AMOUNT_MINOR)]), ("", [])):
        sandbox.reset()
        order = order_of(paying.authorize(charge_request(token=token)))
        sandbox.behave(behaviour, operation="void", times=1)
        first = paying.void(order)
        assert isinstance(first, InDoubt) or first == Undone(Undoing.VOIDED, order)
        assert paying.void(order) == Undone(Undoing.VOIDED, order)
        assert sandbox.operations() == moved


@pytest.mark.parametrize("behaviour", ["reset_after", "error_after", "garbage"])
def test_a_refund_whose_answer_is_lost_is_made_once(sandbox: SandboxProcess, paying: Paying, behaviour: str) -> None:
    order = order_of(paying.charge())
    sandbox.behave(behaviour, operation="refund", times=1)
    assert isinstance(paying.refund(order), InDoubt)
    assert paying.refund(order) == Undone(Undoing.REFUNDED, order)
    assert sandbox.operations() == [("charge", AMOUNT_MINOR), ("refund", AMOUNT_MINOR)]


@pytest.mark.parametrize("behaviour", ["reset_after", "error_after", "garbage"])
@pytest.mark.parametrize("operation", ["authorize", "charge"])
def test_a_doubt_knows_its_order_and_is_resolved(
    sandbox: SandboxProcess, paying: Paying, behaviour: str, operation: str
) -> None:
    sandbox.behave(behaviour, operation=operation, times=1)
    doubt = getattr(paying, operation)()
    assert isinstance(doubt, InDoubt)
    order = order_of(doubt)
    done = Authorized(order) if operation == "authorize" else Captured(order)
    assert paying.look_up(order) == done
    assert paying.look_up() == done  # Without the order's id, by making the order again.
    assert sandbox.operations() == [(operation, AMOUNT_MINOR)]


def test_a_timeout_before_the_charge_is_resolved_by_the_same_request(sandbox: SandboxProcess, paying: Paying) -> None:
    sandbox.behave("hang_before", operation="authorize", times=1)
    doubt = paying.authorize(seconds=1.0)
    assert isinstance(doubt, InDoubt)
    order = order_of(doubt)
    assert doubt.code is C.GATEWAY_TIMEOUT
    assert paying.look_up() == NotFound()
    assert paying.look_up(order) == Pending(order, None, is_approved=True)
    assert paying.authorize() == Authorized(order)
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR)]


@pytest.mark.parametrize("behaviour", ["reset_after", "error_before", "unavailable", "garbage", "rate_limited"])
def test_an_order_that_breaks_moved_nothing_and_is_made_again(
    sandbox: SandboxProcess, paying: Paying, behaviour: str
) -> None:
    sandbox.behave(behaviour, operation="order", times=1)
    broken = paying.authorize()
    assert isinstance(broken, NeverSent)
    sandbox.forget_keys()  # A saved 500 would be given again.
    assert isinstance(paying.authorize(), Authorized)
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR)]


def test_a_second_order_of_a_forgotten_key_proves_nothing(sandbox: SandboxProcess, paying: Paying) -> None:
    order = order_of(paying.authorize())
    sandbox.forget_keys()
    seven_hours_ago = paying.look_up(opened_at=seconds_ago(7 * 3600))
    assert isinstance(seven_hours_ago, InDoubt)
    assert paying.look_up(order) == Authorized(order)


def test_another_request_with_the_same_key_is_a_doubt(sandbox: SandboxProcess, paying: Paying) -> None:
    paying.authorize()
    other = paying.authorize(charge_request(amount_minor=1300))
    assert isinstance(other, InDoubt)
    assert other.code is C.KEY_MISMATCH
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR)]


def test_a_charge_of_another_payment_is_a_doubt(paying: Paying) -> None:
    order = order_of(paying.authorize())
    strange = dataclasses.replace(charge_request(), reference="pay_another")
    asked = paying.look_up(order, charge=strange)
    assert asked == Authorized(order)  # The question says whose it is, not the charge in it.
    assert isinstance(paying.look_up(order, charge=charge_request(amount_minor=1251)), InDoubt)


def test_two_at_once_move_money_once(sandbox: SandboxProcess, paying: Paying) -> None:
    sandbox.behave("hang_before", operation="authorize", times=1)
    assert isinstance(paying.authorize(seconds=0.5), InDoubt)
    assert isinstance(paying.authorize(), Authorized)
    assert isinstance(paying.authorize(charge_request(key=f"{KEY}x")), Authorized)
    assert len(sandbox.operations()) == 2


def test_an_order_that_nobody_knows_is_not_found(paying: Paying) -> None:
    assert paying.look_up("5AAAAAAAAAAAAAAAA") == NotFound()
    assert isinstance(paying.void("5AAAAAAAAAAAAAAAA"), InDoubt)


def test_wrong_credentials_are_told_and_move_nothing(sandbox: SandboxProcess) -> None:
    with Paying(url=sandbox.url, client_secret="wrong") as paying:
        assert paying.authorize() == Declined(C.CONFIGURATION, "invalid_client", None)
        seen = paying.look_up("5AAAAAAAAAAAAAAAA")
        assert isinstance(seen, InDoubt)
        assert seen.code is C.CONFIGURATION
    assert sandbox.ledger()["charges"] == []
