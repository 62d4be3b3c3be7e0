"""What a method proves that asks Square several times, when one of the questions goes wrong: answers from a script."""

import json
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import MagicMock

import pytest
from square import Square

from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Captured,
    Declined,
    InDoubt,
    NeverSent,
    NotFound,
    Outcome,
    Pending,
    Undoing,
    Undone,
)
from payments.gateways.deadline import Deadline
from payments.gateways.protocol import Question
from payments.gateways.square.adapter import SquareGateway
from payments.gateways.square.answers import MOST_PAYMENTS
from payments.gateways.square.asking import Client
from payments.gateways.transport import Answer, Broken, CallResult, Refused
from tests.contract.square.asking import PAYMENT_ID, act_request, charge_request

LOCATION, TOTAL = "LSANDBOX", {"amount": 1250, "currency": "USD"}
UNSENT = Refused(detail="no connection")
BROKEN = Broken(detail="it broke", by_deadline=True)


class Script(Client):
    """Answers what it was told to, one after the other, and notes what of the SDK was used."""

    def __init__(self, results: Sequence[CallResult]) -> None:
        self._results = list(results)
        self._square: Any = MagicMock(spec_set=Square(token="none"))

    def ask(self, use: Callable[[Square], object], *, deadline: Deadline) -> CallResult:
        use(self._square)
        return self._results.pop(0)

    @property
    def asked(self) -> list[str]:
        return [name for name, _, _ in self._square.mock_calls]

    @property
    def is_over(self) -> bool:
        return not self._results


def run(act: Callable[[SquareGateway], Outcome], *results: CallResult) -> Outcome:
    """Return what the adapter makes of `results`, all of which it has to ask for."""
    outcome, _ = trace(act, *results)
    return outcome


def trace(act: Callable[[SquareGateway], Outcome], *results: CallResult) -> tuple[Outcome, list[str]]:
    """Return that, and what it used of the SDK."""
    script = Script(results)
    outcome = act(SquareGateway(client=script, location_id=LOCATION))
    assert script.is_over
    return outcome, script.asked


def refund(gateway: SquareGateway) -> Outcome:
    return gateway.refund(act_request("P"), deadline_seconds=20)


def capture(gateway: SquareGateway) -> Outcome:
    return gateway.capture(act_request("P"), deadline_seconds=20)


def void(gateway: SquareGateway) -> Outcome:
    return gateway.void(act_request("P"), deadline_seconds=20)


def void_page(gateway: SquareGateway) -> Outcome:
    return gateway.void(act_request("ORDER:LINK"), deadline_seconds=20)


def refund_page(gateway: SquareGateway) -> Outcome:
    return gateway.refund(act_request("ORDER:LINK"), deadline_seconds=20)


def capture_page(gateway: SquareGateway) -> Outcome:
    return gateway.capture(act_request("ORDER:LINK"), deadline_seconds=20)


def look_up(reference: str) -> Callable[[SquareGateway], Outcome]:
    question = Question(
        idempotency_key=PAYMENT_ID,
        reference=PAYMENT_ID,
        amount_minor=1250,
        currency="USD",
        charge_reference=reference,
        opened_at_unix=1_790_000_000,
        charge=charge_request("" if ":" in reference else "tok_ok"),
    )
    return lambda gateway: gateway.look_up(question, deadline_seconds=20)


def answer(status: int = 200, **content: object) -> Answer:
    return Answer(status=status, headers={}, body=json.dumps(content).encode())


def refused(code: str, category: str = "INVALID_REQUEST_ERROR", *, status: int = 400) -> Answer:
    return answer(status, errors=[{"category": category, "code": code}])


def payment(**changes: object) -> Answer:
    shown: dict[str, Any] = {
        "id": "P",
        "status": "COMPLETED",
        "amount_money": TOTAL,
        "total_money": TOTAL,
        "location_id": LOCATION,
        "reference_id": PAYMENT_ID,
        **changes,
    }
    return answer(payment=shown)


def returned(status: str, *, refund_id: str = "R", amount_minor: int = 1250) -> Answer:
    amount = {"amount": amount_minor, "currency": "USD"}
    return answer(refund={"id": refund_id, "payment_id": "P", "status": status, "amount_money": amount})


REFUNDED = payment(refunded_money=TOTAL, refund_ids=["R"])


def test_a_refund_that_was_completed_is_told() -> None:
    outcome = run(refund, returned("PENDING"), returned("COMPLETED"), REFUNDED, returned("COMPLETED"))
    assert outcome == Undone(how=Undoing.REFUNDED, reference="P")


def test_a_refund_that_is_pending_leaves_what_was_returned_open() -> None:
    unsure = run(refund, returned("PENDING"), returned("PENDING"))
    assert isinstance(unsure, InDoubt)
    assert unsure.reference == "P"
    # Told as nothing given back, it would be asked for once more.
    unsure = run(look_up("P"), REFUNDED, returned("PENDING"))
    assert isinstance(unsure, InDoubt)
    assert unsure.reference == "P"
    both = payment(refunded_money=TOTAL, refund_ids=["R", "R2"])
    earlier = returned("COMPLETED", amount_minor=250)
    assert isinstance(run(look_up("P"), both, earlier, returned("PENDING", refund_id="R2")), InDoubt)


@pytest.mark.parametrize("status", ["FAILED", "REJECTED"])
def test_a_refund_that_failed_is_none_although_the_payment_shows_it(status: str) -> None:
    assert isinstance(run(refund, returned("PENDING"), returned(status)), InDoubt)
    # Square shows it in the payment's sum from the beginning.
    assert run(look_up("P"), REFUNDED, returned(status)) == Captured("P", refunded_minor=0)


def test_an_earlier_refund_of_the_same_amount_is_not_taken_for_this_one() -> None:
    assert isinstance(run(refund, returned("PENDING", refund_id="R2"), returned("PENDING", refund_id="R2")), InDoubt)


@pytest.mark.parametrize(
    "failed", [UNSENT, BROKEN, refused("RATE_LIMITED", status=429), refused("NOT_FOUND", status=404)]
)
def test_no_question_after_a_refund_makes_it_unsent_or_declined(failed: CallResult) -> None:
    assert isinstance(run(refund, returned("PENDING"), failed), InDoubt)
    assert isinstance(run(refund, returned("PENDING"), returned("COMPLETED"), failed), InDoubt)
    assert isinstance(run(refund, returned("PENDING"), returned("COMPLETED"), REFUNDED, failed), InDoubt)


def test_a_payment_that_does_not_show_the_refund_yet_is_a_doubt() -> None:
    assert isinstance(run(refund, returned("PENDING"), returned("COMPLETED"), payment()), InDoubt)


def test_a_refund_that_was_never_sent_is_told() -> None:
    assert isinstance(run(refund, UNSENT), NeverSent)
    assert isinstance(run(refund, BROKEN), InDoubt)


@pytest.mark.parametrize("failed", [BROKEN, refused("NOT_FOUND", status=404), answer(refund={})])
def test_a_refund_that_nobody_can_tell_of_leaves_what_was_returned_open(failed: CallResult) -> None:
    assert isinstance(run(look_up("P"), REFUNDED, failed), InDoubt)


@pytest.mark.parametrize("code", ["BAD_REQUEST", "DELAYED_TRANSACTION_CANCELED", "ZQ_17_UNLISTED"])
@pytest.mark.parametrize("act", [capture, void])
def test_a_refusal_is_judged_by_what_the_payment_is(act: Callable[[SquareGateway], Outcome], code: str) -> None:
    taken, let_go = payment(), payment(status="CANCELED")
    already_done = Declined(code=FailureCode.ALREADY_DONE, gateway_code=code, reference="P")
    is_capture = act is capture
    assert run(act, refused(code), taken) == (Captured("P") if is_capture else already_done)
    assert run(act, refused(code), let_go) == (
        already_done if is_capture else Undone(how=Undoing.VOIDED, reference="P")
    )
    assert run(act, refused(code), REFUNDED, returned("COMPLETED")) == already_done


@pytest.mark.parametrize("act", [capture, void])
@pytest.mark.parametrize("failed", [UNSENT, BROKEN, refused("RATE_LIMITED", status=429), payment(location_id="L2")])
def test_a_refusal_and_no_word_of_the_payment_is_a_doubt(
    act: Callable[[SquareGateway], Outcome], failed: CallResult
) -> None:
    assert isinstance(run(act, refused("BAD_REQUEST"), failed), InDoubt)


@pytest.mark.parametrize(("act", "status"), [(capture, "APPROVED"), (capture, "CANCELED"), (void, "COMPLETED")])
def test_a_success_that_shows_something_else_is_a_doubt(act: Callable[[SquareGateway], Outcome], status: str) -> None:
    assert isinstance(run(act, payment(status=status)), InDoubt)


@pytest.mark.parametrize("act", [capture, void])
def test_a_success_with_another_payment_is_a_doubt(act: Callable[[SquareGateway], Outcome]) -> None:
    status = "COMPLETED" if act is capture else "CANCELED"
    for changes in ({"id": "Q"}, {"total_money": {"amount": 1, "currency": "USD"}}, {"location_id": "L2"}):
        assert isinstance(run(act, payment(status=status, **changes)), InDoubt)


def order(state: str, *payment_ids: str) -> Answer:
    tenders = [{"id": payment_id} for payment_id in payment_ids]
    shown = {"id": "ORDER", "location_id": LOCATION, "state": state, "total_money": TOTAL, "tenders": tenders}
    return answer(order={**shown, "reference_id": PAYMENT_ID})


DELETED = answer(id="LINK", cancelled_order_id="ORDER")
LINK = {"id": "LINK", "order_id": "ORDER", "url": "https://square.link/u/X", "payment_note": PAYMENT_ID}


def test_a_link_is_ended_when_its_order_is() -> None:
    ended = Undone(how=Undoing.VOIDED, reference="ORDER:LINK")
    for begun in (DELETED, BROKEN, refused("NOT_FOUND", status=404), answer(500)):
        assert run(void_page, begun, order("CANCELED")) == ended
    assert isinstance(run(void_page, UNSENT), NeverSent)


@pytest.mark.parametrize(
    "failed", [UNSENT, BROKEN, refused("NOT_FOUND", status=404), refused("RATE_LIMITED", status=429)]
)
def test_a_deletion_alone_proves_nothing(failed: CallResult) -> None:
    assert isinstance(run(void_page, DELETED, failed), InDoubt)
    assert isinstance(run(void_page, DELETED, order("DRAFT"), answer(payment_link=LINK)), InDoubt)


def test_a_payment_that_came_before_the_deletion_is_seen() -> None:
    paid = payment(order_id="ORDER", reference_id="", note=PAYMENT_ID)
    outcome = run(void_page, DELETED, order("CANCELED", "P"), paid)
    assert outcome == Declined(code=FailureCode.ALREADY_DONE, gateway_code="COMPLETED", reference="ORDER:LINK")


def test_a_link_that_could_not_be_deleted_is_not_ended() -> None:
    outcome = run(void_page, refused("BAD_REQUEST"), order("DRAFT"), answer(payment_link=LINK))
    assert outcome == Declined(code=FailureCode.INVALID_REQUEST, gateway_code="BAD_REQUEST", reference="ORDER:LINK")


def test_a_payment_of_a_page_has_to_be_of_its_order() -> None:
    see = look_up("ORDER:LINK")
    assert run(see, order("OPEN", "P"), payment(order_id="ORDER", reference_id="")) == Captured("ORDER:LINK")
    assert isinstance(run(see, order("OPEN", "P"), payment(order_id="OTHER", reference_id="")), InDoubt)
    assert isinstance(run(see, order("OPEN", "P"), UNSENT), NeverSent)


def of_the_page(payment_id: str, status: str, **changes: object) -> Answer:
    return payment(id=payment_id, status=status, order_id="ORDER", reference_id="", **changes)


def test_what_paid_a_page_is_given_back_whatever_was_tried_before() -> None:
    refunded = of_the_page("P", "COMPLETED", refunded_money=TOTAL, refund_ids=["R"])
    for tried in (["P1", "P"], ["P", "P1"]):
        seen = [of_the_page(one, "COMPLETED" if one == "P" else "FAILED") for one in tried]
        begun = (returned("PENDING"), returned("COMPLETED"), refunded, returned("COMPLETED"))
        outcome, asked = trace(refund_page, order("OPEN", *tried), *seen, *begun)
        assert outcome == Undone(how=Undoing.REFUNDED, reference="ORDER:LINK")
        assert asked.count("refunds.refund_payment") == 1


@pytest.mark.parametrize(
    "results",
    [
        [order("OPEN", "P1", "P2"), of_the_page("P1", "COMPLETED"), of_the_page("P2", "COMPLETED")],
        [order("OPEN", "P1"), of_the_page("P1", "FAILED")],
        [order("OPEN", "P1"), of_the_page("P1", "APPROVED")],
        [order("OPEN", "P1"), of_the_page("P1", "PENDING")],
        [order("OPEN", "P1"), payment(id="P1", order_id="OTHER")],
        [order("OPEN", "P1"), BROKEN],
        [
            order("OPEN", "P"),
            of_the_page("P", "COMPLETED", refunded_money=TOTAL, refund_ids=["R"]),
            returned("PENDING"),
        ],
        [order("DRAFT")],
    ],
)
def test_nothing_is_given_back_of_a_page_that_no_one_payment_paid(results: list[CallResult]) -> None:
    outcome, asked = trace(refund_page, *results)
    assert isinstance(outcome, InDoubt)
    assert "refunds.refund_payment" not in asked


def test_a_payment_of_a_page_that_is_not_taken_yet_is_pending() -> None:
    see = look_up("ORDER:LINK")
    for status in ("APPROVED", "PENDING"):
        paid = of_the_page("P", status)
        assert run(see, order("OPEN", "P"), paid) == Pending("ORDER:LINK", redirect_url=None)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([order("OPEN", "P"), of_the_page("P", "COMPLETED")], Captured),
        ([order("OPEN", "P"), of_the_page("P", "APPROVED")], InDoubt),
        ([order("DRAFT"), answer(payment_link=LINK)], InDoubt),
        ([order("CANCELED")], Declined),
        ([BROKEN], InDoubt),
        ([UNSENT], NeverSent),
    ],
)
def test_nothing_is_taken_of_a_page_by_us(results: list[CallResult], expected: type) -> None:
    outcome, asked = trace(capture_page, *results)
    assert isinstance(outcome, expected)
    assert set(asked) <= {"orders.get", "payments.get", "checkout.payment_links.get"}


def listed(*payments: Answer, cursor: str = "") -> Answer:
    shown = [json.loads(one.body)["payment"] for one in payments]
    return answer(payments=shown, cursor=cursor)


def test_what_a_list_shows_is_asked_for_once_more() -> None:
    outcome, asked = trace(look_up(""), listed(payment(status="APPROVED")), payment())
    assert outcome == Captured("P")
    assert asked == ["payments.list", "payments.get"]
    for failed in (UNSENT, BROKEN, refused("NOT_FOUND", status=404)):
        assert not isinstance(run(look_up(""), listed(payment()), failed), Captured | NotFound)


def test_a_payment_that_is_on_two_pages_of_a_list_is_one() -> None:
    assert run(look_up(""), listed(payment(), cursor="next"), listed(payment()), payment()) == Captured("P")


def test_more_under_our_reference_than_can_be_asked_for_is_a_doubt() -> None:
    many = listed(*(payment(id=f"P{number}") for number in range(MOST_PAYMENTS + 1)))
    assert isinstance(run(look_up(""), many), InDoubt)
    ids: list[object] = [None, 5, "a/b", []]
    for strange in ids:
        assert isinstance(run(look_up(""), listed(payment(), payment(id=strange))), InDoubt)


def test_an_unpaid_page_is_shown_where_it_is() -> None:
    see = look_up("ORDER:LINK")
    waiting = Pending("ORDER:LINK", redirect_url="https://square.link/u/X")
    assert run(see, order("DRAFT"), answer(payment_link=LINK)) == waiting
    for strange in (answer(payment_link={**LINK, "id": "L2"}), refused("NOT_FOUND", status=404), answer(), BROKEN):
        assert isinstance(run(see, order("DRAFT"), strange), InDoubt)


def test_links_that_are_not_ours_are_passed_by() -> None:
    others = [{**LINK, "payment_note": "pay_other"}, "no link", {**LINK, "id": "L2", "payment_note": None}]
    hosted = Question(
        idempotency_key=PAYMENT_ID,
        reference=PAYMENT_ID,
        amount_minor=1250,
        currency="USD",
        charge=charge_request(""),
    )

    def find(gateway: SquareGateway) -> Outcome:
        return gateway.look_up(hosted, deadline_seconds=20)

    first, second = answer(payment_links=others, cursor="next"), answer(payment_links=[LINK])
    assert run(find, first, second, order("CANCELED")) == Undone(how=Undoing.VOIDED, reference="ORDER:LINK")
    assert isinstance(run(find, first, BROKEN), InDoubt)
    assert isinstance(run(find, first, UNSENT), NeverSent)
