"""The reader of the gateways' descriptions finds what is wrong: each sample is as described until one thing changes."""

import copy
import json
import urllib.parse
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.contract.paypal import bench as paypal
from tests.contract.published import (
    Described,
    complaints_about_answer,
    complaints_about_object,
    complaints_about_request,
)
from tests.contract.recording import Exchange
from tests.contract.square import bench as square
from tests.contract.stripe import bench as stripe

GONE = object()


@dataclass(frozen=True)
class Sample:
    """A request and its answer, both as described."""

    by: Described
    method: str
    target: str
    body: Any  # A text is a form.
    answer: Any
    answers_by: Described | None = None
    status: int = 200

    def exchange(self, *, body: Any = GONE, answer: Any = GONE, target: str = "", **headers: str) -> Exchange:
        said = self.body if body is GONE else body
        return Exchange(
            method=self.method,
            target=target or self.target,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            body=said.encode() if isinstance(said, str) else json.dumps(said).encode(),
            status=self.status,
            answer=json.dumps(self.answer if answer is GONE else answer).encode(),
        )


SAMPLES = {
    "stripe": Sample(
        by=stripe.DESCRIBED_REQUESTS,
        answers_by=stripe.DESCRIBED_ANSWERS,
        method="POST",
        target="/v1/refunds",
        body="amount=5&payment_intent=pi_1&metadata[reference]=r&reason=duplicate&expand[0]=charge&expand[1]=x",
        answer={
            "id": "re_1",
            "object": "refund",
            "amount": 5,
            "created": 1,
            "currency": "usd",
            "charge": None,
            "reason": None,
        },
    ),
    "stripe intent": Sample(
        by=stripe.DESCRIBED_REQUESTS,
        answers_by=stripe.DESCRIBED_ANSWERS,
        method="POST",
        target="/v1/payment_intents",
        body="amount=1&currency=usd&confirm=true&off_session=one_off",
        answer={"error": {"type": "card_error", "code": "card_declined"}},
        status=402,
    ),
    "paypal": Sample(
        by=paypal.DESCRIBED,
        method="POST",
        target="/v2/payments/authorizations/0AB1/capture",
        body={"final_capture": True, "amount": {"currency_code": "USD", "value": "12.50"}},
        answer={"id": "2GG", "status": "COMPLETED", "amount": {"currency_code": "USD", "value": "12.50"}},
        status=201,
    ),
    "paypal order": Sample(
        by=paypal.DESCRIBED,
        method="POST",
        target="/v2/checkout/orders",
        body={"intent": "CAPTURE", "purchase_units": [{"amount": {"currency_code": "USD", "value": "12.50"}}]},
        answer={"id": "5O1", "status": "CREATED", "links": [{"href": "https://example/", "rel": "self"}]},
        status=201,
    ),
    "square": Sample(
        by=square.DESCRIBED,
        method="POST",
        target="/v2/payments",
        body={"source_id": "tok", "idempotency_key": "k", "amount_money": {"amount": 5, "currency": "USD"}},
        answer={"payment": {"id": "p", "status": "COMPLETED", "amount_money": {"amount": 5, "currency": None}}},
    ),
    "square refusal": Sample(
        by=square.DESCRIBED,
        method="POST",
        target="/v2/refunds",
        body={"idempotency_key": "k", "amount_money": {"amount": 5, "currency": "USD"}, "payment_id": None},
        answer={"errors": [{"category": "REFUND_ERROR", "code": "REFUND_AMOUNT_INVALID"}]},
        status=400,
    ),
}


def changed(value: Any, path: str, new: object) -> Any:
    """Return `value` with one part of it set to `new`, or gone."""
    root = copy.deepcopy(value)
    *steps, last = path.split(".")
    at = root
    for step in steps:
        at = at[int(step) if isinstance(at, list) else step]
    if new is GONE:
        del at[last]
    else:
        at[last] = new
    return root


def form(text: str, name: str, new: object) -> str:
    """Return a form with one name of it set to `new`, or gone."""
    said = dict(urllib.parse.parse_qsl(text))
    said = {key: value for key, value in said.items() if key != name}
    return urllib.parse.urlencode(said if new is GONE else {**said, name: str(new)})


def about_request(sample: Sample, **changes: Any) -> list[str]:
    return complaints_about_request(sample.exchange(**changes), by=sample.by)


def about_answer(sample: Sample, **changes: Any) -> list[str]:
    return complaints_about_answer(sample.exchange(**changes), by=sample.answers_by or sample.by)


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_as_described_finds_no_complaint(name: str) -> None:
    assert about_request(SAMPLES[name]) == []
    assert about_answer(SAMPLES[name]) == []


@pytest.mark.parametrize(
    ("name", "path", "new", "complaint"),
    [
        ("stripe", "colour", "red", "body: Additional properties are not allowed ('colour' was unexpected)"),
        ("stripe", "amount", "x", 'body.amount: "x" does not match'),
        ("stripe", "amount", "5.0", 'body.amount: "5.0" does not match'),
        ("stripe", "reason", "whim", 'body.reason: "whim" is not one of'),
        ("stripe", "instructions_email[0]", "a", "body.instructions_email: "),
        ("stripe", "expand[first]", "a", "body.expand: Additional properties are not allowed"),
        ("stripe intent", "amount", GONE, 'body: "amount" is a required property'),
        ("stripe intent", "currency", GONE, 'body: "currency" is a required property'),
        ("stripe intent", "confirm", "yes", 'body.confirm: "yes" does not match'),
        ("stripe intent", "off_session", "never", "body.off_session: "),
        ("stripe intent", "payment_method_options[card][colour]", "red", "body.payment_method_options.card: "),
        ("paypal", "colour", "red", "body: Additional properties are not allowed ('colour' was unexpected)"),
        ("paypal", "amount.colour", "red", "body.amount: Additional properties are not allowed"),
        ("paypal", "amount.value", GONE, 'body.amount: "value" is a required property'),
        ("paypal", "amount.value", 12.5, 'body.amount.value: 12.5 is not of type "string"'),
        ("paypal", "amount.value", "1,250", 'body.amount.value: "1,250" does not match'),
        ("paypal", "final_capture", "true", "body.final_capture: "),
        ("paypal", "final_capture", None, "body.final_capture: "),
        ("paypal order", "intent", "BUY", 'body.intent: "BUY" is not one of'),
        ("paypal order", "intent", GONE, 'body: "intent" is a required property'),
        ("paypal order", "purchase_units", [], "body.purchase_units: [] has less than 1 item"),
        ("paypal order", "purchase_units.0.colour", "red", "body.purchase_units[0]: Additional properties are"),
        ("square", "colour", "red", "body: Additional properties are not allowed ('colour' was unexpected)"),
        ("square", "amount_money.amount", "5", 'body.amount_money.amount: "5" is not of type'),
        ("square", "amount_money.amount", 5.0, "body.amount_money.amount: 5.0 is not of type"),
        ("square", "amount_money.currency", "usd", 'body.amount_money.currency: "usd" is not one of'),
        ("square", "idempotency_key", "k" * 46, "body.idempotency_key: "),
        ("square", "idempotency_key", None, 'body.idempotency_key: null is not of type "string"'),
        ("square", "source_id", GONE, 'body: "source_id" is a required property'),
        ("square refusal", "amount_money", GONE, 'body: "amount_money" is a required property'),
    ],
)
def test_a_wrong_request_is_found(name: str, path: str, new: object, complaint: str) -> None:
    sample = SAMPLES[name]
    change = form if isinstance(sample.body, str) else changed
    (found,) = about_request(sample, body=change(sample.body, path, new))
    assert found.startswith(complaint)


@pytest.mark.parametrize(
    ("name", "path", "new", "complaint"),
    [
        ("stripe", "colour", "red", "answer: Additional properties are not allowed ('colour' was unexpected)"),
        ("stripe", "amount", "5", 'answer.amount: "5" is not of type "integer"'),
        ("stripe", "amount", 5.0, 'answer.amount: 5.0 is not of type "integer"'),
        ("stripe", "amount", None, 'answer.amount: null is not of type "integer"'),
        ("stripe", "object", "charge", 'answer.object: "charge" is not one of'),
        ("stripe", "reason", "whim", 'answer.reason: "whim" is not one of'),
        ("stripe", "created", GONE, 'answer: "created" is a required property'),
        ("stripe", "charge", 5, "answer.charge: "),
        ("stripe", "next_action", {"type": "x", "colour": 1}, "answer.next_action: "),
        ("stripe intent", "error.colour", "red", "answer.error: Additional properties are not allowed"),
        ("stripe intent", "error.type", "bad_luck", 'answer.error.type: "bad_luck" is not one of'),
        ("stripe intent", "error.type", GONE, 'answer.error: "type" is a required property'),
        ("stripe intent", "error", GONE, 'answer: "error" is a required property'),
        ("paypal", "colour", "red", "answer: Additional properties are not allowed ('colour' was unexpected)"),
        ("paypal", "status", "DONE", 'answer.status: "DONE" is not one of'),
        ("paypal", "amount.currency_code", GONE, 'answer.amount: "currency_code" is a required property'),
        ("paypal", "amount.value", 12, 'answer.amount.value: 12 is not of type "string"'),
        ("paypal order", "links.0.colour", "red", "answer.links[0]: Additional properties are not allowed"),
        ("paypal order", "links.0.rel", GONE, 'answer.links[0]: "rel" is a required property'),
        ("paypal order", "status", "DONE", 'answer.status: "DONE" is not one of'),
        ("square", "colour", "red", "answer: Additional properties are not allowed ('colour' was unexpected)"),
        ("square", "payment.colour", "red", "answer.payment: Additional properties are not allowed"),
        ("square", "payment.amount_money.currency", "usd", "answer.payment.amount_money.currency: "),
        ("square", "payment.id", 5, 'answer.payment.id: 5 is not of type "string"'),
        ("square", "payment.id", None, 'answer.payment.id: null is not of type "string"'),
        ("square refusal", "errors.0.code", "NO", 'answer.errors[0].code: "NO" is not one of'),
        ("square refusal", "errors.0.category", GONE, 'answer.errors[0]: "category" is a required property'),
    ],
)
def test_a_wrong_answer_is_found(name: str, path: str, new: object, complaint: str) -> None:
    sample = SAMPLES[name]
    (found,) = about_answer(sample, answer=changed(sample.answer, path, new))
    assert found.startswith(complaint)


@pytest.mark.parametrize(
    ("by", "target", "complaint"),
    [
        (stripe.DESCRIBED_REQUESTS, "/v1/refunds?colour=red", "query: Additional properties"),
        (stripe.DESCRIBED_REQUESTS, "/v1/refunds?limit=x", 'query.limit: "x" does not match'),
        (stripe.DESCRIBED_REQUESTS, "/v1/refunds?created[since]=1", "query.created: "),
        (stripe.DESCRIBED_REQUESTS, "/v1/payment_intents/search", 'query: "query" is a required property'),
        (paypal.DESCRIBED, "/v2/checkout/orders/5O1?colour=red", "query: Additional properties"),
        (paypal.DESCRIBED, "/v2/checkout/orders/5O1?fields=A-B", 'query.fields: "A-B" does not match'),
        (paypal.DESCRIBED, "/v2/checkout/orders/lower", 'path.id: "lower" does not match'),
        (square.DESCRIBED, "/v2/payments?colour=red", "query: Additional properties"),
        (square.DESCRIBED, "/v2/payments?limit=ten", 'query.limit: "ten" does not match'),
        (square.DESCRIBED, "/v2/payments?limit=-3", 'query.limit: "-3" does not match'),
        (square.DESCRIBED, "/v2/payment", "there is no GET /v2/payment"),
    ],
)
def test_a_wrong_address_is_found(by: Described, target: str, complaint: str) -> None:
    seen = Exchange(method="GET", target=target, headers={}, body=b"", status=200, answer=b"")
    (found,) = complaints_about_request(seen, by=by)
    assert found.startswith(complaint)


@pytest.mark.parametrize("by", [stripe.DESCRIBED_REQUESTS, square.DESCRIBED])
def test_a_parameter_that_stands_twice_is_found(by: Described) -> None:
    target = "/v1/refunds?limit=1&limit=2" if by is stripe.DESCRIBED_REQUESTS else "/v2/payments?limit=1&limit=2"
    seen = Exchange(method="GET", target=target, headers={}, body=b"", status=200, answer=b"")
    with pytest.raises(AssertionError, match="limit stands twice"):
        complaints_about_request(seen, by=by)


def test_headers_are_held_against_the_list() -> None:
    sample = SAMPLES["paypal order"]
    assert about_request(sample, paypal_request_id="k", prefer="return=minimal", accept="anything") == []
    assert about_request(sample, paypal_colour="red") == [
        "headers: Additional properties are not allowed ('paypal-colour' was unexpected)"
    ]
    (found,) = about_request(sample, prefer="return:minimal")
    assert found.startswith("headers.prefer: ")


def test_a_body_or_an_answer_where_none_belongs_is_found() -> None:
    cancel = Exchange("POST", "/v2/payments/p/cancel", {}, b"", 200, b"{}")
    assert complaints_about_request(cancel, by=square.DESCRIBED) == []
    assert complaints_about_request(replace(cancel, body=b"{}"), by=square.DESCRIBED) != []
    void = Exchange("POST", "/v2/payments/authorizations/0AB1/void", {}, b"", 204, b"")
    assert complaints_about_request(void, by=paypal.DESCRIBED) == []
    assert complaints_about_answer(void, by=paypal.DESCRIBED) == []
    assert complaints_about_request(replace(void, body=b"{}"), by=paypal.DESCRIBED) != []
    assert complaints_about_answer(replace(void, answer=b"{}"), by=paypal.DESCRIBED) != []
    asked = Exchange("GET", "/v1/refunds", {}, b"limit=1", 200, b"")
    assert complaints_about_request(asked, by=stripe.DESCRIBED_REQUESTS) != []


@pytest.mark.parametrize("name", ["paypal", "square"])
def test_a_body_and_an_answer_that_are_missing_are_found(name: str) -> None:
    sample = SAMPLES[name]
    empty = replace(sample.exchange(), body=b"", answer=b"")
    assert complaints_about_request(empty, by=sample.by) == ["body: b'' is no JSON"]
    assert complaints_about_answer(empty, by=sample.by) == ["answer: b'' is no JSON"]


def test_a_status_of_which_nothing_is_said_is_found() -> None:
    odd = replace(SAMPLES["paypal"].exchange(), status=418)
    assert complaints_about_answer(odd, by=paypal.DESCRIBED) == ["answer: a 418 is not described"]


def test_an_object_inside_something_else_is_held_against_its_own_description() -> None:
    order = {"location_id": "L", "metadata": {"any": "text"}}
    assert complaints_about_object(order, name="Order", by=square.DESCRIBED) == []
    assert complaints_about_object({"location_id": None}, name="Order", by=square.DESCRIBED) != []
    assert complaints_about_object({**order, "metadata": {"any": 1}}, name="Order", by=square.DESCRIBED) != []
