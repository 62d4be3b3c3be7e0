"""Every request that the adapter makes, and every answer of Square's face, held against Square's own description."""

import json
from collections.abc import Iterator

import pytest

from payments.domain.failures import FailureCode
from payments.domain.outcomes import Authorized, Captured, Pending
from payments.gateways import failures
from payments.gateways.square.asking import API_VERSION
from tests.contract import published
from tests.contract.published import complaints_about_answer, complaints_about_object, complaints_about_request
from tests.contract.recording import Exchange, Recorder
from tests.contract.sandbox_server import API_KEY, SandboxProcess
from tests.contract.square.asking import AMOUNT_MINOR, PATIENT_SECONDS, PAYMENT_ID, Asking, charge_request
from tests.contract.square.bench import DESCRIBED, make

HOSTED = ""
# Square's Orders API is described in another file: developer.squareup.com/reference/square/orders-api/retrieve-order.
_ORDERS = "/v2/orders/"


@pytest.fixture
def recorder(sandbox: SandboxProcess) -> Iterator[Recorder]:
    with Recorder(upstream=sandbox.url, prefix="/square") as started:
        yield started


@pytest.fixture
def recorded(recorder: Recorder) -> Iterator[Asking]:
    gateway = make(recorder.url)
    yield Asking(gateway)
    gateway.close()


def use_all_of_it(square: Asking, sandbox: SandboxProcess) -> None:
    """Have the adapter make every kind of request that it can make."""
    held = square.authorize()
    assert isinstance(held, Authorized)
    square.look_up()
    square.capture(held.reference)
    square.refund(held.reference)
    square.look_up(held.reference)
    other = square.gateway.authorize(charge_request(key="key-2", reference="pay_2"), deadline_seconds=PATIENT_SECONDS)
    assert isinstance(other, Authorized)
    square.void(other.reference)
    square.gateway.charge(charge_request(key="key-3", reference="pay_3"), deadline_seconds=PATIENT_SECONDS)
    square.gateway.charge(
        charge_request("tok_pending", key="key-4", reference="pay_4"), deadline_seconds=PATIENT_SECONDS
    )
    for number, reference in enumerate((PAYMENT_ID, "pay_5")):
        begun = square.gateway.charge(
            charge_request(HOSTED, key=f"link-{number}", reference=reference), deadline_seconds=PATIENT_SECONDS
        )
        assert isinstance(begun, Pending)
        square.look_up(token=HOSTED)
        if number:
            square.void(begun.reference)
        else:
            sandbox.settle(begun.reference.partition(":")[0].replace("ord_", "ch_"), "pay")
            assert isinstance(square.look_up(begun.reference, token=HOSTED), Captured)
            square.refund(begun.reference, key="cmp_9")


def test_every_request_and_answer_is_as_square_describes_them(
    sandbox: SandboxProcess, recorder: Recorder, recorded: Asking
) -> None:
    use_all_of_it(recorded, sandbox)
    used = set()
    for exchange in recorder.exchanges:
        assert exchange.status == 200, exchange
        if exchange.path.startswith(_ORDERS):
            assert (exchange.method, exchange.query, exchange.body) == ("GET", {}, b"")
            assert complaints_about_object(exchange.content["order"], name="Order", by=DESCRIBED) == [], exchange
            continue
        assert complaints_about_request(exchange, by=DESCRIBED) == [], exchange
        assert complaints_about_answer(exchange, by=DESCRIBED) == [], exchange
        described = published.operation_of(exchange, by=DESCRIBED)
        assert described is not None
        used.add(described.said["operationId"])
    assert used == {
        "CreatePayment",
        "ListPayments",
        "GetPayment",
        "CompletePayment",
        "CancelPayment",
        "RefundPayment",
        "GetPaymentRefund",
        "CreatePaymentLink",
        "ListPaymentLinks",
        "RetrievePaymentLink",
        "DeletePaymentLink",
    }


@pytest.mark.parametrize("token", ["tok_declined", "tok_unavailable", "tok_rate_limited", "tok_error_before"])
def test_refusals_are_worded_as_square_words_them(recorder: Recorder, recorded: Asking, token: str) -> None:
    recorded.charge(token)
    (exchange,) = recorder.exchanges
    assert complaints_about_answer(exchange, by=DESCRIBED) == [], exchange


def test_the_version_that_is_asked_for_is_the_described_one() -> None:
    (header,) = published.load("square.payments.json")["x-fern-global-headers"]
    assert header["header"] == "Square-Version"
    assert API_VERSION in header["type"]


def test_every_code_that_square_publishes_has_a_meaning() -> None:
    codes = set(published.load("square.payments.json")["components"]["schemas"]["ErrorCode"]["enum"])
    for methods in published.load("square.payments.json")["paths"].values():
        for described in methods.values():
            codes |= {error["error-code"] for error in described.get("x-endpoint-errors") or []}
    assert codes - failures.load("square").codes.keys() == set()


def test_what_square_calls_temporary_is_never_a_decline() -> None:
    table = failures.load("square").codes
    elements = published.load("square.payments.json")["components"]["schemas"]["ErrorCode"]["x-enum-elements"]
    assert {table[element["name"]] for element in elements if element["error-category"] == "API_ERROR"} <= {
        FailureCode.GATEWAY_ERROR,
        FailureCode.GATEWAY_TIMEOUT,
    }
    assert table["TEMPORARY_ERROR"] is FailureCode.GATEWAY_ERROR


def test_every_request_says_who_asks_and_in_which_version(
    sandbox: SandboxProcess, recorder: Recorder, recorded: Asking
) -> None:
    use_all_of_it(recorded, sandbox)
    for exchange in recorder.exchanges:
        assert exchange.headers["authorization"] == f"Bearer {API_KEY}"
        assert exchange.headers["square-version"] == API_VERSION


def test_the_same_attempt_makes_the_same_request_byte_for_byte(recorder: Recorder, recorded: Asking) -> None:
    for token in ("tok_ok", HOSTED):
        recorder.exchanges.clear()
        recorded.authorize(token)
        recorded.authorize(token)
        first, second = recorder.exchanges
        assert (first.method, first.path, first.query, first.body) == (
            second.method,
            second.path,
            second.query,
            second.body,
        )
        assert first.headers == second.headers


def test_an_authorisation_says_how_long_it_holds(recorder: Recorder, recorded: Asking) -> None:
    recorded.authorize()
    said = json.loads(only(recorder).body)
    assert said == {
        "source_id": "tok_ok",
        "idempotency_key": PAYMENT_ID,
        "amount_money": {"amount": AMOUNT_MINOR, "currency": "USD"},
        "autocomplete": False,
        "delay_duration": "PT900S",
        "delay_action": "CANCEL",
        "location_id": "LSANDBOX",
        "reference_id": PAYMENT_ID,
    }


def test_a_question_begins_before_the_attempt_did(recorder: Recorder, recorded: Asking) -> None:
    recorded.opened_at_unix = 1_790_000_000
    recorded.look_up()
    assert only(recorder).query == {
        "begin_time": ["2026-09-21T13:13:20Z"],  # An hour earlier, for two clocks that do not agree.
        "sort_order": ["ASC"],
        "location_id": ["LSANDBOX"],
        "total": [str(AMOUNT_MINOR)],
        "limit": ["100"],
    }


def test_an_id_leads_nowhere_else(recorder: Recorder, recorded: Asking) -> None:
    recorded.capture("../refunds?x=1")
    assert only(recorder).path == "/v2/payments/..%2Frefunds%3Fx%3D1/complete"


def test_a_proxy_in_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    gateway = make(recorder.url)
    assert isinstance(gateway.charge(charge_request(), deadline_seconds=PATIENT_SECONDS), Captured)
    gateway.close()


def only(recorder: Recorder) -> Exchange:
    (exchange,) = recorder.exchanges
    return exchange
