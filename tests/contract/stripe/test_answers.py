"""What an answer of Stripe's proves, and what proves nothing: bodies as documented, and the same bent."""

from typing import Any

import pytest

from payments.domain.failures import FailureCode as C
from payments.domain.outcomes import (
    Authorized,
    Captured,
    ChargeSeen,
    Declined,
    InDoubt,
    NeverSent,
    Outcome,
    Pending,
    Undoing,
    Undone,
)
from payments.gateways.stripe import answers
from payments.gateways.stripe.intents import Session
from payments.gateways.transport import Answer
from tests.contract.stripe.asking import AMOUNT_MINOR, acting, asking, charging
from tests.contract.stripe.bodies import (
    INTENT,
    SESSION,
    answer,
    card_error,
    charge,
    declined_intent,
    error,
    given_back,
    intent,
    refund,
    refund_list,
    session,
)

REDIRECT = {"redirect_to_url": {"return_url": "https://shop.example", "url": "https://hooks.stripe.com/3d"}}


def created(status: int, body: object) -> Outcome:
    return answers.read_creation(answer(status, body), request=charging())


def looked_up(body: object, *, charge: str = INTENT) -> Outcome:
    return answers.read_charge(answer(200, body), question=asking(), charge=charge)


def captured(status: int, body: object) -> Outcome:
    return answers.read_capture(answer(status, body), request=acting(INTENT), intent=INTENT)


def cancelled(status: int, body: object) -> Outcome:
    return answers.read_cancel(answer(status, body), request=acting(INTENT), intent=INTENT)


def refunded(status: int, body: object, *, amount_minor: int = AMOUNT_MINOR) -> Outcome:
    return answers.read_refund(answer(status, body), request=acting(INTENT, amount_minor=amount_minor), intent=INTENT)


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (intent("succeeded"), Captured(INTENT)),
        (intent("succeeded", latest_charge=charge(amount_refunded=250)), Captured(INTENT, refunded_minor=250)),
        (intent("succeeded", latest_charge=charge(amount_refunded=1250)), Undone(Undoing.REFUNDED, INTENT)),
        (
            intent("succeeded", latest_charge=charge(refunds=refund_list(given_back(1250, "failed")))),
            Captured(INTENT),
        ),
        (
            intent(
                "succeeded",
                latest_charge=charge(
                    amount_refunded=1250,
                    refunds=refund_list(given_back(1000), given_back(1250, "canceled"), given_back(250)),
                ),
            ),
            Undone(Undoing.REFUNDED, INTENT),
        ),
        (intent("requires_capture"), Authorized(INTENT)),
        (intent("processing"), Pending(INTENT, None)),
        (intent("requires_confirmation"), Pending(INTENT, None)),
        (intent("requires_payment_method"), Pending(INTENT, None)),
        (intent("requires_action", next_action=REDIRECT), Pending(INTENT, "https://hooks.stripe.com/3d")),
        (intent("requires_action", next_action={"type": "use_stripe_sdk"}), Pending(INTENT, None)),
        (declined_intent(), Declined(C.DECLINED, "do_not_honor", INTENT)),
        (declined_intent("expired_card", None), Declined(C.EXPIRED_CARD, "expired_card", INTENT)),
        (
            declined_intent("payment_intent_authentication_failure", None),
            Declined(C.AUTHENTICATION_REQUIRED, "payment_intent_authentication_failure", INTENT),
        ),
        (intent("canceled"), Undone(Undoing.VOIDED, INTENT)),
        (intent("canceled", cancellation_reason="abandoned"), Undone(Undoing.VOIDED, INTENT)),
        (intent("canceled", cancellation_reason="automatic"), Undone(Undoing.EXPIRED, INTENT)),
    ],
)
def test_an_intent_is_seen_as_its_status_says(body: object, seen: ChargeSeen) -> None:
    assert looked_up(body) == seen


@pytest.mark.parametrize(
    "body",
    [
        intent("succeeded", id="pi_of_somebody_else"),
        intent("succeeded", id=""),
        intent("succeeded", metadata={"reference": "pay_other"}),
        intent("succeeded", metadata={}),
        intent("succeeded", amount=1251),
        intent("succeeded", currency="eur"),
        intent("succeeded", amount_received=1249),
        intent("succeeded", amount_received=True),
        intent("succeeded", latest_charge="ch_not_shown"),
        intent("succeeded", latest_charge=None),
        intent("succeeded", latest_charge=charge(amount_captured=1249)),
        intent("succeeded", latest_charge=charge(amount_refunded=1251)),
        # A refund that is not over may fail yet; a sum that is not shown in parts may be of one.
        intent(
            "succeeded", latest_charge=charge(amount_refunded=1250, refunds=refund_list(given_back(1250, "pending")))
        ),
        intent("succeeded", latest_charge=charge(refunds=refund_list(given_back(1250, "pending")))),
        intent("succeeded", latest_charge=charge(refunds=refund_list(given_back(1250, "requires_action")))),
        intent("succeeded", latest_charge=charge(amount_refunded=1250, refunds=refund_list())),
        intent("succeeded", latest_charge=charge(amount_refunded=250, refunds=None)),
        intent(
            "succeeded", latest_charge=charge(amount_refunded=250, refunds=refund_list(given_back(250), has_more=True))
        ),
        intent("succeeded", latest_charge=charge(refunds={"data": 5})),
        intent("succeeded", latest_charge=charge(amount_refunded=-1)),
        intent("succeeded", latest_charge=charge(amount_refunded="0")),
        intent("requires_capture", amount_capturable=1249),
        intent("requires_capture", amount_received=1),
        intent("canceled", amount_received=1250),
        intent("canceled", amount_capturable=1250),
        intent("processing", amount_received=1250),
        intent("a_status_of_tomorrow"),
        intent("requires_action", next_action={"redirect_to_url": {"url": "javascript:alert(1)"}}),
        {},
        [],
        None,
    ],
)
def test_an_intent_that_is_not_ours_or_does_not_add_up_proves_nothing(body: object) -> None:
    assert isinstance(looked_up(body), InDoubt)


@pytest.mark.parametrize("status", ["succeeded", "requires_capture", "processing", "canceled"])
def test_a_new_intent_has_to_be_for_our_payment_and_amount(status: str) -> None:
    bent: list[dict[str, Any]] = [{"metadata": {"reference": "pay_other"}}, {"amount": 1251}, {"currency": "eur"}]
    for more in bent:
        assert isinstance(created(200, intent(status, **more)), InDoubt)


@pytest.mark.parametrize("bent", [{"id": "pi_other"}, {"amount": 1251}, {"currency": "eur"}, {"amount_received": 1}])
def test_an_act_has_to_be_done_to_the_intent_that_was_named(bent: dict[str, Any]) -> None:
    assert isinstance(captured(200, intent("succeeded", **bent)), InDoubt)
    assert isinstance(cancelled(200, intent("canceled", **bent)), InDoubt)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, intent("succeeded"), Captured(INTENT)),
        (200, intent("requires_capture"), Authorized(INTENT)),
        (200, intent("processing"), Pending(INTENT, None)),
        (
            402,
            {"error": {**card_error(), "payment_intent": declined_intent()}},
            Declined(C.DECLINED, "do_not_honor", INTENT),
        ),
        (400, error(code="parameter_unknown"), Declined(C.INVALID_REQUEST, "parameter_unknown", None)),
        (400, error(), Declined(C.INVALID_REQUEST, "invalid_request_error", None)),
        (400, error(code="token_already_used"), Declined(C.INVALID_CARD_DATA, "token_already_used", None)),
        *[
            (
                400,
                error(code="parameter_unknown", payment_intent=shown),
                Declined(C.INVALID_REQUEST, "parameter_unknown", None),
            )
            for shown in (intent("requires_payment_method"), intent("requires_confirmation"), declined_intent())
        ],
        (401, error(), Declined(C.CONFIGURATION, "invalid_request_error", None)),
        (403, error(code="secret_key_required"), Declined(C.CONFIGURATION, "secret_key_required", None)),
        (404, error(code="resource_missing"), Declined(C.CONFIGURATION, "resource_missing", None)),
        (429, error(code="rate_limit"), NeverSent(C.RATE_LIMITED, "HTTP 429 rate_limit")),
        (400, error(code="rate_limit"), NeverSent(C.RATE_LIMITED, "HTTP 400 rate_limit")),
    ],
)
def test_a_creation_is_read_as_documented(status: int, body: object, outcome: Outcome) -> None:
    assert created(status, body) == outcome


@pytest.mark.parametrize(
    ("status", "body", "code", "reference"),
    [
        (400, error("idempotency_error"), C.KEY_MISMATCH, ""),
        (409, error("idempotency_error", code="idempotency_key_in_use"), C.KEY_IN_FLIGHT, ""),
        (409, error(code="idempotency_key_in_use"), C.KEY_IN_FLIGHT, ""),
        (409, error(code="something_else"), C.GATEWAY_ERROR, ""),
        (429, error(code="lock_timeout"), C.GATEWAY_ERROR, ""),
        (429, error("card_error", code="card_decline_rate_limit_exceeded"), C.GATEWAY_ERROR, ""),
        (429, error(code="rate_limit", payment_intent=intent("processing")), C.GATEWAY_ERROR, ""),
        (500, error(code="rate_limit"), C.GATEWAY_ERROR, ""),
        (429, {}, C.GATEWAY_ERROR, ""),
        (400, {}, C.GATEWAY_ERROR, ""),
        (500, error("api_error"), C.GATEWAY_ERROR, ""),
        (502, None, C.GATEWAY_ERROR, ""),
        (424, error("api_error"), C.GATEWAY_ERROR, ""),
        # A decline has to come with our own intent, without money.
        (402, {"error": card_error()}, C.GATEWAY_ERROR, ""),
        (402, {"error": {**card_error(), "payment_intent": intent("succeeded")}}, C.GATEWAY_ERROR, INTENT),
        (402, {"error": {**card_error(), "payment_intent": intent("requires_capture")}}, C.GATEWAY_ERROR, INTENT),
        (402, error(payment_intent=declined_intent()), C.GATEWAY_ERROR, INTENT),
        (402, {"error": {**card_error(), "payment_intent": {**declined_intent(), "amount": 1}}}, C.GATEWAY_ERROR, ""),
        # A refusal may show an intent only if that stands idle.
        *[
            (400, error(code="parameter_unknown", payment_intent=shown), C.GATEWAY_ERROR, "")
            for shown in (
                intent("succeeded"),
                intent("requires_capture"),
                intent("processing"),
                intent("requires_action"),
                intent("requires_payment_method", metadata={"reference": "pay_other"}),
                "pi_not_shown",
            )
        ],
        # A confirmed intent cannot wait to be confirmed, nor have been undone.
        (200, intent("requires_confirmation"), C.GATEWAY_ERROR, INTENT),
        (200, intent("requires_payment_method"), C.GATEWAY_ERROR, INTENT),
        (200, declined_intent(), C.GATEWAY_ERROR, INTENT),
        (200, intent("canceled"), C.GATEWAY_ERROR, INTENT),
        (200, intent("succeeded", latest_charge=charge(amount_refunded=1250)), C.GATEWAY_ERROR, INTENT),
        # Only what is wrong with the request itself is refused at the door.
        (400, error("api_error"), C.GATEWAY_ERROR, ""),
        (404, error("api_error"), C.GATEWAY_ERROR, ""),
        (400, error("card_error", code="processing_error"), C.GATEWAY_ERROR, ""),
        (400, error(code="lock_timeout"), C.GATEWAY_ERROR, ""),
    ],
)
def test_a_creation_that_proves_nothing_is_a_doubt(status: int, body: object, code: C, reference: str) -> None:
    outcome = created(status, body)
    assert isinstance(outcome, InDoubt)
    assert (outcome.code, outcome.reference) == (code, reference)


def test_a_capture_is_done_when_all_of_it_was_taken() -> None:
    assert captured(200, intent("succeeded")) == Captured(INTENT)
    assert isinstance(captured(200, intent("requires_capture")), InDoubt)
    assert isinstance(captured(200, intent("canceled")), InDoubt)
    for code in ("payment_intent_unexpected_state", "capture_charge_authorization_expired", "charge_already_captured"):
        assert captured(400, error(code=code)) == Declined(C.ALREADY_DONE, code, INTENT)
    declined = {"error": {**card_error(), "payment_intent": intent("requires_capture")}}
    assert captured(402, declined) == Declined(C.DECLINED, "do_not_honor", INTENT)
    for status in ("canceled", "succeeded"):
        stands = {"error": {**card_error(), "payment_intent": intent(status)}}
        assert isinstance(captured(402, stands), InDoubt)


def test_a_void_is_done_when_the_intent_says_so_itself() -> None:
    assert cancelled(200, intent("canceled")) == Undone(Undoing.VOIDED, INTENT)
    state = "payment_intent_unexpected_state"
    before = error(code=state, payment_intent=intent("canceled", cancellation_reason="automatic"))
    assert cancelled(400, before) == Undone(Undoing.EXPIRED, INTENT)
    paid = error(code=state, payment_intent=intent("succeeded"))
    assert cancelled(400, paid) == Declined(C.ALREADY_DONE, state, INTENT)
    other = error(code=state, payment_intent=intent("canceled", id="pi_other"))
    assert cancelled(400, other) == Declined(C.ALREADY_DONE, state, INTENT)
    for body in (intent("requires_capture"), intent("succeeded"), intent("processing"), {}):
        assert isinstance(cancelled(200, body), InDoubt)


def test_a_refund_says_what_was_given_back_in_all() -> None:
    assert refunded(200, refund()) == Undone(Undoing.REFUNDED, INTENT)
    part = refund(amount=250, charge=charge(amount_refunded=450))
    assert refunded(200, part, amount_minor=250) == Captured(INTENT, refunded_minor=450)
    failed = refund(status="failed", failure_reason="expired_or_canceled_card")
    assert refunded(200, failed) == Declined(C.DECLINED, "expired_or_canceled_card", INTENT)
    for code in ("charge_already_refunded", "payment_intent_unexpected_state"):
        assert refunded(400, error(code=code)) == Declined(C.ALREADY_DONE, code, INTENT)
    assert refunded(400, error(code="charge_disputed")) == Declined(C.BLOCKED, "charge_disputed", INTENT)


@pytest.mark.parametrize(
    "more",
    [
        {"payment_intent": "pi_other"},
        {"amount": 1249},
        {"currency": "eur"},
        {"status": "pending"},
        {"status": "requires_action"},
        {"status": []},
        {"charge": charge(amount_refunded=1250, refunds=refund_list(given_back(1250, "pending")))},
        {"status": None},
        {"charge": "ch_not_shown"},
        {"charge": charge(amount_refunded=1250, payment_intent="pi_other")},
        {"charge": charge(amount_refunded=1249)},
        {"charge": charge(amount_refunded=1251)},
        {"charge": charge(amount_refunded=1250, amount_captured=None)},
    ],
)
def test_a_refund_that_does_not_add_up_proves_nothing(more: dict[str, Any]) -> None:
    assert isinstance(refunded(200, refund(**more)), InDoubt)


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (session("open"), Pending(SESSION, "https://checkout.stripe.com/c/pay/cs_test_a11")),
        # A card that was declined on the page may be followed by another.
        (session("open", payment_intent=declined_intent()), Pending(SESSION, session("open")["url"])),
        (session("complete"), Captured(SESSION)),
        (session("complete", payment_intent=intent("requires_capture")), Authorized(SESSION)),
        (session("complete", payment_intent=intent("processing")), Pending(SESSION, None)),
        (session("complete", payment_intent=declined_intent()), Declined(C.DECLINED, "do_not_honor", SESSION)),
        (session("complete", payment_intent=intent("canceled")), Undone(Undoing.VOIDED, SESSION)),
        (session("expired"), Undone(Undoing.EXPIRED, SESSION)),
        (session("expired", payment_intent=intent("canceled")), Undone(Undoing.EXPIRED, SESSION)),
    ],
)
def test_a_session_is_seen_with_the_intent_that_it_made_and_keeps_its_own_id(body: object, seen: ChargeSeen) -> None:
    assert looked_up(body, charge=SESSION) == seen


@pytest.mark.parametrize(
    "body",
    [
        session("open", id="cs_other"),
        session("open", client_reference_id="pay_other"),
        session("open", amount_total=1),
        session("open", currency="eur"),
        session("open", mode="setup"),
        session("open", url="javascript:alert(1)"),
        session([]),
        session({}),
        session("open", payment_intent=intent("succeeded")),
        session("expired", payment_intent=intent("requires_capture")),
        session("expired", payment_intent=intent("succeeded")),
        session("complete", payment_intent=None),
        session("complete", payment_intent="pi_not_shown"),
        session("complete", payment_intent=intent("succeeded", metadata={"reference": "pay_other"})),
        session("a_status_of_tomorrow"),
        {},
    ],
)
def test_a_session_that_is_not_ours_or_contradicts_its_intent_proves_nothing(body: object) -> None:
    assert isinstance(looked_up(body, charge=SESSION), InDoubt)


def test_a_new_session_has_to_be_open_and_to_lead_somewhere() -> None:
    def read(status: int, body: object) -> Outcome:
        return answers.read_session_creation(answer(status, body), request=charging(payment_token=""))

    assert read(200, session("open")) == Pending(SESSION, session("open")["url"])
    assert isinstance(read(200, session("open", url=None)), InDoubt)
    assert isinstance(read(200, session("complete")), InDoubt)
    assert isinstance(read(200, session("expired")), InDoubt)
    assert read(400, error(code="url_invalid")) == Declined(C.INVALID_REQUEST, "url_invalid", None)


def test_a_session_is_ended_when_it_says_so() -> None:
    def read(status: int, body: object) -> Outcome:
        return answers.read_expiry(answer(status, body), request=acting(SESSION))

    assert read(200, session("expired")) == Undone(Undoing.VOIDED, SESSION)
    assert isinstance(read(200, session("open")), InDoubt)
    assert isinstance(read(200, session("expired", id="cs_other")), InDoubt)
    assert read(400, error()) == Declined(C.ALREADY_DONE, "invalid_request_error", SESSION)
    assert isinstance(read(400, error("idempotency_error")), InDoubt)


def test_the_session_to_act_on_names_its_intent_whole_or_by_id() -> None:
    for shown in (INTENT, intent("succeeded")):
        read = answers.read_session_to_act_on(
            answer(200, session("complete", payment_intent=shown)), request=acting(SESSION)
        )
        assert isinstance(read, Session)
        assert read.intent_id == INTENT


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 500])
def test_a_question_that_was_not_let_in_says_nothing_of_the_charge(status: int) -> None:
    outcome = answers.read_charge(answer(status, error()), question=asking(), charge=INTENT)
    assert isinstance(outcome, InDoubt)


def test_an_answer_that_is_no_json_is_a_doubt() -> None:
    for body in (b"", b"<html>", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000):
        seen = answers.read_creation(Answer(status=200, headers={}, body=body), request=charging())
        assert isinstance(seen, InDoubt)
