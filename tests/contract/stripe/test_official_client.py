"""Stripe's own client, as anybody would use it, at the sandbox's Stripe: it understands the answers and the errors."""

from collections.abc import Iterator

import pytest
import stripe

from tests.contract.sandbox_server import API_KEY, SandboxProcess
from tests.contract.stripe.asking import in_a_while, ledger_id


@pytest.fixture
def client(sandbox: SandboxProcess) -> Iterator[stripe.StripeClient]:
    http = stripe.RequestsClient()
    yield stripe.StripeClient(
        API_KEY, base_addresses={"api": f"{sandbox.url}/stripe"}, http_client=http, max_network_retries=0
    )
    http.close()  # type: ignore[no-untyped-call]  # the SDK leaves this one without types


def pay(client: stripe.StripeClient, *, token: str = "tok_ok", amount: int = 1250, key: str) -> stripe.PaymentIntent:
    return client.v1.payment_intents.create(
        {"amount": amount, "currency": "usd", "payment_method": token, "confirm": True, "capture_method": "manual"},
        {"idempotency_key": key},
    )


def test_a_payment_from_beginning_to_end(client: stripe.StripeClient, sandbox: SandboxProcess) -> None:
    held = pay(client, key="k")
    assert (held.status, held.amount_capturable) == ("requires_capture", 1250)
    assert pay(client, key="k").id == held.id
    taken = client.v1.payment_intents.capture(held.id, {"expand": ["latest_charge"]})
    assert isinstance(taken.latest_charge, stripe.Charge)
    assert (taken.status, taken.latest_charge.captured) == ("succeeded", True)
    refund = client.v1.refunds.create({"payment_intent": held.id, "amount": 250})
    assert (refund.status, refund.amount) == ("succeeded", 250)
    let_go = client.v1.payment_intents.cancel(pay(client, key="other").id)
    assert let_go.status == "canceled"
    assert [intent.id for intent in client.v1.payment_intents.list({"limit": 1}).auto_paging_iter()] == [
        let_go.id,
        held.id,
    ]
    assert sandbox.operations() == [
        ("authorize", 1250),
        ("capture", 1250),
        ("refund", 250),
        ("authorize", 1250),
        ("void", 1250),
    ]


def test_a_page_from_beginning_to_end(client: stripe.StripeClient, sandbox: SandboxProcess) -> None:
    price: stripe.params.checkout.SessionCreateParamsLineItemPriceData = {
        "currency": "usd",
        "unit_amount": 1250,
        "product_data": {"name": "Seven things"},
    }
    session = client.v1.checkout.sessions.create(
        {
            "mode": "payment",
            "success_url": "https://shop.example/",
            "expires_at": in_a_while() + 3600,
            "line_items": [{"quantity": 1, "price_data": price}],
        }
    )
    assert (session.status, session.payment_status, session.payment_intent) == ("open", "unpaid", None)
    sandbox.settle(ledger_id(session.id), "pay")
    paid = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent"]})
    assert isinstance(paid.payment_intent, stripe.PaymentIntent)
    assert (paid.status, paid.payment_status, paid.payment_intent.status) == ("complete", "paid", "succeeded")
    with pytest.raises(stripe.InvalidRequestError, match="Only Checkout Sessions"):
        client.v1.checkout.sessions.expire(session.id)


def test_what_goes_wrong_is_raised_by_its_kind(client: stripe.StripeClient, sandbox: SandboxProcess) -> None:
    with pytest.raises(stripe.CardError) as declined:
        pay(client, token="tok_insufficient_funds", key="k")
    assert declined.value.code == "card_declined"
    assert declined.value.error is not None
    assert declined.value.error.decline_code == "insufficient_funds"
    with pytest.raises(stripe.IdempotencyError):
        pay(client, amount=1300, key="k")
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.payment_intents.retrieve("pi_none")
    assert missing.value.code == "resource_missing"
    sandbox.behave("rate_limited", times=1)
    with pytest.raises(stripe.RateLimitError):
        pay(client, key="other")
    sandbox.behave("unavailable", times=1)
    with pytest.raises(stripe.APIError):
        pay(client, key="other")
    with pytest.raises(stripe.AuthenticationError):
        client.v1.payment_intents.list({}, {"api_key": "sk_wrong"})
