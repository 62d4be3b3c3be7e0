"""What PayPal's answers prove, and what they do not: bodies as documented, and bent ones."""

from typing import Any

import pytest
import structlog.testing

from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Authorized,
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
from payments.gateways.paypal import answers
from payments.gateways.paypal.orders import FAILURES, Asked, Order, judge, read_order
from payments.gateways.paypal.wording import Intent, amount_minor, money
from payments.gateways.protocol import ActRequest
from payments.gateways.transport import Answer
from tests.contract import published
from tests.contract.paypal import bodies
from tests.contract.paypal.bodies import (
    ORDER,
    REFERENCE,
    answer,
    authorization,
    capture,
    order,
    refund,
    refusal,
    refusals,
)

C = FailureCode
ASKED = Asked(currency="USD", order_id=ORDER, reference=REFERENCE, amount_minor=1250, is_hosted=False)
ACT = ActRequest(idempotency_key="k", charge_reference=ORDER, amount_minor=1250, currency="USD")


def see(body: object, *, is_hosted: bool | None = False) -> Outcome:
    read = read_order(body, asked=ASKED)
    return judge(read, is_hosted=is_hosted) if isinstance(read, Order) else read


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (order(authorizations=[authorization("CREATED")]), Authorized(ORDER)),
        (order(authorizations=[authorization("PENDING")]), Pending(ORDER, None)),
        (order(authorizations=[authorization("VOIDED")]), Undone(Undoing.VOIDED, ORDER)),
        (order(authorizations=[authorization("EXPIRED")]), Undone(Undoing.EXPIRED, ORDER)),
        (order(authorizations=[authorization("CAPTURED")], captures=[capture("COMPLETED")]), Captured(ORDER)),
        (order(authorizations=[authorization("CREATED")], captures=[capture("DECLINED")]), Authorized(ORDER)),
        (order(captures=[capture("DECLINED"), capture("COMPLETED")]), Captured(ORDER)),
        (order(captures=[capture("PENDING")]), Pending(ORDER, None)),
        (order(captures=[capture("FAILED")]), Declined(C.DECLINED, "FAILED", ORDER)),
        (order(captures=[capture("REFUNDED")], refunds=[refund("12.50")]), Undone(Undoing.REFUNDED, ORDER)),
        (order(captures=[capture("PARTIALLY_REFUNDED")], refunds=[refund("3.00")]), Captured(ORDER, 300)),
        (order(captures=[capture("COMPLETED")], refunds=[refund("3.00", status="PENDING")]), Captured(ORDER)),
        (order("VOIDED"), Undone(Undoing.VOIDED, ORDER)),
        (order("APPROVED"), Pending(ORDER, None, is_approved=True)),
        (order("CREATED"), Pending(ORDER, None, is_approved=True)),
        (order("CREATED", intent="CAPTURE"), Undone(Undoing.VOIDED, ORDER)),
        (order("APPROVED", intent="CAPTURE"), Undone(Undoing.VOIDED, ORDER)),
        (order("PAYER_ACTION_REQUIRED"), Declined(C.AUTHENTICATION_REQUIRED, "PAYER_ACTION_REQUIRED", ORDER)),
        (
            order(authorizations=[authorization("DENIED", processor_response={"response_code": "5120"})]),
            Declined(C.INSUFFICIENT_FUNDS, "5120", ORDER),
        ),
        (order(authorizations=[authorization("DENIED")]), Declined(C.DECLINED, "DENIED", ORDER)),
    ],
)
def test_an_order_shows_what_became_of_the_charge(body: object, seen: Outcome) -> None:
    assert see(body) == seen


@pytest.mark.parametrize("status", ["CREATED", "PAYER_ACTION_REQUIRED"])
def test_a_customer_who_has_not_paid_has_a_page(status: str) -> None:
    assert see(order(status), is_hosted=True) == Pending(ORDER, f"https://www.paypal.com/checkoutnow?token={ORDER}")
    assert see(order("CREATED", links=[]), is_hosted=True) == Pending(ORDER, None)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        order(id="6O190127TN364715T"),
        order(id="../x"),
        order(id=7),
        order(intent="SOMETHING"),
        order() | {"status": 7},
        order("COMPLETED"),
        order("NEW_STATUS"),
        order(purchase_units=[]),
        order(purchase_units=[{}, {}]),
        order(unit={"custom_id": "pay_another"}, authorizations=[authorization("CREATED")]),
        order(unit={"custom_id": None}, authorizations=[authorization("CREATED")]),
        order(unit={"reference_id": "default"}, authorizations=[authorization("CREATED")]),
        order(unit={"amount": bodies.money("12.51")}, authorizations=[authorization("CREATED")]),
        order(unit={"amount": {"currency_code": "EUR", "value": "12.50"}}, captures=[capture("COMPLETED")]),
        order(unit={"payments": {"captures": {}}}),
        order(captures=[capture("COMPLETED", amount=bodies.money("12.49"))]),
        order(captures=[capture("COMPLETED", amount=None)]),
        order(captures=[capture("COMPLETED", id="")]),
        order(captures=[capture("COMPLETED"), capture("COMPLETED")]),
        order(captures=[capture("COMPLETED")], refunds=[refund("12.50")]),
        order(captures=[capture("REFUNDED")], refunds=[refund("12.49")]),
        order(captures=[capture("UNHEARD_OF")]),
        order(authorizations=[authorization("CAPTURED")]),
        order(authorizations=[authorization("PARTIALLY_CAPTURED")]),
        order(authorizations=[authorization("CREATED"), authorization("VOIDED")]),
        order(authorizations=[authorization("CREATED", amount=bodies.money("1.00"))]),
    ],
)
def test_what_does_not_add_up_proves_nothing(body: object) -> None:
    assert isinstance(see(body), InDoubt)
    assert isinstance(answers.read_paying(answer(201, body), asked=ASKED), InDoubt)


@pytest.mark.parametrize("issue", ["ORDER_COMPLETION_IN_PROGRESS", "PREVIOUS_REQUEST_IN_PROGRESS"])
def test_a_request_that_is_still_at_work_is_a_doubt(issue: str) -> None:
    for said in (refusal(422, issue), refusals("INSTRUMENT_DECLINED", issue), refusals("SOMETHING_NEW", issue)):
        seen = answers.read_paying(said, asked=ASKED)
        assert isinstance(seen, InDoubt)
        assert (seen.code, seen.reference) == (C.KEY_IN_FLIGHT, ORDER)


def test_only_a_refusal_with_an_issue_that_nobody_lists_is_an_alert() -> None:
    with structlog.testing.capture_logs() as logged:
        answers.read_paying(answer(500, {"name": "INTERNAL_SERVER_ERROR"}), asked=ASKED)
        answers.read_paying(refusal(404, "INVALID_RESOURCE_ID", name="RESOURCE_NOT_FOUND"), asked=ASKED)
        assert logged == []
        answers.read_paying(refusals("INSTRUMENT_DECLINED", "SOMETHING_NEW"), asked=ASKED)
    assert [line["gateway_code"] for line in logged] == ["SOMETHING_NEW"]


def test_a_conflict_without_an_issue_is_a_request_that_is_still_at_work() -> None:
    seen = answers.read_paying(answer(409, {"name": "RESOURCE_CONFLICT"}), asked=ASKED)
    assert isinstance(seen, InDoubt)
    assert seen.code is C.KEY_IN_FLIGHT


@pytest.mark.parametrize(
    ("said", "is_open"),
    [
        (refusal(422, "INSTRUMENT_DECLINED"), False),
        (refusal(422, "PREVIOUS_REQUEST_IN_PROGRESS"), False),  # A doubt already.
        (refusal(422, "DUPLICATE_REQUEST_ID"), False),
        (refusal(422, "ORDER_ALREADY_CAPTURED"), True),
        (refusals("INSTRUMENT_DECLINED", "ORDER_ALREADY_CAPTURED"), True),
        (refusal(422, "SOMETHING_NEW"), True),
        (refusals("INSTRUMENT_DECLINED", "SOMETHING_NEW"), True),
        (refusals("INSTRUMENT_DECLINED", None), True),
        (answer(422, b"<html>"), True),
        (refusal(400, "SOMETHING_NEW"), False),
    ],
)
def test_a_refusal_leaves_it_open_unless_all_of_its_issues_are_listed(said: Answer, is_open: bool) -> None:
    assert answers.leaves_open(said) is is_open


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        (refusal(422, "INSTRUMENT_DECLINED"), Declined(C.DECLINED, "INSTRUMENT_DECLINED", ORDER)),
        (refusal(422, "PAYER_ACTION_REQUIRED"), Declined(C.AUTHENTICATION_REQUIRED, "PAYER_ACTION_REQUIRED", ORDER)),
        (refusals("INSTRUMENT_DECLINED", "PAYER_CANNOT_PAY"), Declined(C.DECLINED, "INSTRUMENT_DECLINED", ORDER)),
        (
            refusals("AMOUNT_MISMATCH", "ORDER_ALREADY_CAPTURED"),
            Declined(C.ALREADY_DONE, "ORDER_ALREADY_CAPTURED", ORDER),
        ),
        (refusal(400, "MALFORMED_REQUEST_JSON"), Declined(C.INVALID_REQUEST, "MALFORMED_REQUEST_JSON", ORDER)),
        (refusal(403, "PERMISSION_DENIED"), Declined(C.CONFIGURATION, "PERMISSION_DENIED", ORDER)),
        (answer(401, {"error": "invalid_token"}), Declined(C.CONFIGURATION, "invalid_token", ORDER)),
    ],
)
def test_a_refusal_is_read_by_its_issue(said: Answer, seen: Outcome) -> None:
    assert answers.read_paying(said, asked=ASKED) == seen


@pytest.mark.parametrize(
    "said",
    [
        answer(500, {"name": "INTERNAL_SERVER_ERROR"}),
        answer(503, b""),
        answer(404, {"name": "RESOURCE_NOT_FOUND"}),
        answer(422, b"<html>"),
        answer(400, {}),
        refusal(422, "SOMETHING_NEW"),
        refusals("INSTRUMENT_DECLINED", "SOMETHING_NEW"),
        refusals("INSTRUMENT_DECLINED", None),
        answer(200, b"<html>It works!</html>"),
        answer(302, b""),
        answer(201, order("CREATED")),
        answer(201, order("APPROVED")),
    ],
)
def test_other_answers_to_a_payment_are_doubts_about_the_order(said: Answer) -> None:
    seen = answers.read_paying(said, asked=ASKED)
    assert isinstance(seen, InDoubt)
    assert seen.reference == ORDER


def test_too_many_requests_did_nothing() -> None:
    said = answer(429, {"name": "RATE_LIMIT_REACHED"})
    assert isinstance(answers.read_paying(said, asked=ASKED), NeverSent)
    assert isinstance(answers.read_sight(said, asked=ASKED), NeverSent)


def test_an_order_that_is_gone_is_not_found_and_only_then() -> None:
    gone = refusal(404, "INVALID_RESOURCE_ID", name="RESOURCE_NOT_FOUND")
    assert answers.read_sight(gone, asked=ASKED) == NotFound()
    for said in (answer(404, b"<html>"), answer(404, []), refusal(401, "x"), refusal(422, "ORDER_EXPIRED")):
        assert isinstance(answers.read_sight(said, asked=ASKED), InDoubt)


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        (answer(201, order("CREATED")), ORDER),
        (answer(200, order(authorizations=[authorization("CREATED")])), ORDER),
        (answer(201, order("CREATED", unit={"amount": bodies.money("13.00")})), C.KEY_MISMATCH),
        (answer(201, order("CREATED", unit={"reference_id": "CAPTURE"}, intent="CAPTURE")), C.KEY_MISMATCH),
        (refusal(422, "DUPLICATE_REQUEST_ID"), C.KEY_MISMATCH),
        (refusal(422, "SOMETHING_NEW"), Declined(C.INVALID_REQUEST, "SOMETHING_NEW", None)),
        (refusal(409, "PREVIOUS_REQUEST_IN_PROGRESS", name="RESOURCE_CONFLICT"), C.KEY_IN_FLIGHT),
        (answer(500, {"name": "INTERNAL_SERVER_ERROR"}), NeverSent),
        (answer(201, b"<html>"), NeverSent),
    ],
)
def test_a_new_order_is_an_id_or_nothing_happened(said: Answer, seen: object) -> None:
    read = answers.read_opening(said, asked=Asked("USD", None, REFERENCE, 1250, False), intent=Intent.AUTHORIZE)
    if isinstance(seen, FailureCode):
        assert isinstance(read, InDoubt)
        assert read.code is seen
    elif isinstance(seen, type):
        assert isinstance(read, seen)
    else:
        assert read == seen


def _of_ours(payment: dict[str, Any]) -> dict[str, Any]:
    return {**payment, "custom_id": REFERENCE, "supplementary_data": {"related_ids": {"order_id": ORDER}}}


def test_a_capture_is_ours_whole_and_complete() -> None:
    def read(status: int, body: object) -> Outcome:
        return answers.read_capture(answer(status, body), request=ACT, reference=REFERENCE)

    good = _of_ours(capture("COMPLETED"))
    assert read(201, good) == read(200, good) == Captured(ORDER)
    code = {"processor_response": {"response_code": "5400"}}
    assert read(201, _of_ours(capture("DECLINED", **code))) == Declined(C.EXPIRED_CARD, "5400", ORDER)
    done = answers.read_capture(refusal(422, "AUTHORIZATION_ALREADY_CAPTURED"), request=ACT, reference=REFERENCE)
    assert done == Declined(C.ALREADY_DONE, "AUTHORIZATION_ALREADY_CAPTURED", ORDER)
    for bad in (
        good | {"custom_id": "pay_another"},
        good | {"supplementary_data": {"related_ids": {"order_id": "6O190127TN364715T"}}},
        good | {"amount": bodies.money("12.49")},
        good | {"status": "PENDING"},
        {},
    ):
        assert isinstance(read(201, bad), InDoubt)
    assert isinstance(read(202, good), InDoubt)
    unheard_of = answers.read_capture(refusal(422, "SOMETHING_NEW"), request=ACT, reference=REFERENCE)
    assert isinstance(unheard_of, InDoubt)


def test_a_void_is_told_or_silent() -> None:
    def read(status: int, body: object) -> Outcome:
        return answers.read_void(answer(status, body), request=ACT, reference=REFERENCE)

    good = _of_ours(authorization("VOIDED"))
    assert read(200, good) == read(204, b"") == Undone(Undoing.VOIDED, ORDER)
    assert isinstance(read(200, good | {"status": "CREATED"}), InDoubt)
    assert isinstance(read(200, good | {"custom_id": "x"}), InDoubt)
    assert isinstance(read(200, b""), InDoubt)


def test_a_refund_says_what_was_given_back_in_all() -> None:
    read_capture_ = read_order(order(captures=[capture("COMPLETED")]), asked=ASKED)
    assert isinstance(read_capture_, Order)
    (taken,) = read_capture_.captures

    def read(body: object, *, asked_minor: int = 1250) -> Outcome:
        request = ActRequest(idempotency_key="k", charge_reference=ORDER, amount_minor=asked_minor, currency="USD")
        return answers.read_refund(answer(201, body), request=request, capture=taken)

    def total(value: str) -> dict[str, Any]:
        return {"seller_payable_breakdown": {"total_refunded_amount": bodies.money(value)}}

    assert read(refund("12.50") | total("12.50")) == Undone(Undoing.REFUNDED, ORDER)
    assert read(refund("3.00") | total("3.00"), asked_minor=300) == Captured(ORDER, 300)
    assert isinstance(read(refund("12.50", status="FAILED")), Declined)
    for bad in (
        refund("12.50"),
        refund("12.50") | total("12.49"),
        refund("12.50") | total("12.51"),
        refund("12.49") | total("12.50"),
        refund("12.50", status="PENDING") | total("12.50"),
        {},
    ):
        assert isinstance(read(bad), InDoubt)


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [(1250, "USD", "12.50"), (5, "EUR", "0.05"), (1250, "JPY", "1250"), (7, "KWD", "0.007")],
)
def test_amounts_are_worded_and_read_back(minor: int, currency: str, text: str) -> None:
    assert money(amount_minor=minor, currency=currency) == {"currency_code": currency, "value": text}
    assert amount_minor({"currency_code": currency, "value": text}, currency=currency) == minor


@pytest.mark.parametrize(
    "text", ["12.505", "-1.00", "1e3", "12,50", "", " 1", "1.", ".5", "NaN", "\uff11\uff12", 12.5, None, True]
)
def test_what_is_no_amount_is_none(text: object) -> None:
    assert amount_minor({"currency_code": "USD", "value": text}, currency="USD") is None


def test_amounts_with_other_zeros_are_the_same() -> None:
    assert amount_minor({"currency_code": "USD", "value": "12.5"}, currency="USD") == 1250
    assert amount_minor({"currency_code": "JPY", "value": "1250.00"}, currency="JPY") == 1250


# The failure table


def test_every_published_code_is_in_the_table() -> None:
    orders, payments = published.load("paypal.orders.json"), published.load("paypal.payments.json")
    codes = set(orders["components"]["schemas"]["processor_response"]["properties"]["response_code"]["enum"])
    of_orders, of_payments = orders["components"]["schemas"], payments["components"]["schemas"]
    refusals = [of_orders[name] for name in ("422", "orders.authorize-422", "orders.capture-422", "orders.patch-422")]
    refusals += [of_payments[name] for name in ("409", "422", "authorizations.void-422", "captures.refund-422")]
    issues = {issue for refusal_ in refusals for issue in _issues(refusal_)}
    missing = (codes | issues) - set(FAILURES.codes) - {"0000"}  # Which is approval.
    assert missing == set()


def test_a_processors_refusal_is_never_a_request_worded_wrongly() -> None:
    codes = published.load("paypal.orders.json")["components"]["schemas"]["processor_response"]
    for code in codes["properties"]["response_code"]["enum"]:
        meaning = FAILURES.codes.get(code, C.DECLINED)
        assert meaning not in {C.INVALID_REQUEST, C.CONFIGURATION, C.ALREADY_DONE, C.KEY_IN_FLIGHT}


def _issues(value: object) -> set[str]:
    if isinstance(value, list):
        return {issue for part in value for issue in _issues(part)}
    if not isinstance(value, dict):
        return set()
    found = {issue for part in value.values() for issue in _issues(part)}
    shown = value.get("properties", {})
    issue = shown.get("issue", {}) if isinstance(shown, dict) else {}
    return found | set(issue.get("enum", ()))
