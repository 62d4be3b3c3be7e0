"""The Python client against the real web server, over connections that break."""

import json
import logging
import threading
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from payments import client as paywindow
from payments.client import Line, Order, PaywindowClient
from payments.models import Order as OrderRow
from payments.models import PaymentAttempt, StockItem
from tests import factories
from tests.proxy import ANSWER_LOST, RESET_BEFORE, Fault, SpoilingProxy, says
from tests.system import System

pytestmark = pytest.mark.django_db(transaction=True)

Connect = Callable[..., PaywindowClient]
LINES = [Line(sku="MUG-BLUE", quantity=2)]
IN_USE = json.dumps({"status": 409, "code": "idempotency_key_in_use", "title": "In use", "detail": "Wait."})
LIMITED = json.dumps({"status": 429, "code": "rate_limited", "title": "Too many", "detail": "Wait.", "limit": 5})


def place(client: PaywindowClient, *, key: str | None = None) -> Order:
    return client.place_order(lines=LINES, total_minor=2500, currency="USD", idempotency_key=key)


@pytest.mark.parametrize(
    "fault",
    [
        RESET_BEFORE,
        ANSWER_LOST,
        says(503, body="{}", content_type="application/json"),
        says(502, body="<html>", content_type="text/html", headers="Retry-After: 0\r\n"),
        says(429, body=LIMITED, headers="Retry-After: 1\r\n"),
        says(409, body=IN_USE, headers="Retry-After: 1\r\n"),
    ],
    ids=["reset before", "answer lost", "503", "502 of a proxy", "429", "key in use"],
)
def test_spoiled_order_is_repeated_under_its_key_and_placed_once(
    proxy: SpoilingProxy, connect: Connect, item: StockItem, fault: Fault
) -> None:
    proxy.faults.append(fault)
    order = place(connect(proxy.url))
    assert OrderRow.objects.get().order_id == order.order_id
    assert factories.stock_of(item) == (100, 2, 0)
    keys = proxy.header("Idempotency-Key")
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert len({request.split(b"\r\n\r\n")[1] for request in proxy.requests}) == 1


def test_answer_that_comes_too_late_is_asked_for_again(proxy: SpoilingProxy, connect: Connect, item: StockItem) -> None:
    held = threading.Event()
    proxy.faults.append(Fault(holds=held))
    order = place(connect(proxy.url, timeout_seconds=2))
    held.set()
    assert OrderRow.objects.get().order_id == order.order_id
    assert len(proxy.requests) == 2


def test_submit_whose_answer_was_lost_is_answered_and_not_refused_as_a_second_click(
    proxy: SpoilingProxy, connect: Connect, item: StockItem
) -> None:
    client = connect(proxy.url)
    payment_id = place(client).payment.id
    proxy.faults.extend([ANSWER_LOST, ANSWER_LOST])
    assert client.submit(payment_id=payment_id, payment_token="tok_visa").state == "queued"
    assert [step[0] for step in factories.steps(PaymentAttempt.objects.get())] == ["open", "queued"]


def test_question_is_repeated_too(proxy: SpoilingProxy, connect: Connect, item: StockItem) -> None:
    client = connect(proxy.url)
    order = place(client)
    proxy.faults.extend([RESET_BEFORE, says(503), ANSWER_LOST])
    assert client.status(payment_id=order.payment.id).state == "open"
    assert client.order_status(order_id=order.order_id).is_payment_window_active is True


def test_callers_own_key_gives_the_same_order_and_no_other(web: System, connect: Connect, item: StockItem) -> None:
    client = connect(web.web_url)
    assert place(client, key="cart-17") == place(client, key="cart-17")
    with pytest.raises(paywindow.IdempotencyKeyReused) as refused:
        client.place_order(
            lines=[Line(sku="MUG-BLUE", quantity=1)], total_minor=1250, currency="USD", idempotency_key="cart-17"
        )
    assert (refused.value.status, refused.value.idempotency_key) == (422, "cart-17")
    assert OrderRow.objects.count() == 1


def test_refusal_is_an_error_of_its_code_and_is_not_repeated(
    proxy: SpoilingProxy, connect: Connect, item: StockItem, other: User
) -> None:
    client = connect(proxy.url)
    payment_id = place(client).payment.id
    attempt = PaymentAttempt.objects.get()
    foreign = factories.place_order(customer=other, item=item)
    with pytest.raises(paywindow.OutOfStock) as lacking:
        client.place_order(lines=[Line("MUG-BLUE", 99)], total_minor=99 * 1250, currency="USD")
    assert lacking.value.facts["available"] == 97
    with pytest.raises(paywindow.Refused, match="amount_mismatch") as mismatch:
        client.place_order(lines=LINES, total_minor=1, currency="USD")
    assert (mismatch.value.code, mismatch.value.status) == ("amount_mismatch", 422)
    with pytest.raises(paywindow.NotFound):
        client.status(payment_id=foreign.public_id)
    with pytest.raises(paywindow.RetryRefused) as retried:
        client.retry(order_id=attempt.order.order_id)
    assert retried.value.facts["attempts_left"] == 2
    with pytest.raises(paywindow.Refused, match="403 forbidden"):
        client.refund(payment_id=payment_id, reason="a test")
    factories.age_attempt(attempt.id, seconds_left=-1)
    with pytest.raises(paywindow.PaymentExpired) as expired:
        client.submit(payment_id=payment_id, payment_token="tok_visa")
    assert expired.value.detail
    assert len(proxy.requests) == 7


def test_token_is_asked_for_before_every_try(proxy: SpoilingProxy, customer: User, item: StockItem) -> None:
    given: list[str] = []

    def provide() -> str:
        given.append(f"stale-{len(given)}")
        return given[-1]

    proxy.faults.append(RESET_BEFORE)
    with PaywindowClient(proxy.url, token=provide) as client, pytest.raises(paywindow.NotAuthenticated):
        place(client)
    assert (
        proxy.header("Authorization") == [f"Bearer {token}" for token in given] == ["Bearer stale-0", "Bearer stale-1"]
    )


def test_secrets_are_in_no_log_and_no_error(
    proxy: SpoilingProxy,
    customer: User,
    item: StockItem,
    token_for: Callable[[User], str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    token = token_for(customer)
    proxy.faults.extend([Fault(), ANSWER_LOST, says(429, body=LIMITED, headers="Retry-After: 3600\r\n")])
    logging.getLogger("httpx").setLevel(logging.NOTSET)  # As in a host that has not silenced it.
    with caplog.at_level(logging.DEBUG), PaywindowClient(proxy.url, token=token) as client:
        payment_id = place(client).payment.id
        with pytest.raises(paywindow.RateLimited) as limited:
            client.submit(payment_id=payment_id, payment_token="tok_secret")
        shown = repr(client) + repr(limited.value) + str(limited.value) + caplog.text
    assert payment_id in caplog.text  # httpx did log.
    assert token not in shown
    assert "tok_secret" not in shown
    with PaywindowClient(proxy.url, token="tok\nen") as client, pytest.raises(ValueError, match="no header") as wrong:
        place(client)
    assert "tok\nen" not in str(wrong.value)


def test_payment_that_did_not_change_is_told_without_a_body(
    proxy: SpoilingProxy, connect: Connect, item: StockItem
) -> None:
    client = connect(proxy.url)
    payment_id = place(client).payment.id
    known = client.status(payment_id=payment_id)
    assert known.etag
    assert client.status(payment_id=payment_id, known=known) == known
    client.submit(payment_id=payment_id, payment_token="tok_visa")
    changed = client.status(payment_id=payment_id, known=known)
    assert (changed.state, changed.etag != known.etag) == ("queued", True)
    assert proxy.header("If-None-Match") == [known.etag, known.etag]
    # Of another payment nothing is known.
    assert client.status(payment_id=place(client).payment.id, known=known).state == "open"
    assert len(proxy.header("If-None-Match")) == 2


def test_wait_ends_at_its_deadline_with_where_the_payment_stood(
    proxy: SpoilingProxy, connect: Connect, item: StockItem
) -> None:
    client = connect(proxy.url)
    payment_id = place(client).payment.id
    client.submit(payment_id=payment_id, payment_token="tok_visa")
    with pytest.raises(paywindow.NotSettled) as waited:
        client.wait_until_settled(payment_id=payment_id, deadline_seconds=2.5)
    assert (waited.value.payment.id, waited.value.payment.state) == (payment_id, "queued")
    assert len(proxy.header("If-None-Match")) >= 1


def test_order_is_given_up_and_asked_about(web: System, connect: Connect, item: StockItem) -> None:
    client = connect(web.web_url)
    order = place(client)
    assert client.check(order_id=order.order_id).is_asking is False
    cancelled = client.cancel(payment_id=order.payment.id)
    assert (cancelled.state, cancelled.is_settled) == ("cancelled", True)
    assert client.wait_until_settled(payment_id=order.payment.id).state == "cancelled"
    assert client.order_status(order_id=order.order_id).status == "cancelled"
    assert factories.stock_of(item) == (100, 0, 0)
    with pytest.raises(paywindow.InvalidState):
        client.submit(payment_id=order.payment.id, payment_token="tok_visa")
