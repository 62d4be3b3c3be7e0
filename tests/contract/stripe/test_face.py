"""The sandbox's Stripe by itself: forms, errors, lists and keys, as docs.stripe.com/api has them."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.contract.sandbox_server import API_KEY, SandboxProcess
from tests.contract.stripe.asking import in_a_while

INTENT = {"amount": "1250", "currency": "usd", "payment_method": "tok_ok", "confirm": "true"}


class Face:
    """A plain client of it."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/stripe/v1/", timeout=20.0, trust_env=False)
        self.authorization = f"Bearer {API_KEY}"

    def get(self, path: str, **params: str) -> httpx.Response:
        return self._http.get(path, params=params, headers={"Authorization": self.authorization})

    def post(self, path: str, form: Any = None, *, key: str | None = None) -> httpx.Response:
        headers = {"Authorization": self.authorization, "Content-Type": "application/x-www-form-urlencoded"}
        if key is not None:
            headers["Idempotency-Key"] = key
        if isinstance(form, bytes):
            return self._http.post(path, content=form, headers=headers)
        return self._http.post(path, data=form or {}, headers=headers)

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def face(sandbox: SandboxProcess) -> Iterator[Face]:
    made = Face(sandbox.url)
    yield made
    made.close()


def error_of(response: httpx.Response) -> tuple[int, str, str | None, str | None]:
    error = response.json()["error"]
    return response.status_code, error["type"], error.get("code"), error.get("param")


REQUEST = "invalid_request_error"


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({**INTENT, "wrong": "1"}, ("parameter_unknown", "wrong")),
        ({**INTENT, "metadata[a][b]": "1"}, (None, "metadata")),
        ({**INTENT, "expand[0]": "customer"}, (None, "expand")),
        ({name: INTENT[name] for name in INTENT if name != "amount"}, ("parameter_missing", "amount")),
        ({name: INTENT[name] for name in INTENT if name != "confirm"}, ("parameter_missing", "confirm")),
        ({**INTENT, "amount": "12.50"}, (None, "amount")),
        ({**INTENT, "amount": "0"}, (None, "amount")),
        ({**INTENT, "amount": "100000000"}, (None, "amount")),
        ({**INTENT, "amount": "\u0661"}, (None, "amount")),
        ({**INTENT, "currency": "USD"}, (None, "currency")),
        ({**INTENT, "capture_method": "later"}, (None, "capture_method")),
        ({**INTENT, "payment_method": "tok_misspelt"}, ("resource_missing", "payment_method")),
        ({**INTENT, "return_url": "nowhere"}, (None, "return_url")),
        (b"amount=1&amount=2", (None, "amount")),
        (b"a[b=1", (None, "a[b")),
        (b"amount=1&amount[a]=2", (None, "amount[a]")),
        (b"amount", (None, None)),
        (b"\xff=1", (None, None)),
        (b"&".join(b"a%d=1" % number for number in range(300)), (None, None)),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    face: Face, sandbox: SandboxProcess, form: Any, told: tuple[str | None, str | None]
) -> None:
    assert error_of(face.post("payment_intents", form)) == (400, REQUEST, *told)
    assert sandbox.ledger()["charges"] == []


@pytest.mark.parametrize(
    ("bent", "told"),
    [
        ({"success_url": None}, ("parameter_missing", "success_url")),
        ({"mode": "subscription"}, (None, "mode")),
        ({"line_items[0][price]": "price_1"}, ("parameter_unknown", "line_items[0][price]")),
        ({"line_items[0][quantity]": "2"}, (None, "line_items[0][quantity]")),
        ({"payment_intent_data[wrong]": "1"}, ("parameter_unknown", "payment_intent_data[wrong]")),
        ({"expires_at": "1700000000"}, (None, "expires_at")),
        ({"payment_method_types[0]": "sepa_debit"}, (None, "payment_method_types")),
    ],
)
def test_a_session_that_makes_no_sense_is_refused_by_name(
    face: Face, bent: dict[str, str | None], told: tuple[str | None, str | None]
) -> None:
    form = {name: value for name, value in {**a_session(), **bent}.items() if value is not None}
    assert error_of(face.post("checkout/sessions", form)) == (400, REQUEST, *told)


def a_session(**more: str) -> dict[str, str]:
    price = "line_items[0][price_data]"
    said = {
        "mode": "payment",
        "success_url": "https://shop.example/",
        "line_items[0][quantity]": "1",
        f"{price}[currency]": "usd",
        f"{price}[unit_amount]": "1250",
        f"{price}[product_data][name]": "Seven things",
    }
    return {**said, **more}


def test_the_door_takes_a_bearer_or_a_user_name(face: Face) -> None:
    basic = httpx.BasicAuth(API_KEY, "").auth_flow(httpx.Request("GET", "http://stripe"))
    for authorization, status in (
        (f"Bearer {API_KEY}", 200),
        (next(basic).headers["Authorization"], 200),
        ("Basic !", 401),
        (f"Basic {API_KEY}", 401),
        ("Bearer sk_other", 401),
        ("Bearer", 401),
        ("", 401),
    ):
        face.authorization = authorization
        assert face.get("payment_intents").status_code == status


def test_what_is_not_there_is_missing(face: Face) -> None:
    session = face.post("checkout/sessions", a_session()).json()["id"]
    of_a_session = "pi_" + session.rpartition("_")[2]  # Nobody has paid: there is no intent yet.
    for intent in ("pi_none", of_a_session):
        assert error_of(face.get(f"payment_intents/{intent}")) == (404, REQUEST, "resource_missing", "intent")
        assert error_of(face.post(f"payment_intents/{intent}/cancel")) == (404, REQUEST, "resource_missing", "intent")
        refund = face.post("refunds", {"payment_intent": intent})
        assert error_of(refund) == (404, REQUEST, "resource_missing", "payment_intent")
    assert error_of(face.get("checkout/sessions/cs_test_none")) == (404, REQUEST, "resource_missing", "session")
    assert error_of(face.post("checkout/sessions/cs_none/expire")) == (404, REQUEST, "resource_missing", "session")


def test_a_charge_of_another_dialect_is_not_there(face: Face, sandbox: SandboxProcess) -> None:
    made = sandbox.charge(key="k", reference="pay_1", amount_minor=1250).json()["id"]
    assert face.get("payment_intents/" + made.replace("ch_", "pi_")).status_code == 404
    assert face.get("payment_intents").json()["data"] == []


def test_a_request_without_a_key_is_another_one_each_time(face: Face, sandbox: SandboxProcess) -> None:
    first, second = (face.post("payment_intents", INTENT).json()["id"] for _ in range(2))
    assert first != second
    assert sandbox.operations() == [("charge", 1250)] * 2


def test_a_key_is_for_one_request_and_says_when_it_is_repeated(face: Face, sandbox: SandboxProcess) -> None:
    first = face.post("payment_intents", INTENT, key="k")
    again = face.post("payment_intents", INTENT, key="k")
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (first.json(), "true")
    other = face.post("payment_intents", {**INTENT, "amount": "1300"}, key="k")
    assert error_of(other) == (400, "idempotency_error", None, None)
    elsewhere = face.post(f"payment_intents/{first.json()['id']}/cancel", key="k")
    assert error_of(elsewhere) == (400, "idempotency_error", None, None)
    assert error_of(face.post("payment_intents", INTENT, key="x" * 256)) == (400, REQUEST, None, None)
    assert sandbox.operations() == [("charge", 1250)]


def test_a_list_goes_on_after_an_id_and_begins_at_a_time(face: Face) -> None:
    made = [face.post("payment_intents", INTENT).json()["id"] for _ in range(5)]
    face.post("checkout/sessions", a_session())
    first = face.get("payment_intents", limit="2").json()
    assert ([intent["id"] for intent in first["data"]], first["has_more"]) == ([made[4], made[3]], True)
    rest = face.get("payment_intents", limit="3", starting_after=made[3]).json()
    assert ([intent["id"] for intent in rest["data"]], rest["has_more"]) == ([made[2], made[1], made[0]], False)
    later = face.get("payment_intents", **{"created[gte]": str(in_a_while())}).json()
    assert (later["data"], later["has_more"]) == ([], False)
    assert error_of(face.get("payment_intents", **{"created[since]": "1"}))[2] == "parameter_unknown"
    assert error_of(face.get("payment_intents", limit="101"))[3] == "limit"


def test_a_search_is_for_a_reference_only(face: Face) -> None:
    labelled = {**INTENT, "metadata[reference]": "a"}
    made = [face.post("payment_intents", labelled).json()["id"] for _ in range(2)]
    found = face.get("payment_intents/search", query='metadata["reference"]:"a"', limit="1").json()
    assert ([intent["id"] for intent in found["data"]], found["has_more"]) == ([made[1]], True)
    assert error_of(face.get("payment_intents/search", query="status:'succeeded'"))[3] == "query"
    assert error_of(face.get("payment_intents/search"))[2] == "parameter_missing"


def test_what_is_shown_whole_was_asked_for(face: Face) -> None:
    intent = face.post("payment_intents", INTENT).json()
    assert intent["latest_charge"].startswith("ch_")
    whole = face.get(f"payment_intents/{intent['id']}", **{"expand[0]": "latest_charge"}).json()
    assert whole["latest_charge"]["payment_intent"] == intent["id"]
    listed = face.get("payment_intents", **{"expand[]": "data.latest_charge"}).json()
    assert listed["data"] == [whole]


def test_an_open_session_can_be_ended_and_a_paid_one_cannot(face: Face, sandbox: SandboxProcess) -> None:
    data = {"payment_intent_data[capture_method]": "manual"}
    session = face.post("checkout/sessions", a_session(**data, client_reference_id="a")).json()["id"]
    sandbox.settle("ch_" + session.rpartition("_")[2], "pay")
    assert error_of(face.post(f"checkout/sessions/{session}/expire")) == (400, REQUEST, None, None)
    assert face.get(f"checkout/sessions/{session}").json()["status"] == "complete"
    other = face.post("checkout/sessions", a_session()).json()["id"]
    for key, status in (("k", 200), ("k", 200), ("other", 400)):
        assert face.post(f"checkout/sessions/{other}/expire", key=key).status_code == status
    assert sandbox.operations() == [("authorize", 1250)]


def test_a_decline_shows_the_intent_that_was_declined(face: Face) -> None:
    declined = face.post("payment_intents", {**INTENT, "payment_method": "tok_insufficient_funds"})
    error = declined.json()["error"]
    intent = error.pop("payment_intent")
    assert (declined.status_code, error["code"], error["decline_code"]) == (402, "card_declined", "insufficient_funds")
    assert (intent["status"], intent["last_payment_error"]) == ("requires_payment_method", error)


def test_the_ledger_keeps_what_stripe_would(face: Face, sandbox: SandboxProcess) -> None:
    face.post("payment_intents", {**INTENT, "metadata[reference]": "a", "metadata[other]": "b"})
    (charge,) = sandbox.ledger(reference="a")["charges"]
    assert json.loads(charge["metadata"]["intent_metadata"]) == {"reference": "a", "other": "b"}
    assert charge["dialect"] == "stripe"
