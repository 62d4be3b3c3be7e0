"""Stock that is held for a payment which nobody knows the end of: for a day after the window, and no longer."""

from collections.abc import Iterator

import pgtrigger
import pytest
from django.contrib.auth.models import User
from django.db import connection

from payments import lifecycle
from payments.models import ExpiryFailure, Order, PaymentAttempt, Reservation, StockItem
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess
from tests.factories import steps
from tests.overdue import put_off

pytestmark = pytest.mark.django_db(transaction=True)

DAY = 24 * 3600


@pytest.fixture
def in_doubt(customer: User, item: StockItem, sandbox: SandboxProcess) -> PaymentAttempt:
    """An attempt whose charge was taken by a gateway that then fell silent."""
    attempt = factories.submit(factories.place_order(customer=customer, item=item, quantity=2))
    sandbox.behave("reset_after", operation="capture", times=1)
    assert lifecycle.charge_attempt(attempt_id=attempt.id) == "in_doubt"
    return attempt


@pytest.fixture
def poisoned_stock() -> Iterator[None]:
    """A stock row that refuses to take anything back."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'the row of % is poisoned', NEW.sku; END $$;
            CREATE TRIGGER poison BEFORE UPDATE ON payments_stockitem FOR EACH ROW
            WHEN (NEW.reserved < OLD.reserved) EXECUTE FUNCTION poison()
            """
        )
    yield
    heal()


def heal() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION IF EXISTS poison() CASCADE")


def test_for_a_day_after_the_window_it_is_held(in_doubt: PaymentAttempt, item: StockItem) -> None:
    factories.age_attempt(in_doubt.id, seconds_left=60 - DAY)
    assert lifecycle.release_stock_in_doubt(actor="sweep") == 0
    assert factories.stock_of(item) == (100, 2, 0)


def test_a_database_clock_that_leapt_a_day_ahead_gives_nothing_back(in_doubt: PaymentAttempt, item: StockItem) -> None:
    """By the boot clock an hour has passed: the window is over, and the day after it is not."""
    factories.age_attempt(in_doubt.id, seconds_left=-DAY - 1)
    in_doubt.refresh_from_db()
    stamp = {**in_doubt.opened_stamp, "boot": in_doubt.opened_stamp["boot"] + DAY - 3600}
    with pgtrigger.ignore("payments.PaymentAttempt:attempt_facts"):
        PaymentAttempt.objects.filter(id=in_doubt.id).update(opened_stamp=stamp)
    assert lifecycle.release_stock_in_doubt(actor="sweep") == 0
    assert factories.stock_of(item) == (100, 2, 0)


def test_after_a_day_it_is_given_back_once_and_the_doubt_stays(in_doubt: PaymentAttempt, item: StockItem) -> None:
    factories.age_attempt(in_doubt.id, seconds_left=-DAY - 1)
    before = steps(in_doubt)
    assert lifecycle.perform_sweep().expired_orders == 0
    assert factories.stock_of(item) == (100, 0, 0)
    assert steps(in_doubt) == [*before, ("in_doubt", "sweep", "stock_given_back")]
    assert in_doubt.due_at is not None  # The gateway goes on being asked.
    order = Order.objects.get()
    assert (order.status, order.payment_status) == ("under_paying", "pending")
    assert order.stock_given_back_at is not None
    assert lifecycle.release_stock_in_doubt(actor="sweep") == 0
    assert factories.stock_of(item) == (100, 0, 0)


def test_money_that_turns_up_after_that_goes_back(
    in_doubt: PaymentAttempt, item: StockItem, sandbox: SandboxProcess
) -> None:
    factories.age_attempt(in_doubt.id, seconds_left=-DAY - 1)
    lifecycle.perform_sweep()
    doubts.resolve(in_doubt)
    doubts.give_everything_back()
    assert sandbox.operations() == [("authorize", 2500), ("capture", 2500), ("refund", 2500)]
    assert Order.objects.get().payment_status == "expired"
    assert factories.stock_of(item) == (100, 0, 0)


def test_a_living_attempt_keeps_its_stock(customer: User, item: StockItem) -> None:
    factories.submit(factories.place_order(customer=customer, item=item))
    assert lifecycle.release_stock_in_doubt(actor="sweep") == 0
    assert factories.stock_of(item) == (100, 1, 0)


def test_what_cannot_be_given_back_is_flagged_told_and_tried_again_and_never_half_done(
    in_doubt: PaymentAttempt, item: StockItem, poisoned_stock: None
) -> None:
    factories.age_attempt(in_doubt.id, seconds_left=-DAY - 1)
    assert lifecycle.release_stock_in_doubt(actor="sweep") == 0
    failure = ExpiryFailure.objects.get()
    assert (failure.order_id, failure.reason) == (in_doubt.order_id, "the row of MUG-BLUE is poisoned")
    assert factories.stock_of(item) == (100, 2, 0)
    assert set(Reservation.objects.values_list("state", flat=True)) == {"active"}
    assert Order.objects.get().stock_given_back_at is None
    put_off()
    assert lifecycle.release_stock_in_doubt(actor="sweep") == 0
    assert ExpiryFailure.objects.get().tries == 1  # Not before it is due again.
    heal()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE payments_expiryfailure SET due_at = clock_timestamp()")
    assert lifecycle.release_stock_in_doubt(actor="sweep") == 1
    assert factories.stock_of(item) == (100, 0, 0)
    assert ExpiryFailure.objects.get().resolved_at is not None


def test_a_failing_release_at_expiry_leaves_the_order_whole(
    customer: User, item: StockItem, poisoned_stock: None
) -> None:
    """The same for the stock of an order that expires."""
    attempt = factories.place_order(customer=customer, item=item)
    factories.age_attempt(attempt.id, seconds_left=-1)
    assert lifecycle.sweep_expired().failed_orders == 1
    order = Order.objects.get()
    assert (order.status, order.payment_status) == ("under_paying", "pending")
    assert Reservation.objects.get().state == "active"
    assert factories.stock_of(item) == (100, 1, 0)
    assert ExpiryFailure.objects.get().reason == "the row of MUG-BLUE is poisoned"
    heal()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE payments_expiryfailure SET due_at = clock_timestamp()")
    assert lifecycle.sweep_expired().expired_orders == 1
    assert factories.stock_of(item) == (100, 0, 0)
