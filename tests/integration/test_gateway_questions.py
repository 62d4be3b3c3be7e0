"""What is believed of the sandbox gateway's answers to look-ups and cancels."""

import pytest

from payments.domain.outcomes import Captured, NotFound, Outcome, Several, Undoing, Undone
from tests.answers import (
    AUTHORIZED,
    CANCEL,
    CAPTURED,
    DECLINED,
    EXPIRED,
    LOOK_UP,
    PENDING,
    REFUNDED,
    SEEN,
    VOIDED,
    C,
    assert_doubt,
    error,
    say,
)

# Look-ups


@pytest.mark.parametrize(("charge", "seen"), SEEN)
def test_a_look_up_tells_what_the_charge_is_seen_as(charge: dict[str, object], seen: Outcome) -> None:
    assert say(LOOK_UP, 200, {"data": [charge]}) == seen
    assert_doubt(say(LOOK_UP, 201, {"data": [charge]}))


def test_a_look_up_that_finds_several_tells_them_all() -> None:
    several = Several((Captured("ch_1"), Undone(Undoing.VOIDED, "ch_2")))
    assert say(LOOK_UP, 200, {"data": [CAPTURED, VOIDED | {"id": "ch_2"}]}) == several


def test_a_look_up_that_may_not_be_all_proves_nothing() -> None:
    almost = say(LOOK_UP, 200, {"data": [CAPTURED] * 99})
    assert isinstance(almost, Several)
    assert len(almost.charges) == 99
    assert_doubt(say(LOOK_UP, 200, {"data": [CAPTURED] * 100}))


@pytest.mark.parametrize("content", [{"data": None}, {"data": {}}, {"data": "x"}, CAPTURED, error("not_found")])
def test_only_an_empty_list_says_that_there_is_no_charge(content: object) -> None:
    assert say(LOOK_UP, 200, {"data": []}) == NotFound()
    assert_doubt(say(LOOK_UP, 200, content))


# Cancels


def test_a_key_is_barred_only_if_it_made_no_charge() -> None:
    assert say(CANCEL, 200, {"result": "cancelled_before_execution", "charge": None}) == Undone(Undoing.BARRED, None)
    assert_doubt(say(CANCEL, 200, {"result": "cancelled_before_execution", "charge": VOIDED}))
    assert_doubt(say(CANCEL, 200, {"result": "cancelled_before_execution"}))


@pytest.mark.parametrize(("result", "undone"), [("voided", VOIDED), ("refunded", REFUNDED)])
def test_a_cancelled_key_is_undone_only_if_its_charge_is(result: str, undone: dict[str, object]) -> None:
    assert say(CANCEL, 200, {"result": result, "charge": undone}) == Undone(Undoing(result), "ch_1")
    for charge in (CAPTURED, AUTHORIZED, PENDING, DECLINED, EXPIRED, REFUNDED if result == "voided" else VOIDED):
        assert_doubt(say(CANCEL, 200, {"result": result, "charge": charge}))
    for change in ({"reference": "pay_2"}, {"amount_minor": 1}, {"currency": "EUR"}):
        assert_doubt(say(CANCEL, 200, {"result": result, "charge": undone | change}))
    assert_doubt(say(CANCEL, 201, {"result": result, "charge": undone}))


@pytest.mark.parametrize(("charge", "seen"), SEEN)
def test_a_cancel_that_comes_too_late_tells_what_the_charge_is_seen_as(
    charge: dict[str, object], seen: Outcome
) -> None:
    assert say(CANCEL, 200, {"result": "already_final", "charge": charge}) == seen


@pytest.mark.parametrize("result", [None, "", "done", ["voided"]])
def test_a_cancel_with_a_result_that_nobody_knows_proves_nothing(result: object) -> None:
    for charge in (None, VOIDED, REFUNDED):
        assert_doubt(say(CANCEL, 200, {"result": result, "charge": charge}))


def test_a_key_that_is_not_a_charges_tells_nothing_of_the_charge() -> None:
    assert_doubt(say(CANCEL, 409, error("invalid_state")), C.KEY_MISMATCH)
