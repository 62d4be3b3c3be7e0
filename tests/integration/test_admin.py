"""The admin shows every row and changes none of the domain's."""

from typing import cast
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client

from payments import clockevents, clockwatch, lifecycle
from payments.domain.clock import Detection
from payments.models import ClockEvent, ClockWitness, ExpiryFailure, PaymentAttempt, StockItem
from payments.ops.admin import PaymentAttemptAdmin
from tests import factories
from tests.contract.sandbox_server import SandboxProcess, wait_until
from tests.overdue import due_order, heal, make_due_again

pytestmark = pytest.mark.django_db(transaction=True)


def test_every_page_opens_and_offers_no_change(client: Client, customer: User, item: StockItem) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item, order_id="ORD-1"))
    client.force_login(User.objects.create_superuser("root"))
    for path, shown in (
        ("order/", "ORD-1"),
        (f"order/{attempt.order_id}/change/", "MUG-BLUE"),
        ("paymentattempt/", attempt.public_id),
        (f"paymentattempt/{attempt.pk}/change/", "submitted"),
        ("stockitem/", "MUG-BLUE"),
        ("staffaction/", "staff actions"),
        ("webhookevent/", "webhook events"),
    ):
        page = client.get(f"/admin/payments/{path}")
        assert page.status_code == 200, path
        assert shown in page.content.decode(), path
    assert "tok_visa" not in client.get(f"/admin/payments/paymentattempt/{attempt.pk}/change/").content.decode()
    for path in ("order/add/", f"order/{attempt.order_id}/delete/", f"paymentattempt/{attempt.pk}/delete/"):
        assert client.get(f"/admin/payments/{path}").status_code == 403, path
    assert (
        client.post(f"/admin/payments/paymentattempt/{attempt.pk}/change/", {"state": "succeeded"}).status_code == 403
    )


def test_money_that_goes_back_is_shown_with_its_history_and_its_calls(
    client: Client, customer: User, item: StockItem, sandbox: SandboxProcess
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item, order_id="ORD-1"))
    lifecycle.charge_attempt(attempt_id=attempt.id)
    staff = User.objects.create_superuser("root")
    row = lifecycle.refund_payment(attempt_id=attempt.id, staff_id=staff.pk, reason="it was broken")
    assert lifecycle.compensate(compensation_id=row.id) == "done"
    client.force_login(staff)
    assert "ORD-1" in client.get("/admin/payments/compensation/?state=done").content.decode()
    page = client.get(f"/admin/payments/compensation/{row.id}/change/").content.decode()
    assert "it was broken" in page
    assert "refunded" in page
    assert row.charge_reference in client.get(f"/admin/payments/paymentattempt/{attempt.pk}/change/").content.decode()
    assert client.get(f"/admin/payments/compensation/{row.id}/delete/").status_code == 403


@pytest.fixture
def events(client: Client, customer: User, item: StockItem) -> list[ClockEvent]:
    """One of an attempt, one of none."""
    attempt = factories.submit(factories.place_order(customer=customer, item=item, order_id="ORD-1"))
    clockevents.record(
        kind=Detection.DB_STEP_FORWARD, seconds=3600.0, detail="it <leapt>", attempt_id=attempt.id, evidence={"a": [1]}
    )
    clockevents.record(kind=Detection.WALL_STEP, seconds=-2.0, detail="of this host")
    assert clockevents.flush(timeout_seconds=10)
    client.force_login(User.objects.create_superuser("root"))
    return list(ClockEvent.objects.order_by("id"))


def listed(client: Client, query: str) -> list[str]:
    """The kinds of the events that a list shows, in its order."""
    page = client.get(f"/admin/payments/clockevent/?{query}")
    assert page.status_code == 200
    return [event.kind for event in page.context["cl"].result_list]


def test_clock_events_are_filtered_by_kind_and_found_by_attempt(client: Client, events: list[ClockEvent]) -> None:
    attempt = PaymentAttempt.objects.get()
    assert listed(client, "") == ["wall_step", "db_step_forward"]
    assert listed(client, "kind__exact=wall_step") == ["wall_step"]
    for term in (attempt.public_id, str(attempt.id), f" {attempt.id.hex} "):
        assert listed(client, urlencode({"q": term})) == ["db_step_forward"], term
    assert listed(client, "q=pay_nonsense") == []
    page = client.get(f"/admin/payments/clockevent/{events[0].id}/change/").content.decode()
    assert attempt.public_id in page
    assert "it &lt;leapt&gt;" in page
    for path in ("clockevent/add/", f"clockevent/{events[0].id}/delete/"):
        assert client.get(f"/admin/payments/{path}").status_code == 403, path
    change = client.post(f"/admin/payments/clockevent/{events[0].id}/change/", {"kind": "suspend"})
    assert change.status_code == 403


def test_an_attempt_shows_its_own_clock_events_and_folds_its_stamps_away(
    client: Client, events: list[ClockEvent]
) -> None:
    attempt = PaymentAttempt.objects.get()
    page = client.get(f"/admin/payments/paymentattempt/{attempt.pk}/change/").content.decode()
    assert f"/admin/payments/clockevent/{events[0].id}/change/" in page
    assert "db_step_forward +3600.000 s: it &lt;leapt&gt;" in page
    assert "wall_step" not in page
    assert page.index("<details>") < page.index("&quot;boot&quot;") < page.index("</details>")


def test_an_attempt_shows_every_field_but_the_token_and_the_signed_way_back() -> None:
    shown = {
        name for _, options in PaymentAttemptAdmin.fieldsets for name in cast("tuple[str, ...]", options["fields"])
    }
    fields = {field.name for field in PaymentAttempt._meta.concrete_fields}
    assert fields - shown == {"id", "payment_token", "return_url"}


def test_witnesses_are_shown_and_not_changed(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))
    clockwatch.start()
    try:
        wait_until(ClockWitness.objects.exists, what="the watcher attests")
    finally:
        clockwatch.stop()
    witness = ClockWitness.objects.get()
    for path in ("clockwitness/", f"clockwitness/{witness.id}/change/"):
        page = client.get(f"/admin/payments/{path}")
        assert witness.process in page.content.decode(), path
    assert client.get("/admin/payments/clockwitness/add/").status_code == 403
    assert client.post(f"/admin/payments/clockwitness/{witness.id}/change/", {}).status_code == 403
    clockevents.flush()


def test_orders_that_could_not_be_ended_are_listed_and_flagged(
    client: Client, customer: User, item: StockItem, poisoned: str
) -> None:
    bad, good = due_order(customer, item, poisoned), due_order(customer, item, "ORD-good")
    lifecycle.sweep_expired()
    client.force_login(User.objects.create_superuser("root"))

    def numbers(query: str) -> list[str]:
        page = client.get(f"/admin/payments/expiryfailure/?{query}")
        assert page.status_code == 200
        return [failure.order.order_id for failure in page.context["cl"].result_list]

    def order_page(attempt: PaymentAttempt) -> str:
        return client.get(f"/admin/payments/order/{attempt.order_id}/change/").content.decode()

    assert numbers("") == numbers("state=open") == [poisoned]
    assert numbers("state=resolved") == []
    failure = f"/admin/payments/expiryfailure/{bad.order_id}/change/"
    assert "order POISON-1 is poisoned" in client.get(failure).content.decode()
    assert "&#9888; order POISON-1 is poisoned" in order_page(bad)
    assert failure in order_page(bad)
    assert "&#9888;" not in order_page(good)
    assert client.get("/admin/payments/order/").content.decode().count("&#9888; could not be ended") == 1
    assert client.get("/admin/payments/expiryfailure/add/").status_code == 403
    assert client.get(f"{failure.removesuffix('change/')}delete/").status_code == 403
    assert client.post(failure, {"reason": "none"}).status_code == 403
    heal()
    make_due_again(ExpiryFailure.objects.get())
    lifecycle.sweep_expired()
    assert (numbers("state=open"), numbers("state=resolved")) == ([], [poisoned])
    assert "&#9888;" not in order_page(bad)


def test_customers_do_not_get_in(client: Client, customer: User) -> None:
    client.force_login(customer)
    assert client.get("/admin/payments/order/").status_code == 302
