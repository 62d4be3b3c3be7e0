"""The API's document: complete, valid, the same as the file, and true in its examples."""

import json
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from payments.api import problems, schemas
from payments.domain.errors import PaymentError
from payments.models import PaymentAttempt, StockItem
from tests import factories
from tests.integration.api_client import ORDER, Api

Json = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Json:
    answer: Json = Client().get("/api/openapi.json").json()
    return answer


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def responses(document: Json) -> Iterator[tuple[str, int, Json]]:
    for label, operation in operations(document):
        for status, response in operation["responses"].items():
            yield label, int(status), response


def complaints(document: Json, schema: Json, value: object) -> list[str]:
    whole = {**schema, "components": document["components"]}
    validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
    return [error.message for error in validator.iter_errors(value)]


def test_document_is_valid_openapi(document: Json) -> None:
    assert document["openapi"] == "3.1.0"
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(document)] == []


def test_file_is_what_the_server_says(document: Json, checkout_folder: Path) -> None:
    assert json.loads((checkout_folder / "docs" / "openapi.json").read_text()) == document
    call_command("write_openapi", "--check", stdout=StringIO())


def test_command_writes_the_file_and_tells_an_old_one(settings: Settings, tmp_path: Path, document: Json) -> None:
    settings.BASE_DIR = tmp_path
    (tmp_path / "docs").mkdir()
    with pytest.raises(CommandError, match="not what the API says"):
        call_command("write_openapi", "--check")
    call_command("write_openapi", stdout=StringIO())
    assert json.loads((tmp_path / "docs" / "openapi.json").read_text()) == document
    call_command("write_openapi", "--check", stdout=StringIO())


def test_every_answer_has_its_media_type_and_its_example(document: Json) -> None:
    for label, status, response in responses(document):
        if status == 304:
            assert "content" not in response, label
            continue
        ((media_type, media),) = response["content"].items()
        assert media_type == ("application/json" if status < 400 else problems.MEDIA_TYPE), (label, status)
        assert ("example" if status < 400 else "examples") in media, (label, status)


def test_every_example_fits_its_schema(document: Json) -> None:
    bodies = [operation["requestBody"] for _, operation in operations(document) if "requestBody" in operation]
    bodies += [response for _, status, response in responses(document) if status < 300]
    assert len(bodies) > 15
    for body in bodies:
        (media,) = body["content"].values()
        assert complaints(document, media["schema"], media["example"]) == []
    for label, operation in operations(document):
        for parameter in operation["parameters"]:
            shown = [parameter["example"]] if parameter["in"] == "path" else parameter["schema"]["examples"]
            assert shown, label
            assert [complaints(document, parameter["schema"], value) for value in shown] == [[]], label
    problem = {"$ref": "#/components/schemas/ProblemOut"}
    for code, example in document["components"]["examples"].items():
        assert complaints(document, problem, example["value"]) == []
        assert example["value"]["code"] == code


def test_wrong_example_would_be_noticed(document: Json) -> None:
    reference = {"$ref": "#/components/schemas/OrderIn"}
    assert complaints(document, reference, {**ORDER, "state": "paid"}) != []
    assert complaints(document, {"$ref": "#/components/schemas/AttemptOut"}, {"opened_at": "yesterday"}) != []


def test_example_requests_are_taken(document: Json) -> None:
    for _, operation in operations(document):
        if "requestBody" in operation:
            media = operation["requestBody"]["content"]["application/json"]
            schema = media["schema"]
            (reference,) = (kind["$ref"] for kind in schema.get("anyOf", [schema]) if "$ref" in kind)
            model = getattr(schemas, reference.rpartition("/")[2])
            model.model_validate_json(json.dumps(media["example"]))


def test_every_code_is_documented_and_can_be_met(document: Json) -> None:
    known = problems.codes()
    assert {kind.code for kind in PaymentError.__subclasses__()} <= known.keys()
    assert document["components"]["examples"].keys() == known.keys()
    met: set[str] = set()
    for label, status, response in responses(document):
        if status >= 400:
            codes = response["content"][problems.MEDIA_TYPE]["examples"].keys()
            assert {known[code][0] for code in codes} == {status}, label
            met |= codes
    # Of an operation that is not there nothing can be documented.
    assert known.keys() - met == {"method_not_allowed"}


def test_every_operation_says_who_may_ask_and_what_anybody_may_meet(document: Json) -> None:
    described = {tag["name"] for tag in document["tags"]}
    for label, operation in operations(document):
        session: Json = {"PageAuth": [], "CsrfToken": []} if label.startswith("POST") else {"PageAuth": []}
        is_public = "/webhooks/" in label
        assert operation.get("security") == ([] if is_public else [{"TokenAuth": []}, session]), label
        assert {"500", "503"} <= operation["responses"].keys(), label
        assert ({"401", "429"} <= operation["responses"].keys()) != is_public, label
        assert ("403" in operation["responses"]) >= operation["summary"].startswith("Staff"), label
        assert set(operation["tags"]) <= described, label
        assert operation["summary"], label
        assert operation["description"], label
        names = {parameter["name"] for parameter in operation["parameters"]}
        succeeded = [response for status, response in operation["responses"].items() if int(status) < 400]
        for response in succeeded:
            shown = response.get("headers", {}).keys()
            assert ("Idempotent-Replayed" in shown) == ("Idempotency-Key" in names), label
            assert ("ETag" in shown) == ("If-None-Match" in names), label
    for label, status, response in responses(document):
        if status in {429, 503}:
            assert "Retry-After" in response["headers"], label


def test_links_lead_somewhere(document: Json) -> None:
    ids = {operation["operationId"]: operation for _, operation in operations(document)}
    assert len(ids) == len(list(operations(document)))
    links = [link for _, _, response in responses(document) for link in response.get("links", {}).values()]
    assert links
    for link in links:
        names = {parameter["name"] for parameter in ids[link["operationId"]]["parameters"]}
        assert link["parameters"].keys() <= names


@pytest.mark.django_db(transaction=True)
def test_refusals_are_as_their_examples_show_them(
    document: Json, item: StockItem, customer: User, staff: User, token_for: Callable[[User], str]
) -> None:
    api, backoffice = Api(token_for(customer)), Api(token_for(staff))
    token = {"payment_token": "tok_visa"}
    paths = [factories.place_order(customer=customer, item=item, order_id=f"ORD-{n}").public_id for n in range(4)]
    fresh, sent, over, gone = (f"/api/payments/{public_id}" for public_id in paths)
    factories.age_attempt(PaymentAttempt.objects.get(order__order_id="ORD-2").id, seconds_left=-1)
    api.post(f"{sent}/submit/", token)
    api.post(f"{gone}/cancel/", {})
    answers = [
        api.post("/api/orders/", {**ORDER, "total_minor": 2400}),
        api.post("/api/orders/", {**ORDER, "order_id": "ORD-0"}),
        api.post("/api/orders/", {**ORDER, "currency": "EUR"}),
        api.post("/api/orders/", {**ORDER, "payment_method": "cheque"}),
        api.post("/api/orders/", {**ORDER, "kind": "gift"}),
        api.post("/api/orders/", {**ORDER, "lines": [{"sku": "MUG-GREEN", "quantity": 1}]}),
        api.post("/api/orders/", {**ORDER, "lines": [{"sku": "MUG-BLUE", "quantity": 999}], "total_minor": 999 * 1250}),
        api.post("/api/orders/", {**ORDER, "lines": [{"sku": "MUG-BLUE", "quantity": 0}]}),
        api.post("/api/orders/", "{"),
        api.post("/api/orders/", " " * 100_000),
        api.get("/api/payments/pay_0198f0c2e4b27c3a9d1e5f60718293a4/"),
        api.post("/api/payments/retry/", {"order_id": "ORD-0"}),
        api.post(f"{fresh}/submit/", {}),
        api.post(f"{over}/submit/", token),
        api.post(f"{gone}/submit/", token),
        api.post(f"{sent}/submit/", token),
        api.post(f"{fresh}/refund/", {"reason": "a test"}),
        backoffice.post(f"{fresh}/refund/", {"reason": "a test"}),
        backoffice.post(f"{fresh}/cancel/", {}),
        Api(None).get(f"{fresh}/"),
        Api(None).post("/api/webhooks/sandbox/", {}),
        api.client.delete(f"{fresh}/"),
    ]
    examples = document["components"]["examples"]
    seen = set()
    for answer in answers:
        problem = json.loads(answer.content)
        example = examples[problem["code"]]["value"]
        assert (answer.status_code, problem["title"]) == (example["status"], example["title"])
        # A second click is refused at the gate or at the lock; either way as documented.
        assert sorted(problem) == sorted(example)
        seen.add(problem["code"])
    assert len(seen) >= len(answers) - 1
