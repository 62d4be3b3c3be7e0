"""The judge is judged: each wrong, put once into facts that are clean, is found by the rule that is there for it."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import lifecycle
from payments.models import Compensation, StockItem
from tests import factories
from tests.contract.sandbox_server import SandboxProcess
from tests.crash import verdict
from tests.crash.aging import age
from tests.crash.facts import Facts, Row, read_facts
from tests.crash.verdict import Rule, find_problems
from tests.system import test_database_url

pytestmark = [pytest.mark.crash, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def facts(item: StockItem, customer: User, sandbox: SandboxProcess, settings: Settings) -> Facts:
    """One order each: paid, failed, given back after its end, and not submitted yet."""
    settings.PAYMENT_RESOLVE_AFTER_SECONDS = 0
    paid, failed, late, _ = (factories.place_order(customer=customer, item=item, quantity=2) for _ in range(4))
    assert lifecycle.charge_attempt(attempt_id=factories.submit(paid).id) == "succeeded"
    assert lifecycle.charge_attempt(attempt_id=factories.submit(failed, token="tok_declined").id) == "failed"
    sandbox.behave("reset_after", operation="capture")
    assert lifecycle.charge_attempt(attempt_id=factories.submit(late).id) == "in_doubt"
    age(late.id, seconds_left=-1000)
    assert lifecycle.resolve_attempt(attempt_id=late.id) == "expired"
    assert lifecycle.compensate(compensation_id=Compensation.objects.get().id) == "done"
    return read_facts(database_url=test_database_url(), ledger=sandbox.ledger())


def test_clean_facts_have_no_problem(facts: Facts) -> None:
    assert find_problems(facts) == []
    assert {attempt["state"] for attempt in facts.attempts} == {"succeeded", "failed", "expired", "open"}
    assert all(getattr(facts, field.name) for field in fields(facts))


def one(rows: list[Row], **values: object) -> Row:
    (row,) = [row for row in rows if all(row[name] == value for name, value in values.items())]
    return row


def of(facts: Facts, state: str) -> Row:
    return one(facts.attempts, state=state)


def change(table: str, *, to: dict[str, object], **values: object) -> Callable[[Facts], None]:
    return lambda facts: one(getattr(facts, table), **values).update(to)


def charge_again(facts: Facts) -> None:
    paid = of(facts, "succeeded")
    charge = one(facts.charges, reference=paid["public_id"])
    facts.charges.append(charge | {"id": "ch_again"})
    moved = [row for row in facts.operations if row["charge_id"] == charge["id"]]
    facts.operations.extend(row | {"charge_id": "ch_again"} for row in moved)


def take_more(facts: Facts) -> None:
    charge = one(facts.charges, reference=of(facts, "succeeded")["public_id"])
    charge["amount_captured_minor"] += 1
    one(facts.operations, operation="capture", charge_id=charge["id"])["amount_minor"] += 1


def capture_in_silence(facts: Facts) -> None:
    charge = one(facts.charges, reference=of(facts, "failed")["public_id"])
    charge["amount_captured_minor"] = charge["amount_minor"]
    moved = facts.operations[0]
    facts.operations.append(
        moved | {"operation": "capture", "charge_id": charge["id"], "amount_minor": charge["amount_minor"]}
    )


def give_back_in_silence(facts: Facts) -> None:
    charge = one(facts.charges, reference=of(facts, "succeeded")["public_id"])
    charge["amount_refunded_minor"] = charge["amount_captured_minor"]
    capture = one(facts.operations, operation="capture", charge_id=charge["id"])
    facts.operations.append(capture | {"operation": "refund"})


def keep_what_is_owed(facts: Facts) -> None:
    facts.operations.remove(one(facts.operations, operation="refund"))
    one(facts.charges, reference=of(facts, "expired")["public_id"])["amount_refunded_minor"] = 0


def succeed_with(reference: str) -> Callable[[Facts], None]:
    return lambda facts: of(facts, "succeeded").update(gateway_reference=reference)


def capture_partly(facts: Facts) -> None:
    charge = one(facts.charges, reference=of(facts, "succeeded")["public_id"])
    charge["amount_captured_minor"] -= 1
    one(facts.operations, operation="capture", charge_id=charge["id"])["amount_minor"] -= 1


def lose_the_success(facts: Facts) -> None:
    paid = of(facts, "succeeded")
    paid["state"] = one(facts.history, attempt_id=paid["id"], to_state="succeeded")["to_state"] = "failed"


def leave(status: str) -> Callable[[Facts], None]:
    return lambda facts: one(facts.charges, reference=of(facts, "failed")["public_id"]).update(status=status)


def begin_late(facts: Facts) -> None:
    paid = of(facts, "succeeded")
    one(facts.calls, attempt_id=paid["id"], operation="authorize")["started_at"] = paid["expires_at"]


def call_again(facts: Facts, **other: object) -> None:
    call = one(facts.calls, attempt_id=of(facts, "succeeded")["id"], operation="authorize")
    facts.calls.append(call | other)


def arrive_again(facts: Facts, **other: object) -> None:
    request = one(facts.requests, reference=of(facts, "succeeded")["public_id"], operation="authorize")
    facts.requests.append(request | other)


def arrive_again_with(**other: object) -> Callable[[Facts], None]:
    def both(facts: Facts) -> None:
        call_again(facts)
        arrive_again(facts, **other)

    return both


def drop_step(number: int) -> Callable[[Facts], None]:
    return lambda facts: facts.history.remove(
        one(facts.history, attempt_id=of(facts, "succeeded")["id"], number=number)
    )


def rewrite_step(number: int, **values: object) -> Callable[[Facts], None]:
    return lambda facts: one(facts.history, attempt_id=of(facts, "succeeded")["id"], number=number).update(values)


def turn_back_time(facts: Facts) -> None:
    opened, queued, *_ = [row for row in facts.history if row["attempt_id"] == of(facts, "succeeded")["id"]]
    opened["at"] = queued["at"] + timedelta(hours=1)


def forget_to_sweep(facts: Facts) -> None:
    of(facts, "open")["expires_at"] = facts.now - timedelta(seconds=11)


def compensation_in(state: str) -> Callable[[Facts], None]:
    def put(facts: Facts) -> None:
        facts.compensations[0]["state"] = facts.compensation_history[-1]["to_state"] = state

    return put


WRONGS: list[tuple[Rule, str, Callable[[Facts], None]]] = [
    (
        verdict.charges_agree_with_what_moved,
        "add up",
        change("charges", status="captured", to={"amount_captured_minor": 0}),
    ),
    (
        verdict.charges_belong_to_attempts,
        "pay_nobody",
        change("charges", status="refunded", to={"reference": "pay_nobody"}),
    ),
    (verdict.orders_are_paid_once_or_not_at_all, "is paid 2 times", charge_again),
    (verdict.orders_are_paid_once_or_not_at_all, "2501 was taken", take_more),
    (verdict.orders_are_paid_once_or_not_at_all, "under_paying: 0 should be with us, 2500 is", capture_in_silence),
    (verdict.orders_are_paid_once_or_not_at_all, "paid: 2500 should be with us, 0 is", give_back_in_silence),
    (verdict.orders_are_paid_once_or_not_at_all, "cancelled: 0 should be with us, 2500 is", keep_what_is_owed),
    (verdict.paid_orders_have_one_success_with_its_charge, "0 successes", lose_the_success),
    (verdict.paid_orders_have_one_success_with_its_charge, "'ch_other'", succeed_with("ch_other")),
    (verdict.paid_orders_have_one_success_with_its_charge, "not captured whole", capture_partly),
    (verdict.attempts_that_ended_leave_nothing_open, "is authorized", leave("authorized")),
    (verdict.attempts_that_ended_leave_nothing_open, "is pending", leave("pending")),
    (verdict.calls_that_may_take_money_began_in_time, "0:00:00 after its deadline", begin_late),
    (verdict.attempts_have_one_key_and_one_request, "in its calls", lambda facts: call_again(facts, request_hash="x")),
    (
        verdict.attempts_have_one_key_and_one_request,
        "in its calls",
        lambda facts: call_again(facts, idempotency_key="x"),
    ),
    (verdict.attempts_have_one_key_and_one_request, "came to the gateway", arrive_again_with(body_hash="x")),
    (verdict.attempts_have_one_key_and_one_request, "came to the gateway", arrive_again_with(idempotency_key="x")),
    (verdict.nothing_arrived_that_was_not_written_down, "arrived 2 times and was written down 1", arrive_again),
    (verdict.everything_has_come_to_rest, "is still queued", lambda facts: of(facts, "open").update(state="queued")),
    (verdict.everything_has_come_to_rest, "is still open", forget_to_sweep),
    (verdict.everything_has_come_to_rest, "is still in_doubt", compensation_in("in_doubt")),
    (verdict.stock_adds_up, "are not 100 received", lambda facts: facts.items[0].update(on_hand=97)),
    (verdict.stock_adds_up, "5 reserved, 4 in active", lambda facts: facts.items[0].update(reserved=5)),
    (verdict.stock_adds_up, "4 sold, 2 in paid", lambda facts: facts.items[0].update(sold=4, on_hand=96)),
    (verdict.stock_adds_up, "0 in consumed", change("reservations", state="consumed", to={"state": "released"})),
    (
        verdict.reservations_end_with_their_orders,
        "is paid, and",
        change("reservations", state="consumed", to={"state": "active"}),
    ),
    (verdict.histories_are_whole, "version 4, and its history has [1, 3, 4]", drop_step(2)),
    (verdict.histories_are_whole, "3. from open to charging is no way", rewrite_step(3, from_state="open")),
    (verdict.histories_are_whole, "3. from open to charging, when it was queued", rewrite_step(3, from_state="open")),
    (verdict.histories_are_whole, "its history ends with charging", drop_step(4)),
    (verdict.histories_are_whole, "back in time", turn_back_time),
    (
        verdict.histories_are_whole,
        "from nothing to calling is no way",
        lambda facts: facts.compensation_history[0].update(to_state="calling"),
    ),
]


def test_every_wrong_is_found_by_its_rule(facts: Facts) -> None:
    for rule, words, do_wrong in WRONGS:
        wrong: Any = deepcopy(facts)
        do_wrong(wrong)
        assert any(words in problem for problem in rule(wrong)), (rule.__name__, words, list(rule(wrong)))


def test_no_rule_is_without_a_wrong() -> None:
    assert {rule for rule, _, _ in WRONGS} == set(verdict.RULES)
