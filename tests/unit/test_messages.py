"""What customers read: every code has its sentence, and every ending and doubt says what happened to the money."""

import re
from itertools import product

import pytest

from payments.api.problems import STATUSES
from payments.domain import errors
from payments.domain.announcements import AnnouncementKind, GivenBack
from payments.domain.errors import PaymentError
from payments.domain.failures import DOUBT_MESSAGES, MESSAGES, FailureCode
from payments.domain.messages import announcement_message, attempt_message, returned_message
from payments.domain.states import TERMINAL, AttemptState

S = AttemptState
DOUBTFUL = (S.IN_DOUBT, S.NEEDS_REVIEW)

# Whole sentences for people: from a capital letter to a full stop, without codes, braces or names of this program.
SENTENCES = re.compile(r"[A-Z][A-Za-z0-9 ,;:'-]*\.( [A-Z][A-Za-z0-9 ,;:'-]*\.)*")
ABOUT_THE_MONEY = re.compile(
    r"You have not been charged|you have not been charged|you will not be charged|was received|[Mm]oney|What was held"
)
NOT_CHARGED = re.compile(r"ou have not been charged")


def is_for_customers(text: str) -> bool:
    return SENTENCES.fullmatch(text) is not None and "_" not in text


@pytest.mark.parametrize("code", FailureCode)
def test_every_failure_says_why_and_what_happened_to_the_money(code: FailureCode) -> None:
    text = attempt_message(state=S.FAILED, failure_code=code)
    assert text == MESSAGES[code]
    assert is_for_customers(text)
    assert ABOUT_THE_MONEY.search(text)
    assert bool(NOT_CHARGED.search(text)) is (code is not FailureCode.GIVEN_BACK)


@pytest.mark.parametrize(("code", "state"), list(product(FailureCode, DOUBTFUL)))
def test_every_doubt_promises_nothing_and_asks_not_to_pay_again(code: FailureCode, state: AttemptState) -> None:
    text = attempt_message(state=state, doubt_code=code)
    assert text == DOUBT_MESSAGES[code]
    assert is_for_customers(text)
    assert "We are finding out whether you were charged." in text
    assert "Please do not pay again" in text
    assert not NOT_CHARGED.search(text)


def test_codes_are_stable_and_each_has_its_own_sentence() -> None:
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code.value) for code in FailureCode)
    # These two are one thing to a customer: the request was wrong, and that is our fault.
    assert MESSAGES[FailureCode.INVALID_REQUEST] == MESSAGES[FailureCode.CONFIGURATION]
    assert len(set(MESSAGES.values())) == len(FailureCode) - 1


def all_errors() -> list[type[PaymentError]]:
    found = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PaymentError)]
    return [kind for kind in found if kind is not PaymentError]


def test_every_refusal_has_a_code_of_its_own_a_title_for_people_and_a_status() -> None:
    kinds = all_errors()
    assert set(STATUSES) == set(kinds) == set(PaymentError.__subclasses__())
    assert len({kind.code for kind in kinds}) == len({kind.title for kind in kinds}) == len(kinds)
    for kind in kinds:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)
        assert is_for_customers(f"{kind.title}.")


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_every_ending_says_what_happened_to_the_money(state: AttemptState) -> None:
    text = attempt_message(state=state, failure_code="declined" if state is S.FAILED else "")
    assert is_for_customers(text)
    assert ABOUT_THE_MONEY.search(text)


@pytest.mark.parametrize("state", sorted(set(AttemptState) - TERMINAL - {S.OPEN}))
def test_whoever_has_paid_and_waits_is_asked_not_to_pay_again(state: AttemptState) -> None:
    text = attempt_message(state=state)
    assert is_for_customers(text)
    assert "Please do not pay again" in text
    assert not NOT_CHARGED.search(text)


@pytest.mark.parametrize(
    ("state", "is_refund", "is_done", "is_whole"),
    list(product(sorted(TERMINAL), (True, False), (True, False), (True, False))),
)
def test_money_that_goes_back_is_told_as_what_it_is(
    state: AttemptState, is_refund: bool, is_done: bool, is_whole: bool
) -> None:
    text = returned_message(state=state, is_refund=is_refund, is_done=is_done, is_whole=is_whole)
    assert is_for_customers(text)
    assert ABOUT_THE_MONEY.search(text)
    is_settled_void = not is_refund and is_done and state is not S.SUCCEEDED
    assert bool(NOT_CHARGED.search(text)) is is_settled_void
    assert ("too late" in text) is (is_refund and state is S.EXPIRED)


@pytest.mark.parametrize(
    ("kind", "state", "way"),
    list(product(AnnouncementKind, [*sorted(TERMINAL), S.NEEDS_REVIEW, None], ["void", "refund", None])),
)
def test_every_announcement_can_be_shown_to_the_customer(
    kind: AnnouncementKind, state: AttemptState | None, way: str | None
) -> None:
    given_back = None if way is None else GivenBack(kind=way, amount_minor=1250, reason="too_late")
    failure_code = "declined" if state is S.FAILED else ""
    text = announcement_message(kind=kind, state=state, failure_code=failure_code, given_back=given_back)
    assert is_for_customers(text)
    assert ABOUT_THE_MONEY.search(text) or "Please do not pay again" in text
