"""What the adapter says to Stripe, held against Stripe's own description; and what its face of the sandbox answers."""

import logging
from collections.abc import Iterator

import pytest
import stripe

from payments.domain.outcomes import Authorized, Captured, Declined, Pending, Undone
from payments.gateways.stripe.adapter import StripeGateway
from payments.gateways.stripe.client import API_VERSION
from tests.contract.forms import decoded
from tests.contract.published import complaints_about_answer, complaints_about_request
from tests.contract.recording import Exchange, Recorder
from tests.contract.sandbox_server import API_KEY, SandboxProcess
from tests.contract.stripe.asking import (
    AMOUNT_MINOR,
    KEY,
    PATIENT_SECONDS,
    PAYMENT,
    RETURN_URL,
    acting,
    asking,
    charging,
    hosted,
    id_of,
    in_a_while,
    ledger_id,
)
from tests.contract.stripe.bench import DESCRIBED_ANSWERS, DESCRIBED_REQUESTS, make


@pytest.fixture
def recorder(sandbox: SandboxProcess) -> Iterator[Recorder]:
    with Recorder(upstream=sandbox.url, prefix="/stripe") as started:
        yield started


@pytest.fixture
def gateway(recorder: Recorder) -> Iterator[StripeGateway]:
    made = make(recorder.url)
    yield made
    made.close()


def do_everything(gateway: StripeGateway, sandbox: SandboxProcess) -> None:
    """Ask for all that the adapter can ask for, each answered as it should be."""
    ends_at = in_a_while()
    held = gateway.authorize(charging(idempotency_key="a", reference="a"), deadline_seconds=PATIENT_SECONDS)
    assert isinstance(held, Authorized)
    capture = acting(held.reference, idempotency_key="a:capture")
    assert isinstance(gateway.capture(capture, deadline_seconds=PATIENT_SECONDS), Captured)
    refund = acting(held.reference, idempotency_key="a:refund", amount_minor=250)
    assert isinstance(gateway.refund(refund, deadline_seconds=PATIENT_SECONDS), Captured)
    again = charging(idempotency_key="b", reference="b", return_url=RETURN_URL, currency="JPY")
    void = acting(
        id_of(gateway.authorize(again, deadline_seconds=PATIENT_SECONDS)), idempotency_key="b:void", currency="JPY"
    )
    assert isinstance(gateway.void(void, deadline_seconds=PATIENT_SECONDS), Undone)
    declined = charging(idempotency_key="c", reference="c", payment_token="tok_insufficient_funds")
    assert isinstance(gateway.charge(declined, deadline_seconds=PATIENT_SECONDS), Declined)
    sent = charging(idempotency_key="d", reference="d", payment_token="tok_hosted", return_url=RETURN_URL)
    assert isinstance(gateway.charge(sent, deadline_seconds=PATIENT_SECONDS), Pending)
    page = hosted(expires_at_unix=ends_at, idempotency_key="e", reference="e")
    open_session = id_of(gateway.authorize(page, deadline_seconds=PATIENT_SECONDS))
    expiry = acting(open_session, idempotency_key="e:void")
    assert isinstance(gateway.void(expiry, deadline_seconds=PATIENT_SECONDS), Undone)
    paid_page = hosted(expires_at_unix=ends_at, idempotency_key="f", reference="f")
    paid = id_of(gateway.charge(paid_page, deadline_seconds=PATIENT_SECONDS))
    sandbox.settle(ledger_id(paid), "pay")
    back = acting(paid, idempotency_key="f:refund")
    assert isinstance(gateway.refund(back, deadline_seconds=PATIENT_SECONDS), Undone)
    for question in (
        asking(reference="a"),
        asking(reference="f"),
        asking(reference="a", charge_reference=held.reference),
    ):
        assert isinstance(gateway.look_up(question, deadline_seconds=PATIENT_SECONDS), Captured | Undone)


def test_every_request_is_one_that_stripe_describes(
    gateway: StripeGateway, recorder: Recorder, sandbox: SandboxProcess
) -> None:
    do_everything(gateway, sandbox)
    assert len(set(recorder.paths)) >= 10
    for seen in recorder.exchanges:
        assert complaints_about_request(seen, by=DESCRIBED_REQUESTS) == [], seen


def test_every_answer_of_the_face_is_one_that_stripe_describes(
    gateway: StripeGateway, recorder: Recorder, sandbox: SandboxProcess
) -> None:
    do_everything(gateway, sandbox)
    described = [seen for seen in recorder.exchanges if "checkout" not in seen.target]
    assert {seen.status for seen in described} == {200, 402}
    for seen in described:
        assert complaints_about_answer(seen, by=DESCRIBED_ANSWERS) == [], seen


def test_each_request_names_version_key_and_nothing_of_us(
    gateway: StripeGateway, recorder: Recorder, sandbox: SandboxProcess
) -> None:
    do_everything(gateway, sandbox)
    for seen in recorder.exchanges:
        assert seen.headers["stripe-version"] == API_VERSION
        assert seen.headers["authorization"] == f"Bearer {API_KEY}"
        assert "x-stripe-client-telemetry" not in seen.headers
        assert "telemetry_id" not in seen.headers["x-stripe-client-user-agent"]
        assert ("idempotency-key" in seen.headers) == (seen.method == "POST")


def test_the_sdk_neither_connects_nor_logs_by_itself(
    gateway: StripeGateway, sandbox: SandboxProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    do_everything(gateway, sandbox)
    assert stripe.default_http_client is None
    assert [record for record in caplog.records if record.name == "stripe"] == []
    assert not any(secret in caplog.text for secret in (API_KEY, "tok_insufficient_funds"))


def test_an_authorisation_says_what_it_shall_be(gateway: StripeGateway, recorder: Recorder) -> None:
    gateway.authorize(charging(), deadline_seconds=PATIENT_SECONDS)
    (seen,) = recorder.exchanges
    assert seen.headers["idempotency-key"] == KEY
    assert decoded(seen.body.decode()) == {
        "amount": str(AMOUNT_MINOR),
        "currency": "usd",
        "payment_method": "tok_ok",
        "capture_method": "manual",
        "confirm": "true",
        "error_on_requires_action": "true",
        "metadata": {"reference": PAYMENT},
        "expand": {"0": "latest_charge"},
    }


def test_a_page_is_asked_for_until_after_the_window(gateway: StripeGateway, recorder: Recorder) -> None:
    ends_at = in_a_while()
    gateway.charge(hosted(expires_at_unix=ends_at), deadline_seconds=PATIENT_SECONDS)
    (seen,) = recorder.exchanges
    said = decoded(seen.body.decode())
    # At any moment of the window at least the 30 minutes that Stripe wants, and never more than its 24 hours.
    assert int(said.pop("expires_at")) == ends_at + 35 * 60
    assert StripeGateway.capabilities.longest_window_seconds is not None
    assert StripeGateway.capabilities.longest_window_seconds + 35 * 60 < 24 * 3600
    assert said == {
        "mode": "payment",
        "client_reference_id": PAYMENT,
        "metadata": {"reference": PAYMENT},
        "payment_method_types": {"0": "card"},
        "line_items": {
            "0": {
                "quantity": "1",
                "price_data": {
                    "currency": "usd",
                    "unit_amount": str(AMOUNT_MINOR),
                    "product_data": {"name": PAYMENT},
                },
            }
        },
        "payment_intent_data": {
            "capture_method": "automatic",
            "metadata": {"reference": PAYMENT, "made_by": "checkout_session"},
        },
        "success_url": RETURN_URL,
        "cancel_url": RETURN_URL,
    }


def test_yen_are_not_multiplied(gateway: StripeGateway, recorder: Recorder) -> None:
    gateway.charge(charging(amount_minor=1200, currency="JPY"), deadline_seconds=PATIENT_SECONDS)
    said = decoded(recorder.exchanges[0].body.decode())
    assert (said["amount"], said["currency"]) == ("1200", "jpy")


@pytest.mark.parametrize("is_hosted", [False, True])
def test_the_same_attempt_says_the_same_byte_for_byte(
    gateway: StripeGateway, recorder: Recorder, is_hosted: bool
) -> None:
    ends_at = in_a_while()
    for _ in range(2):
        request = hosted(expires_at_unix=ends_at) if is_hosted else charging(return_url=RETURN_URL)
        gateway.authorize(request, deadline_seconds=PATIENT_SECONDS)
    first, second = recorder.exchanges

    def said(seen: Exchange) -> tuple[str, str, bytes, str]:
        return seen.method, seen.target, seen.body, seen.headers["idempotency-key"]

    assert said(first) == said(second)
    assert first.answer == second.answer


def test_acts_on_a_page_go_to_its_intent_and_the_session_is_only_asked(
    gateway: StripeGateway, recorder: Recorder, sandbox: SandboxProcess
) -> None:
    page = hosted(expires_at_unix=in_a_while())
    session = id_of(gateway.authorize(page, deadline_seconds=PATIENT_SECONDS))
    sandbox.settle(ledger_id(session), "pay")
    recorder.exchanges.clear()
    assert gateway.capture(acting(session), deadline_seconds=PATIENT_SECONDS) == Captured(session)
    intent = "pi_" + session.rpartition("_")[2]
    assert recorder.paths == [
        f"GET /v1/checkout/sessions/{session}",
        f"POST /v1/payment_intents/{intent}/capture",
    ]
