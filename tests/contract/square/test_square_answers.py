"""What single answers of Square prove, worded as it documents them, and what they do not."""

import json
from typing import Any

import pytest

from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Authorized,
    Captured,
    Declined,
    InDoubt,
    NeverSent,
    Outcome,
    Pending,
    Undoing,
    Undone,
)
from payments.gateways.square import answers, pages
from payments.gateways.transport import Answer
from tests.contract.square.asking import PAYMENT_ID, charge_request

_C = FailureCode
LOCATION = "L88917AVBK2S5"
REFERENCE = "bP9mAsEMYPUGjjGNaNO5ZDVyLhSZY"
TOTAL = {"amount": 1250, "currency": "USD"}
ASKED = answers.asked_by(charge_request(), location_id=LOCATION)
GENERIC = {"category": "PAYMENT_METHOD_ERROR", "code": "GENERIC_DECLINE", "detail": "..."}


def payment(**changes: object) -> dict[str, Any]:
    """A payment as Square shows it (CreatePaymentResponse), and `changes`; None leaves a field out."""
    shown = {
        "id": REFERENCE,
        "created_at": "2021-10-13T21:14:29.577Z",
        "updated_at": "2021-10-13T21:14:30.504Z",
        "amount_money": TOTAL,
        "total_money": TOTAL,
        "approved_money": TOTAL,
        "status": "COMPLETED",
        "delay_duration": "PT168H",
        "delay_action": "CANCEL",
        "delayed_until": "2021-10-20T21:14:29.577Z",
        "source_type": "CARD",
        "card_details": {"status": "CAPTURED"},
        "location_id": LOCATION,
        "order_id": "pRsjRTgFWATl7so6DxdKBJa7ssbZY",
        "reference_id": PAYMENT_ID,
        **changes,
    }
    return {name: value for name, value in shown.items() if value is not None}


def answer(content: object, status: int = 200) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Answer(status=status, headers={}, body=body)


def created(content: object, status: int = 200) -> Outcome:
    return answers.read_creation(answer(content, status), asked=ASKED)


def error(code: str, category: str = "INVALID_REQUEST_ERROR") -> dict[str, str]:
    return {"category": category, "code": code}


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, Captured(REFERENCE)),
        ({"status": "APPROVED"}, Authorized(REFERENCE)),
        ({"status": "PENDING", "approved_money": None}, Pending(REFERENCE, redirect_url=None)),
    ],
)
def test_a_payment_is_seen_as_what_its_status_says(changes: dict[str, object], outcome: Outcome) -> None:
    assert created({"payment": payment(**changes)}) == outcome


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"id": ""},
        {"id": "a/b"},
        {"id": 5},
        {"reference_id": None},
        {"reference_id": "pay_another"},
        {"location_id": "LOTHER"},
        {"amount_money": {"amount": 1251, "currency": "USD"}},
        {"total_money": {"amount": 1350, "currency": "USD"}},
        {"total_money": {"amount": 1250, "currency": "EUR"}},
        {"total_money": {"amount": "1250", "currency": "USD"}},
        {"total_money": None},
        {"status": "APPROVED", "approved_money": {"amount": 500, "currency": "USD"}},
        {"status": "SOMETHING_NEW"},
        {"status": None},
        {"status": "CANCELED"},
        {"refunded_money": TOTAL},
        {"refunded_money": {"amount": 1, "currency": "EUR"}, "refund_ids": ["r"]},
        {"refunded_money": {"amount": 1251, "currency": "USD"}, "refund_ids": ["r"]},
        {"refund_ids": ["r"]},
        {"status": "APPROVED", "refunded_money": TOTAL},
    ],
)
def test_a_payment_that_is_not_ours_or_does_not_add_up_proves_nothing(changes: dict[str, object]) -> None:
    assert isinstance(created({"payment": payment(**changes)}), InDoubt)


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b"<html>", b"[" * 50_000, {}, {"payment": None}, {"payment": []}, {"payments": [payment()]}],
)
def test_a_success_without_a_payment_proves_nothing(content: object) -> None:
    assert isinstance(created(content), InDoubt)


def test_a_payment_that_failed_is_a_decline_with_the_code_that_says_most() -> None:
    errors = [GENERIC, {**GENERIC, "code": "CVV_FAILURE"}]
    failed = payment(status="FAILED", card_details={"status": "FAILED", "errors": errors})
    expected = Declined(code=_C.INVALID_CARD_DATA, gateway_code="CVV_FAILURE", reference=REFERENCE)
    assert created({"payment": failed, "errors": errors}, 400) == expected
    assert created({"payment": failed, "errors": errors}, 402) == expected
    assert created({"payment": failed}, 200) == expected
    assert answers.read_payment(failed, asked=ASKED) == expected


def test_a_refusal_beside_a_payment_that_stands_proves_nothing() -> None:
    for status in ("COMPLETED", "APPROVED", "PENDING"):
        outcome = created({"errors": [GENERIC], "payment": payment(status=status)}, 400)
        assert isinstance(outcome, InDoubt)
        assert outcome.reference == REFERENCE
    assert isinstance(created({"errors": [GENERIC], "payment": payment()}), InDoubt)


@pytest.mark.parametrize(
    ("status", "code", "category", "outcome"),
    [
        (400, "CARD_EXPIRED", "PAYMENT_METHOD_ERROR", _C.EXPIRED_CARD),
        (400, "BAD_REQUEST", "INVALID_REQUEST_ERROR", _C.INVALID_REQUEST),
        (401, "UNAUTHORIZED", "AUTHENTICATION_ERROR", _C.CONFIGURATION),
        (403, "INSUFFICIENT_SCOPES", "AUTHENTICATION_ERROR", _C.CONFIGURATION),
        (404, "NOT_FOUND", "INVALID_REQUEST_ERROR", _C.CONFIGURATION),
        (400, "ZQ_17_UNLISTED", "PAYMENT_METHOD_ERROR", _C.DECLINED),
    ],
)
def test_a_refusal_says_that_nothing_was_done(status: int, code: str, category: str, outcome: FailureCode) -> None:
    refused = created({"errors": [error(code, category)]}, status)
    assert refused == Declined(code=outcome, gateway_code=code, reference=None)


@pytest.mark.parametrize(
    ("status", "errors", "code"),
    [
        (400, [error("IDEMPOTENCY_KEY_REUSED")], _C.KEY_MISMATCH),
        (400, [GENERIC, error("IDEMPOTENCY_KEY_REUSED")], _C.KEY_MISMATCH),
        (409, [error("CONFLICT")], _C.KEY_IN_FLIGHT),
        (409, [GENERIC], _C.KEY_IN_FLIGHT),
        (408, [error("REQUEST_TIMEOUT")], _C.GATEWAY_TIMEOUT),
        (400, [error("TEMPORARY_ERROR", "PAYMENT_METHOD_ERROR")], _C.GATEWAY_ERROR),
        (400, [error("BAD_REQUEST", "API_ERROR")], _C.GATEWAY_ERROR),
        (400, [], _C.GATEWAY_ERROR),
        (400, None, _C.GATEWAY_ERROR),
        (400, 5, _C.GATEWAY_ERROR),
        (400, [5], _C.GATEWAY_ERROR),
        (400, [{"category": "INVALID_REQUEST_ERROR"}], _C.GATEWAY_ERROR),
        (400, [GENERIC, {"code": ["GENERIC_DECLINE"]}], _C.GATEWAY_ERROR),
        (429, [], _C.GATEWAY_ERROR),
        (429, [GENERIC], _C.GATEWAY_ERROR),
        (429, [error("RATE_LIMITED", "RATE_LIMIT_ERROR"), GENERIC], _C.GATEWAY_ERROR),
        (429, [error("RATE_LIMITED", "RATE_LIMIT_ERROR"), 5], _C.GATEWAY_ERROR),
        (500, [error("INTERNAL_SERVER_ERROR", "API_ERROR")], _C.GATEWAY_ERROR),
        (500, [GENERIC], _C.GATEWAY_ERROR),
        (502, None, _C.GATEWAY_ERROR),
        (504, [error("GATEWAY_TIMEOUT", "API_ERROR")], _C.GATEWAY_ERROR),
        (302, [GENERIC], _C.GATEWAY_ERROR),
        (201, [GENERIC], _C.GATEWAY_ERROR),
    ],
)
def test_other_answers_prove_nothing(status: int, errors: object, code: FailureCode) -> None:
    outcome = created({"errors": errors}, status)
    assert isinstance(outcome, InDoubt)
    assert outcome.code is code


def test_a_rate_limit_lets_nothing_in() -> None:
    limited = error("RATE_LIMITED", "RATE_LIMIT_ERROR")
    for errors in ([limited], [limited, limited]):
        assert isinstance(created({"errors": errors}, 429), NeverSent)
        # One that failed was let in.
        unsure = created({"errors": errors, "payment": payment(status="FAILED")}, 429)
        assert isinstance(unsure, InDoubt)
        assert unsure.reference == REFERENCE


@pytest.mark.parametrize(
    ("voided_at", "how"),
    [
        ("2021-10-20T21:14:29.577Z", Undoing.EXPIRED),
        ("2021-10-20T21:14:29.576Z", Undoing.VOIDED),
        ("soon", Undoing.VOIDED),
        (None, Undoing.VOIDED),
    ],
)
def test_a_hold_that_ended_with_its_delay_has_expired(voided_at: object, how: Undoing) -> None:
    details = {"card_payment_timeline": {"voided_at": voided_at}}
    cancelled = payment(status="CANCELED", card_details=details)
    assert answers.read_payment(cancelled, asked=ASKED) == Undone(how=how, reference=REFERENCE)


@pytest.mark.parametrize(("status", "returned"), [("COMPLETED", 250), ("REJECTED", 0), ("FAILED", 0)])
def test_only_a_completed_refund_gave_anything_back(status: str, returned: int) -> None:
    refund = {"id": "r1", "payment_id": REFERENCE, "status": status, "amount_money": {"amount": 250, "currency": "USD"}}
    asked = {"id": "r1", "payment_id": REFERENCE}
    assert answers.read_refund(answer({"refund": refund}), asked=asked) == returned
    assert isinstance(answers.read_refund(answer({"refund": refund}), asked={"id": "r2"}), InDoubt)
    statuses: list[object] = ["PENDING", "NEW", None, ["FAILED"], {}]
    for unsettled in statuses:
        unsure = answers.read_refund(answer({"refund": {**refund, "status": unsettled}}), asked=asked)
        assert isinstance(unsure, InDoubt), unsettled


LONG_ID = "r" * 255


@pytest.mark.parametrize("shown", [None, [], ["r1"], ["r1", "r2"], [LONG_ID]])
def test_each_refund_of_a_payment_is_known_by_its_id(shown: list[str] | None) -> None:
    assert answers.refund_ids(payment(refund_ids=shown)) == tuple(shown or ())


@pytest.mark.parametrize("shown", [5, "r1", {}, [5], ["r1", None], ["r1", "a/b"], ["r1", "r1"], [f"{LONG_ID}r"], [[]]])
@pytest.mark.parametrize("refunded", [None, {"amount": 250, "currency": "USD"}])
def test_a_refund_that_cannot_be_asked_about_is_not_passed_over(shown: object, refunded: object) -> None:
    shown_so = payment(refund_ids=shown, refunded_money=refunded)
    assert isinstance(answers.refund_ids(shown_so), InDoubt)
    unsure = answers.read_payment(shown_so, asked=ASKED)
    assert isinstance(unsure, InDoubt)
    assert unsure.reference == REFERENCE


def test_refunds_add_up_to_no_more_than_was_taken() -> None:
    taken = Captured(REFERENCE)
    assert answers.add_refunds(taken, payment=payment(), returned_minor=0) == taken
    assert answers.add_refunds(taken, payment=payment(), returned_minor=1249) == Captured(
        REFERENCE, refunded_minor=1249
    )
    whole = answers.add_refunds(taken, payment=payment(), returned_minor=1250)
    assert whole == Undone(how=Undoing.REFUNDED, reference=REFERENCE)
    assert isinstance(answers.add_refunds(taken, payment=payment(), returned_minor=1251), InDoubt)


@pytest.mark.parametrize(
    ("refund", "expected"),
    [
        ({"status": "PENDING"}, str),
        ({"status": "COMPLETED"}, str),
        ({"status": "REJECTED"}, Declined),
        ({"status": "FAILED"}, Declined),
        ({"status": "NEW"}, InDoubt),
        ({"status": "PENDING", "payment_id": "another"}, InDoubt),
        ({"status": "PENDING", "amount_money": {"amount": 1, "currency": "USD"}}, InDoubt),
        ({"status": "PENDING", "id": None}, InDoubt),
    ],
)
def test_a_refund_that_was_begun_is_no_more_than_that(refund: dict[str, object], expected: type) -> None:
    shown = {"id": "r1", "payment_id": REFERENCE, "amount_money": TOTAL, **refund}
    asked = {"payment_id": REFERENCE, "amount_money": TOTAL}
    read = answers.read_refund_begun(answer({"refund": shown}), asked=asked, reference=REFERENCE)
    assert isinstance(read, expected)


def test_a_page_of_a_list_is_read_whole_or_not_at_all() -> None:
    assert answers.read_page(answer(b"{}"), of="payments") == ([], "")
    assert answers.read_page(answer({"payments": [1], "cursor": "c"}), of="payments") == ([1], "c")
    strange: list[object] = [
        b"",
        b"[]",
        b"<html>",
        {"payments": {}},
        {"payments": [], "cursor": 5},
        {"payments": [], "cursor": "\ud800"},  # Half a character: it cannot be sent.
        {"payments": [], "cursor": "c" * 2049},
        {"errors": [GENERIC]},
    ]
    for content in strange:
        assert isinstance(answers.read_page(answer(content), of="payments"), InDoubt)
    assert isinstance(answers.read_page(answer({"payments": []}, 500), of="payments"), InDoubt)


PAGE = pages.Page(order_id="ORDER", link_id="LINK")


def order(**changes: object) -> Answer:
    shown = {"id": "ORDER", "location_id": LOCATION, "state": "DRAFT", "total_money": TOTAL, **changes}
    return answer({"order": shown})


def read_order(shown: Answer) -> object:
    return pages.read_order(shown, page=PAGE, asked={"location_id": LOCATION, "total_money": TOTAL})


def test_an_order_says_what_became_of_its_page() -> None:
    assert read_order(order()) == Pending("ORDER:LINK", redirect_url=None)
    assert read_order(order(state="CANCELED")) == Undone(how=Undoing.VOIDED, reference="ORDER:LINK")
    assert read_order(order(state="OPEN", tenders=[{"id": "p1"}])) == ["p1"]
    # Somebody paid it, whatever it is called.
    assert read_order(order(state="CANCELED", tenders=[{"id": "p1"}])) == ["p1"]


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "ANOTHER"},
        {"location_id": "LOTHER"},
        {"total_money": {"amount": 1350, "currency": "USD"}},
        {"state": "COMPLETED"},
        {"state": None},
        {"tenders": [{"id": None}]},
        {"tenders": ["p1"]},
        {"tenders": 5},
        {"tenders": {}},
        {"tenders": ""},
        {"state": "OPEN", "tenders": [{"id": f"p{number}"} for number in range(21)]},
    ],
)
def test_an_order_that_is_another_or_strange_proves_nothing(changes: dict[str, object]) -> None:
    assert isinstance(read_order(order(**changes)), InDoubt)


def test_an_order_that_is_not_there_is_not_proven_away() -> None:
    assert isinstance(read_order(answer({"errors": [error("NOT_FOUND")]}, 404)), InDoubt)


def test_of_several_payments_of_a_page_the_one_that_stands_counts() -> None:
    failed = Declined(code=_C.DECLINED, gateway_code="GENERIC_DECLINE", reference="ORDER:LINK")
    taken = Captured("ORDER:LINK")
    assert pages.read_tenders([failed, taken], page=PAGE, state="OPEN") == taken
    assert pages.read_tenders([failed], page=PAGE, state="CANCELED") == failed
    # Who was declined may try again there, as long as the link is not deleted.
    assert pages.read_tenders([failed], page=PAGE, state="OPEN") == Pending("ORDER:LINK", redirect_url=None)
    assert isinstance(pages.read_tenders([taken, taken], page=PAGE, state="OPEN"), InDoubt)


def test_a_page_holds_nothing() -> None:
    on_its_way = Authorized("ORDER:LINK")
    assert pages.read_tenders([on_its_way], page=PAGE, state="OPEN") == Pending("ORDER:LINK", redirect_url=None)


def link(**changes: object) -> Answer:
    shown = {"id": "LINK", "order_id": "ORDER", "url": "https://square.link/u/EXAMPLE", "payment_note": PAYMENT_ID}
    orders = [{"id": "ORDER", "total_money": changes.pop("total_money", TOTAL)}]
    related = {"orders": changes.pop("orders", orders)}
    return answer({"payment_link": {**shown, **changes}, "related_resources": related})


def test_a_link_leads_to_a_page() -> None:
    expected = Pending("ORDER:LINK", redirect_url="https://square.link/u/EXAMPLE")
    assert pages.read_link_creation(link(), request=charge_request("")) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"payment_note": "pay_another"},
        {"payment_note": None},
        {"id": "a:b"},
        {"id": "a" * 128, "order_id": "b" * 127},  # Longer than what we write down.
        {"order_id": None},
        {"url": "javascript:alert(1)"},
        {"total_money": {"amount": 1350, "currency": "USD"}},
        {"orders": 5},
        {"orders": {}},
        {"orders": [5]},
    ],
)
def test_a_link_that_is_another_or_strange_proves_nothing(changes: dict[str, object]) -> None:
    assert isinstance(pages.read_link_creation(link(**changes), request=charge_request("")), InDoubt)
