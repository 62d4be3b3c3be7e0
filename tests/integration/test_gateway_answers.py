"""What is believed of the sandbox gateway's answers: an outcome claims only what is proven."""

import inspect
import types
import typing
from collections.abc import MutableMapping
from typing import Any

import pytest

from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Authorized,
    Captured,
    Declined,
    NeverSent,
    Operation,
    Outcome,
    Pending,
    Undoing,
    Undone,
)
from payments.gateways.protocol import Gateway
from payments.gateways.sandbox.adapter import SandboxGateway
from tests.answers import (
    ACTS,
    AMOUNTS,
    AUTHORIZED,
    CANCEL,
    CAPTURED,
    CREATION,
    DECLINED,
    EVERYTHING,
    EXPIRED,
    LOOK_UP,
    MOVES,
    PENDING,
    QUESTIONS,
    REFUNDED,
    SEEN,
    UNBELIEVABLE,
    VOIDED,
    C,
    Read,
    assert_doubt,
    error,
    say,
)

# Nothing new goes unread


def test_every_operation_has_a_method_of_the_gateway() -> None:
    asked_for = {name for name, _ in inspect.getmembers(Gateway, inspect.isfunction) if not name.startswith("_")}
    of_no_payment = {"check", "close", "read_event"}
    assert asked_for - of_no_payment == {operation.value for operation in Operation}
    for name in asked_for - {"close"}:
        assert inspect.signature(getattr(SandboxGateway, name)) == inspect.signature(getattr(Gateway, name))


def test_every_outcome_is_read_from_some_answer() -> None:
    read = [
        *(say(LOOK_UP, 200, {"data": [charge]}) for charge, _ in SEEN),
        say(LOOK_UP, 200, {"data": [CAPTURED, VOIDED]}),
        say(LOOK_UP, 200, {"data": []}),
        say(LOOK_UP, 429, error("rate_limited")),
        say(LOOK_UP, 500, error("internal_error")),
        say(CANCEL, 200, {"result": "cancelled_before_execution", "charge": None}),
    ]
    assert {type(outcome) for outcome in read} == members(Outcome)
    assert {outcome.how for outcome in read if isinstance(outcome, Undone)} == set(Undoing)


def members(union: Any) -> set[type]:
    assert isinstance(union, types.UnionType)
    return set(typing.get_args(union))


# Unreadable, broken, or at the door


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\xff", b"[" * 100_000, b'"text"', b"null", b"[]", b"{}", b'{"error": "text"}']
)
@pytest.mark.parametrize("read", EVERYTHING.values(), ids=EVERYTHING.keys())
def test_what_cannot_be_read_is_a_doubt(read: Read, body: bytes) -> None:
    for status in (200, 201, 204, 302, 400, 401, 402, 403, 404, 405, 409, 429, 500, 503):
        assert_doubt(say(read, status, body))


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("read", EVERYTHING.values(), ids=EVERYTHING.keys())
def test_an_error_of_the_gateway_is_a_doubt_whatever_it_says(read: Read, status: int) -> None:
    codes = ("internal_error", "card_declined", "key_cancelled", "invalid_state", "rate_limited", "not_found")
    for content in (*(error(code, decline_code="declined", charge=DECLINED) for code in codes), *(c for c, _ in SEEN)):
        assert_doubt(say(read, status, content))
    assert_doubt(say(read, status, {"data": [], "result": "cancelled_before_execution", "charge": None}))


@pytest.mark.parametrize("status", [302, 402, 405, 409])
@pytest.mark.parametrize("read", EVERYTHING.values(), ids=EVERYTHING.keys())
def test_a_code_that_nobody_knows_is_a_doubt(read: Read, status: int) -> None:
    assert_doubt(say(read, status, error("zq_17")))


@pytest.mark.parametrize("read", EVERYTHING.values(), ids=EVERYTHING.keys())
def test_a_busy_gateway_did_nothing(read: Read) -> None:
    assert say(read, 429, error("rate_limited")) == NeverSent(C.RATE_LIMITED, "HTTP 429 rate_limited")


REFUSALS = [
    (400, "invalid_request", C.INVALID_REQUEST),
    (401, "unauthorized", C.CONFIGURATION),
    (403, "forbidden", C.CONFIGURATION),
    (404, "not_found", C.CONFIGURATION),
]


@pytest.mark.parametrize(("status", "code", "failure"), REFUSALS)
def test_what_is_refused_at_the_door_was_not_done(status: int, code: str, failure: FailureCode) -> None:
    assert say(CREATION, status, error(code)) == Declined(failure, code, None)
    for read in ACTS.values():
        assert say(read, status, error(code)) == Declined(failure, code, "ch_1")


@pytest.mark.parametrize(("status", "code", "failure"), REFUSALS)
@pytest.mark.parametrize("read", QUESTIONS.values(), ids=QUESTIONS.keys())
def test_a_question_refused_at_the_door_says_nothing_of_the_charge(
    read: Read, status: int, code: str, failure: FailureCode
) -> None:
    assert_doubt(say(read, status, error(code)), failure)


@pytest.mark.parametrize(
    ("code", "spelled"),
    [(5, "5"), ("a\x00b", r"'a\x00b'"), ("\ud800", r"'\ud800'"), ("x" * 100, "x" * 64)],
)
def test_a_code_is_kept_in_a_form_that_fits(code: object, spelled: str) -> None:
    assert say(CREATION, 400, error(code)) == Declined(C.INVALID_REQUEST, spelled, None)


# Keys


@pytest.mark.parametrize("read", MOVES.values(), ids=MOVES.keys())
def test_what_a_key_did_before_is_left_open_by_its_refusal(read: Read) -> None:
    assert_doubt(say(read, 400, error("idempotency_key_mismatch")), C.KEY_MISMATCH)
    assert_doubt(say(read, 409, error("idempotency_key_in_use")), C.KEY_IN_FLIGHT)


@pytest.mark.parametrize("read", MOVES.values(), ids=MOVES.keys())
def test_a_cancelled_key_is_barred_for_ever(read: Read) -> None:
    assert say(read, 409, error("key_cancelled")) == Undone(Undoing.BARRED, None)
    assert_doubt(say(read, 402, error("key_cancelled")))


@pytest.mark.parametrize("read", QUESTIONS.values(), ids=QUESTIONS.keys())
def test_a_question_has_no_key_to_be_barred(read: Read) -> None:
    assert_doubt(say(read, 409, error("key_cancelled")))


# New charges


@pytest.mark.parametrize(("charge", "seen"), SEEN)
def test_a_new_charge_is_captured_held_or_pending(charge: dict[str, object], seen: Outcome) -> None:
    outcome = say(CREATION, 201, charge)
    if isinstance(seen, Captured | Authorized | Pending):
        assert outcome == seen
    else:
        assert_doubt(outcome)
    assert_doubt(say(CREATION, 200, charge))


@pytest.mark.parametrize("charge", [*UNBELIEVABLE, CAPTURED | {"reference": "pay_2"}])
def test_a_charge_that_is_not_ours_or_cannot_be_proves_nothing(charge: object) -> None:
    assert_doubt(say(CREATION, 201, charge))
    assert_doubt(say(CREATION, 402, error("card_declined", decline_code="declined", charge=charge)))
    assert_doubt(say(LOOK_UP, 200, {"data": [charge]}))
    assert_doubt(say(LOOK_UP, 200, {"data": [CAPTURED, charge]}))
    assert_doubt(say(CANCEL, 200, {"result": "already_final", "charge": charge}))


def test_a_decline_is_believed_with_its_declined_charge_only() -> None:
    declined = Declined(C.EXPIRED_CARD, "expired_card", "ch_1")
    assert say(CREATION, 402, error("card_declined", decline_code="expired_card", charge=DECLINED)) == declined
    for charge in (CAPTURED, AUTHORIZED, PENDING, VOIDED):
        assert_doubt(say(CREATION, 402, error("card_declined", decline_code="expired_card", charge=charge)))
    assert_doubt(say(CREATION, 402, error("card_declined", decline_code="expired_card")))
    assert_doubt(say(CREATION, 402, error("something_else", charge=DECLINED)))


@pytest.mark.parametrize(("decline_code", "spelled"), [("unheard_of", "unheard_of"), (None, ""), ({}, "{}")])
def test_an_unknown_decline_is_a_plain_one_and_is_logged(
    decline_code: object, spelled: str, captured_logs: list[MutableMapping[str, Any]]
) -> None:
    charge = DECLINED | {"decline_code": decline_code}
    assert say(LOOK_UP, 200, {"data": [charge]}) == Declined(C.DECLINED, spelled, "ch_1")
    assert [(entry["event"], entry["gateway_code"]) for entry in captured_logs] == [("unknown_gateway_code", spelled)]


# Acts


DONE: list[tuple[str, object, Outcome]] = [
    ("capture", CAPTURED, Captured("ch_1")),
    ("void", VOIDED, Undone(Undoing.VOIDED, "ch_1")),
    ("refund", CAPTURED | {"amount_refunded_minor": 300}, Captured("ch_1", refunded_minor=300)),
    ("refund", CAPTURED | {"amount_refunded_minor": 900}, Captured("ch_1", refunded_minor=900)),
    ("refund", REFUNDED, Undone(Undoing.REFUNDED, "ch_1")),
]


@pytest.mark.parametrize(("name", "charge", "outcome"), DONE)
def test_an_act_that_was_done_is_believed(name: str, charge: object, outcome: Outcome) -> None:
    assert say(ACTS[name], 200, charge) == outcome
    assert_doubt(say(ACTS[name], 201, charge))


@pytest.mark.parametrize(
    ("name", "charge"),
    [
        *(("capture", charge) for charge in (AUTHORIZED, PENDING, DECLINED, VOIDED, EXPIRED, REFUNDED)),
        *(("void", charge) for charge in (AUTHORIZED, PENDING, DECLINED, CAPTURED, EXPIRED, REFUNDED)),
        *(("refund", charge) for charge in (AUTHORIZED, PENDING, DECLINED, VOIDED, EXPIRED, CAPTURED)),
        ("refund", CAPTURED | {"amount_refunded_minor": 299}),
        *(("refund", REFUNDED | dict.fromkeys(AMOUNTS, whole)) for whole in (0, 299)),
        ("capture", CAPTURED | {"amount_minor": 1300, "amount_captured_minor": 1300}),
        ("capture", CAPTURED | {"amount_minor": 1300}),
        ("void", VOIDED | {"amount_minor": 1300}),
    ],
)
def test_an_act_whose_charge_shows_something_else_proves_nothing(name: str, charge: object) -> None:
    assert_doubt(say(ACTS[name], 200, charge))


@pytest.mark.parametrize(("name", "charge"), [(name, charge) for name, charge, _ in DONE])
@pytest.mark.parametrize("change", [{"id": "ch_2"}, {"id": None}, {"currency": "EUR"}, {"amount_minor": 0}])
def test_an_act_done_to_another_charge_proves_nothing(
    name: str, charge: dict[str, object], change: dict[str, object]
) -> None:
    assert_doubt(say(ACTS[name], 200, charge | change))


@pytest.mark.parametrize("code", ["invalid_state", "refund_exceeds_captured", "capture_exceeds_authorized"])
def test_an_act_that_the_charge_is_in_no_state_for_was_done_already(code: str) -> None:
    for read in ACTS.values():
        assert say(read, 409, error(code)) == Declined(C.ALREADY_DONE, code, "ch_1")
        assert_doubt(say(read, 402, error(code)))
    assert_doubt(say(CREATION, 409, error(code)))
    assert_doubt(say(LOOK_UP, 409, error(code)))


@pytest.mark.parametrize(
    ("name", "untouched"), [("capture", AUTHORIZED), ("void", AUTHORIZED), ("void", PENDING), ("refund", CAPTURED)]
)
def test_a_declined_act_is_believed_if_the_charge_is_untouched(name: str, untouched: dict[str, object]) -> None:
    def decline(charge: object) -> Outcome:
        return say(ACTS[name], 402, error("card_declined", decline_code="insufficient_funds", charge=charge))

    assert decline(untouched) == Declined(C.INSUFFICIENT_FUNDS, "insufficient_funds", "ch_1")
    assert_doubt(decline(untouched | {"id": "ch_2"}))
    assert_doubt(decline(untouched | {"currency": "EUR"}))
    assert_doubt(decline(DECLINED))
    assert_doubt(decline(CAPTURED if name == "capture" else VOIDED))
    assert_doubt(decline(None))
