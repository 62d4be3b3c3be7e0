"""A payment on Square's own page: a link, its order, and how it ends."""

import httpx

from payments.domain.failures import FailureCode
from payments.domain.outcomes import Captured, Declined, InDoubt, NotFound, Pending, Undoing, Undone
from payments.gateways.square.pages import page_of
from tests.contract.sandbox_server import SandboxProcess
from tests.contract.square.asking import AMOUNT_MINOR, PATIENT_SECONDS, PAYMENT_ID, Asking, charge_request

HOSTED = ""


def begin(square: Asking) -> Pending:
    begun = square.authorize(HOSTED)
    assert isinstance(begun, Pending)
    assert begun.redirect_url is not None
    return begun


def choose(pending: Pending, action: str) -> httpx.Response:
    """Do as the customer would on the page."""
    assert pending.redirect_url is not None
    return httpx.post(pending.redirect_url, data={"action": action}, trust_env=False)


def test_the_page_leads_back_to_the_shop_and_the_money_is_taken_at_once(
    sandbox: SandboxProcess, square: Asking
) -> None:
    begun = begin(square)
    assert square.look_up(begun.reference, token=HOSTED) == begun
    paid = choose(begun, "pay")
    assert paid.status_code == httpx.codes.SEE_OTHER
    assert paid.headers["location"].startswith("https://shop.example/back")
    assert square.look_up(begun.reference, token=HOSTED) == Captured(reference=begun.reference)
    assert sandbox.operations(reference=PAYMENT_ID) == [("charge", AMOUNT_MINOR)]


def test_a_link_whose_making_was_not_answered_is_found_under_the_same_name(
    sandbox: SandboxProcess, square: Asking
) -> None:
    for number in range(101):
        other = charge_request(HOSTED, key=f"other-{number}", reference=f"pay_{number}")
        square.gateway.authorize(other, deadline_seconds=PATIENT_SECONDS)
    sandbox.behave("reset_after", times=1)
    assert isinstance(square.authorize(HOSTED), InDoubt)
    found = square.look_up(token=HOSTED)
    assert isinstance(found, Pending)
    assert found.redirect_url is not None
    choose(found, "pay")
    assert square.look_up(token=HOSTED) == Captured(reference=found.reference)


def test_no_link_is_not_found(square: Asking) -> None:
    assert square.look_up(token=HOSTED) == NotFound()


def test_an_unpaid_link_is_ended_so_that_nobody_can_pay(sandbox: SandboxProcess, square: Asking) -> None:
    begun = begin(square)
    ended = Undone(how=Undoing.VOIDED, reference=begun.reference)
    assert square.void(begun.reference) == ended
    assert choose(begun, "pay").status_code == httpx.codes.CONFLICT
    assert square.look_up(begun.reference, token=HOSTED) == ended
    assert square.void(begun.reference) == ended  # Its link is gone; its order proves it.
    assert sandbox.operations() == []


def test_a_link_that_was_paid_meanwhile_is_not_called_ended(sandbox: SandboxProcess, square: Asking) -> None:
    begun = begin(square)
    choose(begun, "pay")
    refused = square.void(begun.reference)
    assert isinstance(refused, Declined)
    assert refused.code is FailureCode.ALREADY_DONE
    assert sandbox.operations() == [("charge", AMOUNT_MINOR)]


def test_a_payment_on_a_page_is_given_back(sandbox: SandboxProcess, square: Asking) -> None:
    begun = begin(square)
    choose(begun, "pay")
    returned = Undone(how=Undoing.REFUNDED, reference=begun.reference)
    assert square.refund(begun.reference) == square.refund(begun.reference) == returned
    assert square.look_up(begun.reference, token=HOSTED) == returned
    assert sandbox.operations() == [("charge", AMOUNT_MINOR), ("refund", AMOUNT_MINOR)]


def test_an_unpaid_page_has_nothing_to_give_back(square: Asking) -> None:
    assert isinstance(square.refund(begin(square).reference), InDoubt)


def test_a_decline_on_the_page_is_told(sandbox: SandboxProcess, square: Asking) -> None:
    begun = begin(square)
    choose(begun, "decline")
    declined = square.look_up(begun.reference, token=HOSTED)
    assert isinstance(declined, Declined)
    assert declined.reference == begun.reference
    assert sandbox.operations() == []


def test_an_answer_lost_after_the_link_was_deleted_is_a_doubt_that_asking_resolves(
    sandbox: SandboxProcess, square: Asking
) -> None:
    begun = begin(square)
    sandbox.behave("error_before", operation="void", times=1)
    unsure = square.void(begun.reference)
    assert isinstance(unsure, InDoubt)
    sandbox.behave("reset_after", operation="void", times=1)
    assert square.void(begun.reference) == Undone(how=Undoing.VOIDED, reference=begun.reference)


def test_a_question_that_was_not_sent_after_a_deletion_is_no_proof(sandbox: SandboxProcess, square: Asking) -> None:
    begun = begin(square)
    sandbox.behave("rate_limited", operation="lookup")
    assert isinstance(square.void(begun.reference), InDoubt)


def test_both_kinds_are_looked_for_where_it_is_not_known_which_it_was(square: Asking) -> None:
    begun = begin(square)
    question = square.question()
    unknown = type(question)(
        idempotency_key=PAYMENT_ID, reference=PAYMENT_ID, amount_minor=AMOUNT_MINOR, currency="USD"
    )
    assert square.gateway.look_up(unknown, deadline_seconds=PATIENT_SECONDS) == begun


def test_a_page_is_called_by_its_order_and_its_link(square: Asking) -> None:
    page = page_of(begin(square).reference)
    assert page is not None
    assert page.order_id
    assert page.link_id
    assert page_of("ch_1") is None
