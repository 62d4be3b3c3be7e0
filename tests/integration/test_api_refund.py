"""Giving money back over HTTP, and what customers read while their money is on its way back and afterwards."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import clocks, lifecycle, locks
from payments.domain.compensations import CompensationKind, CompensationReason, Owed
from payments.lifecycle.owe import owe
from payments.models import Compensation, PaymentAttempt, StockItem
from payments.transactions import transaction
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.integration.api_client import Api, problem
from tests.integration.test_idempotency import KeyedApi, is_replayed

pytestmark = pytest.mark.django_db(transaction=True)

REFUND: dict[str, Any] = {"reason": "the mug broke on its way"}
RECEIVED = "Your payment was received"


@pytest.fixture
def attempt(customer: User, item: StockItem, sandbox: SandboxProcess, settings: Settings) -> PaymentAttempt:
    """A submitted payment of 12.50; calls to the gateway end after a second."""
    settings.PAYMENT_GATEWAY_TOTAL_SECONDS = 1
    return factories.submit(factories.place_order(customer=customer, item=item, order_id="ORD-1"))


@pytest.fixture
def paid(attempt: PaymentAttempt) -> PaymentAttempt:
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "succeeded"
    attempt.refresh_from_db()
    return attempt


def path(attempt: PaymentAttempt) -> str:
    return f"/api/payments/{attempt.public_id}/refund/"


def message(api: Api, attempt: PaymentAttempt) -> str:
    answer = api.get(f"/api/payments/{attempt.public_id}/")
    assert answer.status_code == 200
    return str(answer.json()["message"])


def order_payment_status(api: Api) -> str:
    return str(api.get("/api/orders/payment-status/ORD-1/").json()["payment_status"])


# Refunds


def test_staff_give_a_whole_payment_back(
    desk: Api, api: Api, staff: User, paid: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    answer = desk.post(path(paid), REFUND)
    row = doubts.the_compensation(paid)
    assert answer.status_code == 202
    assert answer.json() == {
        "id": row.public_id,
        "payment_id": paid.public_id,
        "amount_minor": 1250,
        "currency": "USD",
        "state": "owed",
    }
    assert sandbox.operations() == doubts.PAID  # Nothing moves inside a request.
    assert message(api, paid) == f"{RECEIVED}, and the money is being given back to you."
    assert order_payment_status(api) == "paid"
    doubts.give_everything_back()
    assert sandbox.operations() == doubts.GIVEN_BACK
    assert message(api, paid) == f"{RECEIVED}, and the money has been given back to you."
    assert order_payment_status(api) == "refunded"
    entry = row.history.get(number=1)
    assert (entry.actor, entry.evidence["reason"]) == (f"staff:{staff.id}", REFUND["reason"])


def test_staff_give_a_part_back(desk: Api, api: Api, paid: PaymentAttempt, sandbox: SandboxProcess) -> None:
    answer = desk.post(path(paid), REFUND | {"amount_minor": 300})
    assert (answer.status_code, answer.json()["amount_minor"]) == (202, 300)
    assert message(api, paid) == f"{RECEIVED}, and part of the money is being given back to you."
    doubts.give_everything_back()
    assert sandbox.operations() == [*doubts.PAID, ("refund", 300)]
    assert message(api, paid) == f"{RECEIVED}, and part of the money has been given back to you."
    assert order_payment_status(api) == "paid"


@pytest.mark.parametrize("again", [{}, {"amount_minor": 1250}, {"reason": "asked twice"}])
def test_asking_twice_gives_back_once(
    desk: Api, paid: PaymentAttempt, sandbox: SandboxProcess, again: dict[str, Any]
) -> None:
    first, second = desk.post(path(paid), REFUND), desk.post(path(paid), REFUND | again)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.content == second.content
    doubts.give_everything_back()
    third = desk.post(path(paid), REFUND)
    assert (third.status_code, third.json()) == (202, first.json() | {"state": "done"})
    assert sandbox.operations() == doubts.GIVEN_BACK


@pytest.mark.parametrize(("first", "second"), [({"amount_minor": 300}, {}), ({}, {"amount_minor": 300})])
def test_another_amount_is_refused_and_names_the_refund_that_exists(
    desk: Api, paid: PaymentAttempt, first: dict[str, Any], second: dict[str, Any]
) -> None:
    made = desk.post(path(paid), REFUND | first).json()
    content = problem(desk.post(path(paid), REFUND | second), 409, "refund_refused")
    assert (content["compensation_id"], content["amount_minor"]) == (made["id"], made["amount_minor"])
    assert Compensation.objects.count() == 1


@pytest.mark.parametrize("amount", [1251, 99_999_999_999])
def test_more_than_was_paid_is_refused(desk: Api, paid: PaymentAttempt, amount: int) -> None:
    content = problem(desk.post(path(paid), REFUND | {"amount_minor": amount}), 409, "refund_refused")
    assert content["amount_minor"] == 1250
    assert not Compensation.objects.exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"amount_minor": 0}, "amount_minor"),
        ({"amount_minor": -1}, "amount_minor"),
        ({"amount_minor": 1.5}, "amount_minor"),
        ({"amount_minor": "300"}, "amount_minor"),
        ({"amount_minor": True}, "amount_minor"),
        ({"reason": ""}, "reason"),
        ({"reason": "ab"}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "nul\x00"}, "reason"),
        ({"reason": None}, "reason"),
        ({"staff_id": 1}, "staff_id"),
    ],
)
def test_a_bad_refund_is_refused_by_name(desk: Api, paid: PaymentAttempt, changes: dict[str, Any], named: str) -> None:
    assert named in problem(desk.post(path(paid), REFUND | changes), 422, "invalid_request")["detail"]
    assert not Compensation.objects.exists()


def test_only_staff_give_money_back(
    api: Api, paid: PaymentAttempt, other: User, token_for: Callable[[User], str]
) -> None:
    problem(Api(None).post(path(paid), REFUND), 401, "not_authenticated")
    for who in (api, Api(token_for(other))):
        problem(who.post(path(paid), REFUND), 403, "forbidden")
        problem(who.post(f"/api/payments/pay_{uuid4().hex}/refund/", REFUND), 403, "forbidden")
    assert not Compensation.objects.exists()


def test_there_is_nothing_to_give_back_of_a_payment_that_does_not_exist(desk: Api, db: None) -> None:
    for name in (f"pay_{uuid4().hex}", "nonsense"):
        problem(desk.post(f"/api/payments/{name}/refund/", REFUND), 404, "not_found")


@pytest.mark.parametrize(
    ("token", "state"), [(None, "queued"), ("tok_stolen_card", "failed"), ("tok_reset_after", "in_doubt")]
)
def test_what_was_not_paid_is_not_given_back(
    desk: Api, customer: User, item: StockItem, sandbox: SandboxProcess, token: str | None, state: str
) -> None:
    unpaid = factories.submit(factories.place_order(customer=customer, item=item), token=token or "tok_visa")
    if token is not None:
        assert lifecycle.charge_attempt(attempt_id=unpaid.id) == state
    content = problem(desk.post(path(unpaid), REFUND), 409, "refund_refused")
    assert content["state"] == state
    assert not Compensation.objects.exists()


def test_a_repeated_refund_is_answered_byte_for_byte(
    paid: PaymentAttempt, staff: User, token_for: Callable[[User], str], sandbox: SandboxProcess
) -> None:
    desk = KeyedApi(token_for(staff))
    first = desk.post(path(paid), REFUND)
    doubts.give_everything_back()
    second = desk.post(path(paid), REFUND)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.content == second.content
    assert (is_replayed(first), is_replayed(second)) == (False, True)
    problem(desk.post(path(paid), REFUND | {"amount_minor": 300}), 422, "idempotency_key_reused")
    assert sandbox.operations() == doubts.GIVEN_BACK


def test_a_key_of_somebody_who_may_not_is_not_spent(
    paid: PaymentAttempt, customer: User, staff: User, token_for: Callable[[User], str]
) -> None:
    api = KeyedApi(token_for(customer))
    problem(api.post(path(paid), REFUND), 403, "forbidden")
    customer.is_staff = True
    customer.save()
    assert api.post(path(paid), REFUND).status_code == 202


# Money that goes back without being asked for


@pytest.mark.usefixtures("without_redis")  # The gate knows of the submission, and would answer before the row is read.
def test_a_late_payment_is_told_on_its_way_back_and_afterwards(
    api: Api, attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    sandbox.behave("reset_after", operation="capture", times=1)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    doubts.close_window(attempt.id, seconds_ago=1000)  # The late allowance is over too.
    assert doubts.resolve(attempt) == "expired"
    assert message(api, attempt) == ("Your payment came too late to be accepted. The money is on its way back to you.")
    failure = api.get(f"/api/payments/{attempt.public_id}/").json()["failure"]
    assert failure == {"code": "payment_expired", "message": message(api, attempt)}
    refused = problem(
        api.post(f"/api/payments/{attempt.public_id}/submit/", {"payment_token": "tok_visa"}), 410, "payment_expired"
    )
    assert refused["detail"] == message(api, attempt)
    doubts.give_everything_back()
    assert sandbox.operations() == doubts.GIVEN_BACK
    assert message(api, attempt) == ("Your payment came too late to be accepted. The money has been given back to you.")


def test_what_was_only_held_is_told_as_let_go(api: Api, attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    sandbox.behave("reset_after", operation="authorize", times=1)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    doubts.close_window(attempt.id, seconds_ago=1000)
    assert doubts.resolve(attempt) == "expired"
    assert message(api, attempt) == (
        "Your payment was not completed. What may be held on your card is being let go; you will not be charged."
    )
    doubts.give_everything_back()
    assert sandbox.operations() == doubts.LET_GO
    assert message(api, attempt) == (
        "Your payment was not completed. Nothing is held on your card any more; you have not been charged."
    )


def test_a_decline_with_money_held_says_why_it_failed(
    api: Api, attempt: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    sandbox.behave("insufficient_funds", operation="capture")
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "failed"
    assert doubts.the_compensation(attempt).kind == "void"
    assert message(api, attempt) == "The card has insufficient funds. You have not been charged."
    doubts.give_everything_back()
    assert message(api, attempt) == "The card has insufficient funds. You have not been charged."


def owe_second_charge(paid: PaymentAttempt, sandbox: SandboxProcess) -> Compensation:
    """The gateway charged twice under one attempt, and the second charge was found."""
    charge = sandbox.charge(key="by-mistake", reference=paid.public_id, amount_minor=1250, capture=True).json()
    with transaction():
        order = locks.lock_order(order_id="ORD-1")
        assert order is not None
        owed = Owed(CompensationKind.REFUND, CompensationReason.SECOND_CHARGE, charge["id"])
        row = owe(owed, attempt=paid, order=order, now=clocks.database_now(), actor="resolver")
    assert row is not None
    return row


def test_a_second_charge_that_goes_back_is_not_told_as_a_refund_of_the_payment(
    api: Api, desk: Api, paid: PaymentAttempt, sandbox: SandboxProcess
) -> None:
    owe_second_charge(paid, sandbox)
    assert message(api, paid) == f"{RECEIVED}. Thank you."
    doubts.give_everything_back()
    assert message(api, paid) == f"{RECEIVED}. Thank you."
    assert desk.post(path(paid), REFUND).status_code == 202
    assert message(api, paid) == f"{RECEIVED}, and the money is being given back to you."
    doubts.give_everything_back()
    assert message(api, paid) == f"{RECEIVED}, and the money has been given back to you."
    assert sandbox.operations().count(("refund", 1250)) == 2
