"""`manage.py decide_review`: what waits for a person, what a person decides, and what each wrong question is told."""

import re
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from pytest_django import Settings

from payments import lifecycle
from payments.models import Compensation, Order, PaymentAttempt, StockItem
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.doubts import compensation_steps
from tests.factories import steps

pytestmark = pytest.mark.django_db(transaction=True)

NOBODY = "0" * 32


@pytest.fixture
def attempt(
    customer: User, staff: User, item: StockItem, sandbox: SandboxProcess, settings: Settings
) -> PaymentAttempt:
    """A payment of 12.50 that the gateway took, without an answer that came through, under review."""
    settings.PAYMENT_GATEWAY_TOTAL_SECONDS = 1
    made = factories.submit(factories.place_order(customer=customer, item=item, order_id="ORD-1"))
    sandbox.behave("reset_after", operation="capture", times=1)
    assert lifecycle.charge_attempt(attempt_id=made.id) == "in_doubt"
    doubts.put_under_review(made, sandbox)
    return made


@pytest.fixture
def compensation(customer: User, staff: User, item: StockItem, sandbox: SandboxProcess) -> Compensation:
    """A refund of 12.50 that could not be made for a day, under review."""
    paid = factories.submit(factories.place_order(customer=customer, item=item, order_id="ORD-2"))
    assert lifecycle.charge_attempt(attempt_id=paid.id) == "succeeded"
    row = lifecycle.refund_payment(attempt_id=paid.id, staff_id=staff.id, reason="a test")
    sandbox.behave("unavailable", operation="all")
    doubts.age_compensation(row, hours=25)
    for _ in range(2):
        doubts.give_back(row)
    sandbox.behave_normally()
    row.refresh_from_db()
    assert row.state == "needs_review"
    return row


def decide(*arguments: str) -> list[str]:
    """The lines that the command printed."""
    output = StringIO()
    call_command("decide_review", *arguments, stdout=output)
    return output.getvalue().splitlines()


def refused(*arguments: str) -> tuple[int, str]:
    """The exit code and what was said."""
    with pytest.raises(CommandError) as error:
        decide(*arguments)
    return error.value.returncode, str(error.value)


BY_STAFF = ("--staff", "staff", "--reason", "seen in the gateway's dashboard")


def test_nothing_under_review_is_said(db: None) -> None:
    assert decide() == ["0 under review"]


def test_what_is_under_review_is_listed_oldest_first(attempt: PaymentAttempt, compensation: Compensation) -> None:
    first, second, count = decide()
    at = r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
    assert re.fullmatch(f"{attempt.public_id}  ORD-1  {at}  gateway_error  12\\.50 USD", first)
    assert re.fullmatch(f"{compensation.public_id}  ORD-2  {at}  refund, staff  12\\.50 USD", second)
    assert count == "2 under review"


def test_a_payment_that_succeeded_pays_its_order(
    attempt: PaymentAttempt, staff: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    (charge,) = sandbox.ledger()["charges"]
    said = decide(attempt.public_id, "succeeded", "--reference", charge["id"], *BY_STAFF)
    assert said == [f"{attempt.public_id}: succeeded"]
    assert steps(attempt)[-1] == ("succeeded", "staff", "reviewed")
    entry = attempt.history.get(number=attempt.version)
    assert (entry.actor, entry.evidence["reason"]) == (f"staff:{staff.id}", "seen in the gateway's dashboard")
    assert Order.objects.get().status == "paid"
    assert factories.stock_of(item) == (99, 0, 1)
    assert decide() == ["0 under review"]


def test_a_payment_that_failed_is_made_sure_of(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    assert decide(attempt.public_id, "failed", *BY_STAFF) == [f"{attempt.public_id}: failed"]
    attempt.refresh_from_db()
    assert attempt.failure_code == "gateway_error"
    doubts.give_everything_back()
    assert sandbox.operations() == doubts.GIVEN_BACK  # The money had moved, and the person was wrong.


@pytest.mark.breaks_invariants
def test_a_success_of_an_order_that_was_closed_goes_back(attempt: PaymentAttempt, sandbox: SandboxProcess) -> None:
    (charge,) = sandbox.ledger()["charges"]
    Order.objects.update(status="cancelled", payment_status="cancelled", closed_at=attempt.opened_at)
    state, explained = decide(attempt.public_id, "succeeded", "--reference", charge["id"], *BY_STAFF)
    assert state == f"{attempt.public_id}: failed"
    assert "owed back" in explained
    doubts.give_everything_back()
    assert sandbox.operations() == doubts.GIVEN_BACK


def test_a_compensation_that_was_done_by_hand_is_done(compensation: Compensation, sandbox: SandboxProcess) -> None:
    assert decide(compensation.public_id, "done", *BY_STAFF) == [f"{compensation.public_id}: done"]
    assert compensation_steps(compensation)[-1] == ("done", "staff", "reviewed")
    doubts.give_everything_back()
    assert sandbox.operations() == doubts.PAID
    assert Order.objects.get().payment_status == "refunded"


def test_a_compensation_is_tried_again(compensation: Compensation, sandbox: SandboxProcess) -> None:
    assert decide(compensation.public_id, "again", *BY_STAFF) == [f"{compensation.public_id}: owed"]
    doubts.give_everything_back()
    assert sandbox.operations() == doubts.GIVEN_BACK
    assert compensation_steps(compensation)[-1][0] == "done"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("ord_" + NOBODY, "failed", *BY_STAFF), f"'ord_{NOBODY}' is not the id of a payment or a compensation"),
        (("pay_1", "failed", *BY_STAFF), "'pay_1' is not the id of a payment or a compensation"),
        (("pay_" + NOBODY, "lost", *BY_STAFF), "invalid choice: 'lost'"),
        (("pay_" + NOBODY, *BY_STAFF), "A payment is decided as succeeded or failed, not as nothing."),
        (("pay_" + NOBODY, "done", *BY_STAFF), "A payment is decided as succeeded or failed, not as done."),
        (("cmp_" + NOBODY, "failed", *BY_STAFF), "A compensation is decided as done or again, not as failed."),
        (("pay_" + NOBODY, "failed", "--reference", "ch_1", *BY_STAFF), "--reference names the charge"),
        (("pay_" + NOBODY, "succeeded", "--reference", "c" * 256, *BY_STAFF), "--reference has 256 characters"),
        (("pay_" + NOBODY, "failed", "--staff", "staff"), "A decision needs a reason"),
        (("pay_" + NOBODY, "failed", "--staff", "staff", "--reason", "  "), "A decision needs a reason"),
        (("pay_" + NOBODY, "failed", "--reason", "seen"), "A decision needs somebody who takes it"),
        (
            ("pay_" + NOBODY, "failed", "--staff", "customer", "--reason", "seen"),
            "no active member of staff 'cust",
        ),
        (("pay_" + NOBODY, "failed", "--staff", "nobody", "--reason", "seen"), "no active member of staff 'nobody'"),
        (("pay_" + NOBODY, "failed", "--staff", "gone", "--reason", "seen"), "no active member of staff 'gone'"),
    ],
)
@pytest.mark.usefixtures("customer", "staff")
def test_a_wrong_question_is_told_what_was_wrong(arguments: tuple[str, ...], named: str) -> None:
    User.objects.create(username="gone", is_staff=True, is_active=False)
    code, said = refused(*arguments)
    assert named in said
    assert code == (1 if said.startswith("Error: argument") else 2)  # From a shell argparse ends with 2 itself.


@pytest.mark.usefixtures("staff")
def test_what_does_not_exist_is_told_by_its_id() -> None:
    for name, verdict in (("pay_", "failed"), ("cmp_", "done")):
        code, said = refused(name + NOBODY, verdict, *BY_STAFF)
        assert code == 1
        assert said.startswith(f"{name}{NOBODY}: There is no such ")


def test_what_is_not_under_review_is_told_as_what_it_is(attempt: PaymentAttempt) -> None:
    assert decide(attempt.public_id, "failed", *BY_STAFF)
    (void,) = Compensation.objects.all()
    assert refused(attempt.public_id, "failed", *BY_STAFF) == (
        1,
        f"{attempt.public_id}: The payment is failed, not under review.",
    )
    assert refused(void.public_id, "done", *BY_STAFF) == (
        1,
        f"{void.public_id}: The compensation is owed, not under review.",
    )


def test_a_success_without_its_charge_decides_nothing(attempt: PaymentAttempt) -> None:
    code, said = refused(attempt.public_id, "succeeded", *BY_STAFF)
    assert (code, "needs the gateway's reference" in said) == (1, True)
    assert steps(attempt)[-1][0] == "needs_review"
