"""What PhonePe's answers prove, with bodies as its documentation shows them."""

import json
from dataclasses import replace
from typing import Any

import pytest

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
from payments.gateways.phonepe import refunds
from payments.gateways.phonepe.answers import FAILURES, NoToken, read_creation, read_look_up, read_token, read_void
from payments.gateways.phonepe.refunds import RefundSeen
from payments.gateways.tokens import Token
from payments.gateways.transport import Answer, Broken, Refused
from tests.contract.phonepe.asking import AMOUNT_MINOR, ORDER, act_request, charge_request, question

C = FailureCode

CREATED = {
    "orderId": "OMO123456789",
    "state": "PENDING",
    "expireAt": 1703756259307,
    "redirectUrl": "https://mercury-uat.phonepe.com/transact/uat_v2?token=eyJ",
}
ATTEMPT = {
    "paymentMode": "UPI_QR",
    "transactionId": "OM2403282020198651071949",
    "timestamp": 1711694662542,
    "amount": AMOUNT_MINOR,
    "state": "COMPLETED",
    "rail": {"type": "UPI", "utr": "<utr>", "upiTransactionId": "<upiTransactionId>", "vpa": "<vpa>"},
}
PAID = {
    "orderId": "OMO2403282020198641071317",
    "state": "COMPLETED",
    "amount": AMOUNT_MINOR,
    "payableAmount": AMOUNT_MINOR,
    "feeAmount": 0,
    "expireAt": 1711867462542,
    "paymentDetails": [ATTEMPT],
    "metaInfo": {"udf1": ""},
}
FAILED_ATTEMPT = {**ATTEMPT, "state": "FAILED", "errorCode": "INVALID_MPIN", "detailedErrorCode": "ZM"}
FAILED = {
    **PAID,
    "state": "FAILED",
    "errorCode": "INVALID_MPIN",
    "detailedErrorCode": "ZM",
    "paymentDetails": [FAILED_ATTEMPT],
}
UNPAID = {**PAID, "state": "PENDING", "paymentDetails": []}
UNKNOWN = {"code": "INVALID_MERCHANT_ORDER_ID", "message": "No entry found for given merchant order id"}
NOT_LET_IN = {"success": False, "code": "AUTHORIZATION_FAILED", "message": "Authorization failed", "data": {}}
REFUND = {"refundId": "OMR7896789", "amount": AMOUNT_MINOR, "state": "PENDING"}
REFUNDED = {**REFUND, "originalMerchantOrderId": ORDER, "state": "COMPLETED", "timestamp": 1706629419799}


def answer(status: int, body: Any) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status=status, headers={}, body=raw)


def looked_up(status: int, body: Any) -> Outcome:
    return read_look_up(answer(status, body), question=question())


# New orders


def test_a_new_order_leads_to_its_page() -> None:
    read = read_creation(answer(200, CREATED), request=charge_request())
    assert read == Pending(reference=ORDER, redirect_url=CREATED["redirectUrl"])  # type: ignore[arg-type]  # a text


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, {**CREATED, "state": "COMPLETED"}, C.GATEWAY_ERROR),
        (200, {**CREATED, "redirectUrl": "javascript:alert(1)"}, C.GATEWAY_ERROR),
        (200, {**CREATED, "redirectUrl": "https://x/" + "y" * 2048}, C.GATEWAY_ERROR),
        (200, {**CREATED, "orderId": None}, C.GATEWAY_ERROR),
        (200, [CREATED], C.GATEWAY_ERROR),
        (200, b"<html>It works!</html>", C.GATEWAY_ERROR),
        (201, CREATED, C.GATEWAY_ERROR),
        (417, {"code": "INVALID_MERCHANT_ORDER_ID"}, C.KEY_MISMATCH),
        (417, {"code": "INVALID_TRANSACTION_ID", "message": "Order ID has already been used"}, C.KEY_MISMATCH),
        (400, {"code": "DUPLICATE_TXN_REQUEST"}, C.KEY_MISMATCH),
        (417, {"code": "SOMETHING_ELSE"}, C.GATEWAY_ERROR),
        (400, b"<html>Bad Request</html>", C.GATEWAY_ERROR),
        (404, b"", C.GATEWAY_ERROR),
        (409, {"code": "CONFLICT"}, C.GATEWAY_ERROR),
        (500, {"code": "INTERNAL_SERVER_ERROR", "success": False}, C.GATEWAY_ERROR),
        (503, b"", C.GATEWAY_ERROR),
        (302, b"", C.GATEWAY_ERROR),
    ],
)
def test_an_answer_to_a_new_order_that_proves_nothing_is_a_doubt(status: int, body: Any, code: FailureCode) -> None:
    read = read_creation(answer(status, body), request=charge_request())
    assert isinstance(read, InDoubt)
    # Whether there is an order is not known, so it has no reference yet.
    assert (read.code, read.reference) == (code, "")


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, C.INVALID_REQUEST), (422, C.INVALID_REQUEST), (401, C.CONFIGURATION), (403, C.CONFIGURATION)],
)
def test_a_new_order_that_is_refused_at_the_door_was_not_made(status: int, code: FailureCode) -> None:
    read = read_creation(answer(status, {"code": "BAD_REQUEST", "success": False}), request=charge_request())
    assert read == Declined(code=code, gateway_code="BAD_REQUEST", reference=None)


@pytest.mark.parametrize("body", [{"code": "TOO_MANY_REQUESTS"}, b"slow down"])
def test_too_many_requests_did_nothing(body: Any) -> None:
    assert isinstance(read_creation(answer(429, body), request=charge_request()), NeverSent)
    assert isinstance(looked_up(429, body), NeverSent)


def test_a_doubt_about_a_new_order_does_not_lead_to_its_page() -> None:
    for bent in ({"state": "COMPLETED"}, {"orderId": None}, {"state": 999 * "x"}):
        read = read_creation(answer(200, {**CREATED, **bent}), request=charge_request())
        assert isinstance(read, InDoubt)
        assert "token=" not in read.detail
        assert len(read.detail) < 160


# Orders


def test_an_order_that_was_seen_is_not_unknown_but_asked_for_as_somebody_else() -> None:
    seen_before = replace(question(), charge_reference=ORDER)
    for status in (400, 404, 417):
        seen = read_look_up(answer(status, UNKNOWN), question=seen_before)
        assert isinstance(seen, InDoubt)
        assert (seen.code, seen.reference) == (C.CONFIGURATION, ORDER)


def test_orders_are_read_as_what_they_are() -> None:
    assert looked_up(200, PAID) == Captured(ORDER)
    assert looked_up(200, {**PAID, "merchantOrderId": ORDER, "currency": "INR"}) == Captured(ORDER)
    assert looked_up(200, {**PAID, "paymentDetails": [FAILED_ATTEMPT, ATTEMPT]}) == Captured(ORDER)
    bare_attempt = {"transactionId": "OM1", "state": "COMPLETED"}  # Its amount is looked at where it is shown.
    assert looked_up(200, {**PAID, "paymentDetails": [bare_attempt]}) == Captured(ORDER)
    assert looked_up(200, {**PAID, "paymentDetails": [{**bare_attempt, "amount": None}]}) == Captured(ORDER)
    assert looked_up(200, {**PAID, "paymentDetails": [{**FAILED_ATTEMPT, "amount": 1}, ATTEMPT]}) == Captured(ORDER)
    assert looked_up(200, UNPAID) == Pending(ORDER, None)
    assert looked_up(200, {**UNPAID, "paymentDetails": [FAILED_ATTEMPT]}) == Pending(ORDER, None)
    assert looked_up(200, FAILED) == Declined(C.AUTHENTICATION_REQUIRED, "ZM", ORDER)
    expired = {**FAILED, "errorCode": "TXN_NOT_COMPLETED", "detailedErrorCode": "ORDER_EXPIRED", "paymentDetails": []}
    assert looked_up(200, expired) == Undone(Undoing.EXPIRED, ORDER)
    for status in (400, 404, 417):
        assert looked_up(status, UNKNOWN) == NotFound()


@pytest.mark.parametrize(
    "body",
    [
        {**PAID, "amount": AMOUNT_MINOR - 1},
        {**PAID, "amount": float(AMOUNT_MINOR)},
        {**PAID, "amount": str(AMOUNT_MINOR)},
        {name: value for name, value in PAID.items() if name != "amount"},
        {**PAID, "merchantOrderId": "pay_another"},
        {**PAID, "currency": "USD"},
        {**PAID, "state": "EXPIRED"},
        {**PAID, "state": "completed"},
        {**PAID, "state": None},
        {**PAID, "paymentDetails": []},
        {**PAID, "paymentDetails": [FAILED_ATTEMPT]},
        {**PAID, "paymentDetails": "COMPLETED"},
        {**PAID, "paymentDetails": [None]},
        {**PAID, "paymentDetails": [ATTEMPT, {**ATTEMPT, "transactionId": "OM2"}]},  # Paid twice.
        {**UNPAID, "paymentDetails": [ATTEMPT, {**ATTEMPT, "transactionId": "OM2"}]},
        {**PAID, "paymentDetails": [{**ATTEMPT, "amount": AMOUNT_MINOR - 1}]},
        {**PAID, "paymentDetails": [{**ATTEMPT, "amount": str(AMOUNT_MINOR)}]},
        {**PAID, "paymentDetails": [{"state": ["COMPLETED"]}]},
        {**FAILED, "paymentDetails": [ATTEMPT]},  # Failed, and yet an attempt took the money.
        {**FAILED, "paymentDetails": [{**ATTEMPT, "state": "PENDING"}]},  # Failed, and an attempt may still take it.
        {**FAILED, "detailedErrorCode": "SUCCESS"},
        {**FAILED, "detailedErrorCode": "TXN_STATUS_AWAITED"},
        {},
        b"garbage",
        b"[" * 100_000,
    ],
)
def test_an_order_that_is_not_ours_or_contradicts_itself_is_a_doubt(body: Any) -> None:
    assert isinstance(looked_up(200, body), InDoubt)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"code": "X"}),
        (503, b""),
        (403, {"code": "FORBIDDEN"}),
        (401, NOT_LET_IN),
        (404, b"<html>"),
        (200, UNKNOWN),
    ],
)
def test_a_question_that_was_not_answered_says_nothing_of_the_order(status: int, body: Any) -> None:
    assert isinstance(looked_up(status, body), InDoubt)


def test_every_published_failure_of_an_order_is_one_of_the_customer_the_bank_or_phonepe() -> None:
    """Codes that refuse a request, or say that something was done, would leave an order that failed in doubt."""
    assert len(FAILURES.codes) == 224
    meant = set(FAILURES.codes.values())
    assert not meant & {C.INVALID_REQUEST, C.CONFIGURATION, C.ALREADY_DONE, C.KEY_MISMATCH, C.KEY_IN_FLIGHT}
    for code in ("SUCCESS", "PENDING", "TXN_STATUS_AWAITED", "REFUND_SUBMITTED"):
        assert code not in FAILURES.codes


def test_a_failed_order_without_a_detailed_code_has_its_code() -> None:
    bare = {**FAILED, "detailedErrorCode": None, "errorCode": "INSUFFICIENT_BALANCE"}
    assert looked_up(200, bare) == Declined(C.INSUFFICIENT_FUNDS, "INSUFFICIENT_BALANCE", ORDER)
    assert looked_up(200, {**bare, "errorCode": "NEW_CODE"}) == Declined(C.DECLINED, "NEW_CODE", ORDER)


def test_what_a_void_finds() -> None:
    def void(status: int, body: Any) -> Outcome:
        return read_void(answer(status, body), request=act_request())

    unpaid = void(200, UNPAID)
    assert isinstance(unpaid, InDoubt)
    assert unpaid.reference == ORDER
    assert void(200, PAID) == Declined(C.ALREADY_DONE, "COMPLETED", ORDER)
    assert void(200, FAILED) == Declined(C.ALREADY_DONE, "ZM", ORDER)
    assert void(200, {**FAILED, "detailedErrorCode": "ORDER_EXPIRED"}) == Undone(Undoing.EXPIRED, ORDER)
    assert isinstance(void(400, UNKNOWN), InDoubt)
    assert isinstance(void(200, {**PAID, "amount": 1}), InDoubt)


# Refunds


@pytest.mark.parametrize(
    ("state", "amount_minor", "outcome"),
    [
        ("COMPLETED", AMOUNT_MINOR, Undone(Undoing.REFUNDED, ORDER)),
        ("COMPLETED", 1000, Captured(ORDER, refunded_minor=1000)),
        ("FAILED", AMOUNT_MINOR, Declined(C.DECLINED, "BF_034", ORDER)),
        ("PENDING", AMOUNT_MINOR, InDoubt(C.GATEWAY_ERROR, "the refund is PENDING", ORDER)),
        ("CONFIRMED", AMOUNT_MINOR, InDoubt(C.GATEWAY_ERROR, "the refund is CONFIRMED", ORDER)),
    ],
)
def test_only_a_completed_refund_is_one(state: str, amount_minor: int, outcome: Outcome) -> None:
    request = act_request(amount_minor=amount_minor)
    body = {**REFUNDED, "amount": amount_minor, "state": state, "detailedErrorCode": "BF_034"}
    seen = refunds.read_status(answer(200, body), request=request)
    assert isinstance(seen, RefundSeen)
    assert refunds.ended(seen, request=request, paid_minor=AMOUNT_MINOR) == outcome


@pytest.mark.parametrize(
    "body",
    [
        {**REFUNDED, "amount": AMOUNT_MINOR - 1},
        {**REFUNDED, "amount": True},
        {**REFUNDED, "originalMerchantOrderId": "pay_another"},
        {**REFUNDED, "state": "DONE"},
        {},
        b"garbage",
    ],
)
def test_a_refund_that_is_not_ours_is_a_doubt(body: Any) -> None:
    assert isinstance(refunds.read_status(answer(200, body), request=act_request()), InDoubt)
    assert isinstance(refunds.read_request(answer(200, body), request=act_request()), InDoubt)


def test_a_refund_is_unknown_only_to_who_was_let_in_and_answered() -> None:
    def asked(status: int, body: Any) -> object:
        return refunds.read_status(answer(status, body), request=act_request())

    assert asked(404, {"code": "ANY"}) == NotFound()
    for status in (400, 404, 417):
        assert asked(status, {"code": "INVALID_MERCHANT_REFUND_ID"}) == NotFound()
    for status in (400, 402, 409, 417, 422):
        for code in ("ANY", "BAD_REQUEST", "INVALID_MERCHANT_ORDER_ID"):
            assert isinstance(asked(status, {"code": code}), InDoubt)
    for status, body in [(401, NOT_LET_IN), (403, {"code": "X"}), (500, {"code": "X"}), (404, b"<html>"), (302, b"")]:
        assert isinstance(asked(status, body), InDoubt)
    assert isinstance(asked(429, b""), NeverSent)


def test_what_a_request_for_a_refund_comes_to() -> None:
    def asked(status: int, body: Any) -> object:
        return refunds.read_request(answer(status, body), request=act_request())

    assert asked(200, REFUND) == asked(201, REFUND) == RefundSeen("PENDING")
    for status in (400, 402, 409, 417, 422):
        assert asked(status, {"code": "X"}) == Declined(C.ALREADY_DONE, "X", ORDER)
    assert asked(403, {"code": "FORBIDDEN"}) == Declined(C.CONFIGURATION, "FORBIDDEN", ORDER)
    assert isinstance(asked(400, b"<html>"), InDoubt)
    assert isinstance(asked(500, {"code": "X"}), InDoubt)
    assert isinstance(asked(429, b""), NeverSent)


def test_only_a_paid_order_of_ours_is_refunded() -> None:
    def paid(status: int, body: Any) -> object:
        return refunds.read_paid_amount(answer(status, body), request=act_request())

    assert paid(200, PAID) == AMOUNT_MINOR
    assert paid(200, {**PAID, "amount": 9999}) == 9999
    refused = Declined(C.ALREADY_DONE, "NOT_REFUNDABLE", ORDER)
    assert paid(200, UNPAID) == paid(200, FAILED) == paid(200, {**PAID, "amount": 1}) == refused
    for body in ({**PAID, "merchantOrderId": "x"}, {**PAID, "currency": "USD"}, {**PAID, "amount": None}):
        assert isinstance(paid(200, body), InDoubt)
    assert isinstance(paid(400, UNKNOWN), InDoubt)


# Tokens

ISSUED = {
    "access_token": "eyJ.a.b",
    "encrypted_access_token": "eyJ.a.b",
    "expires_in": 3600,
    "issued_at": 1706073005,
    "expires_at": 1706697605,
    "session_expires_at": 1706697605,
    "token_type": "O-Bearer",
}


def test_a_token_lives_as_long_as_phonepe_says() -> None:
    assert read_token(answer(200, ISSUED)) == Token("eyJ.a.b", life_seconds=3600)
    older = {name: value for name, value in ISSUED.items() if name != "expires_in"}
    assert read_token(answer(200, older)) == Token("eyJ.a.b", life_seconds=624600)


@pytest.mark.parametrize(
    ("result", "code", "is_refused"),
    [
        (answer(200, {**ISSUED, "access_token": ""}), C.GATEWAY_ERROR, False),
        (answer(200, {**ISSUED, "access_token": "a\r\nX-Y: z"}), C.GATEWAY_ERROR, False),
        (answer(200, {**ISSUED, "expires_in": -1}), C.GATEWAY_ERROR, False),
        (answer(200, {"access_token": "x"}), C.GATEWAY_ERROR, False),
        (answer(200, b"garbage"), C.GATEWAY_ERROR, False),
        (answer(401, NOT_LET_IN), C.CONFIGURATION, True),
        (answer(400, b""), C.CONFIGURATION, True),
        (answer(500, b""), C.GATEWAY_ERROR, False),
        (answer(429, b""), C.GATEWAY_ERROR, False),
        (Refused("refused"), C.GATEWAY_UNREACHABLE, False),
        (Broken("reset", by_deadline=False), C.GATEWAY_ERROR, False),
        (Broken("late", by_deadline=True), C.GATEWAY_TIMEOUT, False),
    ],
)
def test_no_token_is_told_with_why(result: Any, code: FailureCode, is_refused: bool) -> None:
    missing = read_token(result)
    assert isinstance(missing, NoToken)
    assert (missing.code, missing.is_refused) == (code, is_refused)


def test_no_secret_is_in_what_is_told_of_a_doubt() -> None:
    missing = read_token(answer(401, {"code": "X", "message": "client_secret=sk"}))
    assert isinstance(missing, NoToken)
    assert "sk" not in missing.detail
