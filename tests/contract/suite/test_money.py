"""What every gateway has to do with money, and how often: the adapter's word beside the gateway's own books."""

import concurrent.futures
from dataclasses import replace

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
from tests.contract.sandbox_server import wait_until
from tests.contract.suite.till import AMOUNT_MINOR, IMPATIENT_SECONDS, Till

REFUNDED = ("refund", AMOUNT_MINOR)


def taken_amounts(till: Till) -> list[int]:
    """Every amount that was really taken."""
    return [amount for operation, amount in till.moved() if operation in {"charge", "capture"}]


# Success


@pytest.mark.needs("authorizes", "takes_tokens")
def test_money_is_held_then_taken(till: Till) -> None:
    held = till.held()
    assert till.look_up(charge=held) == Authorized(held)
    assert taken_amounts(till) == []
    assert till.capture(held) == Captured(held)
    assert till.look_up(charge=held) == Captured(held)
    assert taken_amounts(till) == [AMOUNT_MINOR]


def test_money_is_taken_in_one_call(till: Till) -> None:
    taken = till.taken()
    assert till.look_up(charge=taken) == Captured(taken)
    assert taken_amounts(till) == [AMOUNT_MINOR]


@pytest.mark.needs("authorizes", "takes_tokens")
def test_what_is_held_is_let_go_of(till: Till) -> None:
    held = till.held()
    undone = till.void(held)
    assert isinstance(undone, Undone)
    assert (undone.how, undone.reference) == (Undoing.VOIDED, held)
    assert isinstance(till.look_up(charge=held), Undone)
    assert taken_amounts(till) == []


# Refusals


@pytest.mark.needs("takes_tokens")
def test_each_class_of_decline_is_read_and_nothing_moves(till: Till) -> None:
    assert set(till.bench.declines.values()) >= {FailureCode.DECLINED, FailureCode.INSUFFICIENT_FUNDS}
    for token, code in till.bench.declines.items():
        till.books.reset()
        outcome = till.begin(till.request(token=token))
        assert isinstance(outcome, Declined), token
        assert outcome.code == code, token
        assert outcome.gateway_code, token
        assert till.moved() == [], token


@pytest.mark.needs("takes_tokens")
def test_a_card_that_needs_its_owner_takes_nothing_by_itself(till: Till) -> None:
    outcome = till.begin(till.request(token="tok_authentication_required"))
    match outcome:
        case Declined(code=code):
            assert code is FailureCode.AUTHENTICATION_REQUIRED
        case Pending(redirect_url=address):
            assert address
        case _:
            pytest.fail(f"{outcome}")
    assert till.moved() == []


# Doubts


@pytest.mark.needs("takes_tokens")
@pytest.mark.parametrize("fault", ["hang_before", "reset_before", "unavailable"])
def test_a_call_that_broke_before_anything_was_done_proves_nothing(till: Till, fault: str) -> None:
    till.books.behave(fault, times=1)
    outcome = till.begin(till.request(), deadline_seconds=IMPATIENT_SECONDS)
    assert isinstance(outcome, InDoubt)
    assert till.moved() == []
    seen = till.look_up(charge=outcome.reference)
    assert isinstance(seen, NotFound | InDoubt | Pending), seen


@pytest.mark.needs("takes_tokens")
@pytest.mark.parametrize("fault", ["hang_after", "reset_after", "error_after", "garbage"])
def test_a_call_that_broke_after_it_was_done_is_found_by_a_look_up(till: Till, fault: str) -> None:
    till.books.behave(fault, times=1)
    outcome = till.begin(till.request(), deadline_seconds=IMPATIENT_SECONDS)
    assert isinstance(outcome, InDoubt)
    wait_until(lambda: len(till.moved()) == 1, what="the gateway has done it")
    seen = till.look_up(charge=outcome.reference)
    assert isinstance(seen, Authorized | Captured), seen
    assert len(till.moved()) == 1


def test_nobody_listening_was_never_asked(till: Till) -> None:
    till.books.stop()
    try:
        outcome = till.begin(till.request())
        assert isinstance(outcome, NeverSent)
        assert outcome.code is FailureCode.GATEWAY_UNREACHABLE
    finally:
        till.books.start()


def test_a_rate_limit_was_never_sent(till: Till) -> None:
    if till.can.takes_tokens:
        till.books.behave("rate_limited", times=1)
        outcome = till.begin(till.request())
        assert isinstance(outcome, NeverSent)
        assert outcome.code is FailureCode.RATE_LIMITED
    assert till.moved() == []


# The same once more


def test_the_same_request_again_moves_money_once(till: Till) -> None:
    first = till.begin(till.request())
    again = [till.begin(till.request()) for _ in range(2)]
    if till.can.key_life_seconds:
        assert again == [first, first]
    assert len(till.moved()) <= 1
    assert len(till.books.ledger()["charges"]) == 1


@pytest.mark.needs("takes_tokens")
def test_another_request_under_the_same_key_does_nothing(till: Till) -> None:
    first = till.begin(till.request())
    before = till.moved()
    other = till.begin(replace(till.request(), amount_minor=AMOUNT_MINOR + 100))
    assert isinstance(other, InDoubt | Declined), other
    assert till.moved() == before
    assert isinstance(first, Authorized | Captured)


@pytest.mark.needs("takes_tokens")
def test_the_same_request_while_the_first_runs_is_a_doubt(till: Till) -> None:
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as pool:
        till.books.behave("hang_after", times=1)
        first = pool.submit(till.begin, till.request())
        till.books.wait_until_held(1)
        second = till.begin(till.request())
        till.books.release()
        assert isinstance(second, InDoubt), second
        assert isinstance(first.result(), Authorized | Captured)
    assert len(till.moved()) == 1


# What comes after


@pytest.mark.needs("authorizes", "takes_tokens")
def test_a_void_after_the_gateway_let_it_lapse_never_claims_more_than_that(till: Till) -> None:
    held = till.held()
    (row,) = till.books.ledger()["charges"]
    till.books.settle(row["id"], "expire")
    outcome = till.void(held)
    match outcome:
        case Undone(how=how):
            assert how in {Undoing.EXPIRED, Undoing.VOIDED}
        case Declined(code=code):
            assert code is FailureCode.ALREADY_DONE
        case _:
            assert isinstance(outcome, InDoubt), outcome
    assert isinstance(till.look_up(charge=held), Undone)
    assert isinstance(till.capture(held), Declined | InDoubt)
    assert taken_amounts(till) == []


def test_a_refund_is_made_once_however_often_it_is_asked(till: Till) -> None:
    taken = till.taken()
    outcome = till.refund(taken)
    again = till.refund(taken)
    for seen in (outcome, again):
        assert isinstance(seen, Undone | InDoubt), seen
    second = till.refund(taken, key="cmp_2")
    assert not isinstance(second, Captured), second
    if isinstance(second, Declined):
        assert second.code is FailureCode.ALREADY_DONE
    assert till.moved().count(REFUNDED) == 1


def test_a_part_is_given_back(till: Till) -> None:
    taken = till.taken()
    part = till.refund(taken, amount_minor=300)
    assert part == Captured(taken, refunded_minor=300)
    assert ("refund", 300) in till.moved()


def test_nothing_is_found_of_what_was_never_sent(till: Till) -> None:
    outcome = till.look_up()
    assert isinstance(outcome, NotFound | InDoubt | Pending), outcome
    if isinstance(outcome, Pending):
        assert not till.can.takes_window  # An order that the question itself made, and that holds nothing.
    assert till.moved() == []


# The gateway's own page


@pytest.mark.needs("hosts_pages")
@pytest.mark.parametrize("action", ["pay", "decline", "cancel"])
def test_a_customer_decides_on_the_gateways_page(till: Till, action: str) -> None:
    request = till.request(token="")
    begun = till.begin(request)
    assert isinstance(begun, Pending), begun
    assert begun.redirect_url
    waiting = till.look_up(charge=begun.reference, request=request)
    assert isinstance(waiting, Pending)
    assert waiting.reference == begun.reference
    till.customer(begun.reference, action)
    seen = till.look_up(charge=begun.reference, request=request)
    if isinstance(seen, Pending) and seen.is_approved:
        assert action == "pay"
        seen = till.begin(request)
    if action == "pay":
        assert isinstance(seen, Authorized | Captured), seen
        assert seen.reference == begun.reference
        assert len(till.moved()) == 1
    else:
        assert isinstance(seen, Declined | Undone | Pending | InDoubt | NotFound), seen
        assert till.moved() == []


@pytest.mark.needs("hosts_pages")
def test_a_page_that_was_let_go_takes_no_money(till: Till) -> None:
    request = till.request(token="")
    begun = till.begin(request)
    assert isinstance(begun, Pending)
    undone = till.void(begun.reference)
    assert isinstance(undone, Undone | InDoubt | Declined), undone
    if isinstance(undone, Undone):
        assert not [row for row in till.books.ledger()["charges"] if row["status"] == "pending"]
    assert till.moved() == []


def test_without_time_nothing_is_sent(till: Till) -> None:
    outcome = till.begin(till.request(), deadline_seconds=0.0)
    assert isinstance(outcome, NeverSent)
    assert till.books.ledger()["charges"] == []
