"""What the sandbox gateway lets happen to a charge, who may ask, and how one must ask."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.contract.sandbox_server import API_KEY, SandboxProcess, wait_until


@pytest.fixture
def browser() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False) as client:
        yield client


def code(response: httpx.Response) -> str:
    return str(response.json()["error"]["code"])


def test_charge_object_has_every_field(sandbox: SandboxProcess) -> None:
    charge = sandbox.charge(key="k", metadata={"cart": "7"}).json()

    assert charge.pop("id").startswith("ch_")
    assert charge.pop("created_at") == charge.pop("updated_at")
    assert charge == {
        "object": "charge",
        "reference": "order-1",
        "status": "captured",
        "amount_minor": 1000,
        "amount_captured_minor": 1000,
        "amount_refunded_minor": 0,
        "currency": "USD",
        "decline_code": None,
        "redirect_url": None,
        "payment_token": "tok_ok",
        "metadata": {"cart": "7"},
        "expires_at": None,
        "version": 1,
    }


def test_capture_takes_all_or_part_of_an_authorization_once(sandbox: SandboxProcess) -> None:
    whole = sandbox.charge(key="a", capture=False).json()["id"]
    part = sandbox.charge(key="b", capture=False).json()["id"]

    taken = sandbox.post(f"charges/{whole}/capture", key="c1").json()
    assert (taken["status"], taken["amount_captured_minor"], taken["version"]) == ("captured", 1000, 2)
    assert code(sandbox.post(f"charges/{part}/capture", {"amount_minor": 1001}, key="c2")) == (
        "capture_exceeds_authorized"
    )
    partly = sandbox.post(f"charges/{part}/capture", {"amount_minor": 400}, key="c3").json()
    assert partly["amount_captured_minor"] == 400
    again = sandbox.post(f"charges/{part}/capture", {"amount_minor": 100}, key="c4")
    assert (again.status_code, code(again)) == (409, "invalid_state")
    assert sandbox.operations() == [
        ("authorize", 1000),
        ("authorize", 1000),
        ("capture", 1000),
        ("capture", 400),
    ]


def test_void_releases_an_authorization_and_nothing_else(sandbox: SandboxProcess) -> None:
    held = sandbox.charge(key="a", capture=False).json()["id"]
    taken = sandbox.charge(key="b").json()["id"]

    assert sandbox.post(f"charges/{held}/void", key="v1").json()["status"] == "voided"
    for charge_id, key in ((held, "v2"), (taken, "v3")):
        refused = sandbox.post(f"charges/{charge_id}/void", key=key)
        assert (refused.status_code, code(refused)) == (409, "invalid_state")
    assert sandbox.operations() == [("authorize", 1000), ("charge", 1000), ("void", 1000)]


def test_refunds_never_exceed_what_was_captured(sandbox: SandboxProcess) -> None:
    path = f"charges/{sandbox.charge(key='a').json()['id']}/refund"

    part = sandbox.post(path, {"amount_minor": 300}, key="r1").json()
    assert (part["status"], part["amount_refunded_minor"]) == ("captured", 300)
    too_much = sandbox.post(path, {"amount_minor": 701}, key="r2")
    assert (too_much.status_code, code(too_much)) == (409, "refund_exceeds_captured")
    rest = sandbox.post(path, key="r3").json()
    assert (rest["status"], rest["amount_refunded_minor"]) == ("refunded", 1000)
    assert code(sandbox.post(path, key="r4")) == "refund_exceeds_captured"
    assert code(sandbox.post(path, {"amount_minor": 1}, key="r5")) == "refund_exceeds_captured"
    assert sandbox.operations() == [("charge", 1000), ("refund", 300), ("refund", 700)]


@pytest.mark.parametrize("token", ["tok_declined", "tok_pending"])
def test_what_took_no_money_cannot_be_captured_or_refunded(sandbox: SandboxProcess, token: str) -> None:
    sandbox.charge(key="a", token=token)
    charge_id = sandbox.ledger()["charges"][0]["id"]

    for verb in ("capture", "refund"):
        assert code(sandbox.post(f"charges/{charge_id}/{verb}", key=verb)) == "invalid_state"
    assert sandbox.operations() == []


def test_lookup_by_id_and_by_reference_newest_first(sandbox: SandboxProcess) -> None:
    first = sandbox.charge(key="a", reference="o1").json()
    second = sandbox.charge(key="b", reference="o1").json()
    sandbox.charge(key="c", reference="o2")

    assert sandbox.get(f"charges/{first['id']}").json() == first
    assert sandbox.get("charges?reference=o1").json() == {"data": [second, first]}
    assert sandbox.get("charges?reference=none").json() == {"data": []}


def test_unknown_charges_and_paths_are_not_found(sandbox: SandboxProcess) -> None:
    for response in (sandbox.get("charges/ch_none"), sandbox.post("charges/ch_none/void", key="v")):
        assert (response.status_code, code(response)) == (404, "not_found")
    assert sandbox.get("nothing").status_code == 404
    assert code(sandbox.get("nothing")) == "not_found"


def test_authorized_charge_expires_and_releases_its_hold(sandbox: SandboxProcess) -> None:
    charge_id = sandbox.charge(key="a", capture=False, expires_in_seconds=1).json()["id"]
    wait_until(lambda: len(sandbox.operations()) == 2, what="the hold is released")

    assert sandbox.operations() == [("authorize", 1000), ("void", 1000)]
    assert sandbox.get(f"charges/{charge_id}").json()["status"] == "expired"
    assert code(sandbox.post(f"charges/{charge_id}/capture", key="c")) == "invalid_state"


# Who may ask, and how.


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", f"Basic {API_KEY}", f"Bearer {API_KEY}x"])
def test_without_the_api_key_nothing_is_done(
    sandbox: SandboxProcess, browser: httpx.Client, header: str | None
) -> None:
    body = {"reference": "o", "amount_minor": 1000, "currency": "USD", "payment_token": "tok_ok"}
    headers = {"Idempotency-Key": "k"} | ({} if header is None else {"Authorization": header})
    response = browser.post(f"{sandbox.url}/v1/charges", json=body, headers=headers)

    assert (response.status_code, code(response)) == (401, "unauthorized")
    assert sandbox.ledger()["charges"] == []
    assert [row["status"] for row in sandbox.ledger()["requests"]] == [401]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"amount_minor": 0}, "amount_minor"),
        ({"amount_minor": -1}, "amount_minor"),
        ({"amount_minor": 10.0}, "amount_minor"),
        ({"amount_minor": "10"}, "amount_minor"),
        ({"amount_minor": True}, "amount_minor"),
        ({"amount_minor": 10**30}, "amount_minor"),
        ({"currency": "usd"}, "currency"),
        ({"currency": "USDT"}, "currency"),
        ({"reference": ""}, "reference"),
        ({"reference": 7}, "reference"),
        ({"payment_token": "tok_no_such_behaviour"}, "payment_token"),
        ({"capture": "yes"}, "capture"),
        ({"return_url": "javascript:alert(1)"}, "return_url"),
        ({"return_url": "http://[bad"}, "return_url"),
        ({"expires_in_seconds": 0}, "expires_in_seconds"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": []}, "metadata"),
        ({"amount": 1000}, "amount"),
    ],
)
def test_bad_and_unknown_fields_are_named(sandbox: SandboxProcess, change: dict[str, Any], param: str) -> None:
    body = {"reference": "o", "amount_minor": 1000, "currency": "USD", "payment_token": "tok_ok", **change}
    response = sandbox.post("charges", body, key="k")

    assert response.status_code == 400
    assert (code(response), response.json()["error"]["param"]) == ("invalid_request", param)
    assert sandbox.ledger()["charges"] == []


@pytest.mark.parametrize("field", ["reference", "amount_minor", "currency", "payment_token"])
def test_required_fields_are_required(sandbox: SandboxProcess, field: str) -> None:
    body = {"reference": "o", "amount_minor": 1000, "currency": "USD", "payment_token": "tok_ok"}
    del body[field]

    assert sandbox.post("charges", body, key="k").json()["error"]["param"] == field


@pytest.mark.parametrize(
    "text", [b"[]", b"{", b'"a"', b"\xff", b'{"a":1,"a":2}', b'{"a":NaN}', b'{"reference":"\\ud800"}', b"[" * 30_000]
)
def test_what_is_not_a_proper_json_object_is_refused(
    sandbox: SandboxProcess, browser: httpx.Client, text: bytes
) -> None:
    headers = {"Authorization": f"Bearer {API_KEY}", "Idempotency-Key": "k"}
    response = browser.post(f"{sandbox.url}/v1/charges", content=text, headers=headers)

    assert (response.status_code, code(response)) == (400, "invalid_request")


def test_keys_are_required_where_money_moves(sandbox: SandboxProcess) -> None:
    body = {"reference": "o", "amount_minor": 1000, "currency": "USD", "payment_token": "tok_ok"}
    for key in (None, "", "x" * 256):
        response = sandbox.post("charges", body, key=key)
        assert response.json()["error"]["param"] == "Idempotency-Key"
    assert sandbox.post("charges/ch_x/void").status_code == 400


def test_lookup_needs_a_reference_and_nothing_else(sandbox: SandboxProcess) -> None:
    assert sandbox.get("charges").json()["error"]["param"] == "reference"
    assert sandbox.get("charges?reference=o&limit=1").json()["error"]["param"] == "limit"


# The hosted page.


def hosted(sandbox: SandboxProcess, **more: Any) -> dict[str, Any]:
    more = {"return_url": "http://shop.example/back?lang=en#top", **more}
    charge: dict[str, Any] = sandbox.charge(key="k", token="tok_hosted", **more).json()
    assert (charge["status"], sandbox.operations()) == ("pending", [])
    return charge


def test_hosted_page_shows_what_is_asked(sandbox: SandboxProcess, browser: httpx.Client) -> None:
    page = browser.get(hosted(sandbox, reference="<b>order</b>", amount_minor=123_456)["redirect_url"])

    assert page.status_code == 200
    assert "1,234.56 USD" in page.text
    assert "&lt;b&gt;order&lt;/b&gt;" in page.text
    assert "<script" not in page.text
    assert [f'value="{action}"' in page.text for action in ("pay", "decline", "cancel")] == [True] * 3


@pytest.mark.parametrize(
    ("action", "status", "operations"),
    [("pay", "captured", [("charge", 1000)]), ("decline", "declined", []), ("cancel", "voided", [])],
)
def test_hosted_page_decides_and_sends_the_customer_back(
    sandbox: SandboxProcess, browser: httpx.Client, action: str, status: str, operations: list[tuple[str, int]]
) -> None:
    charge = hosted(sandbox)
    answer = browser.post(charge["redirect_url"], data={"action": action})

    assert answer.status_code == 303
    assert answer.headers["Location"] == (f"http://shop.example/back?lang=en&charge={charge['id']}&status={status}#top")
    assert sandbox.get(f"charges/{charge['id']}").json()["status"] == status
    assert sandbox.operations() == operations


def test_hosted_page_cannot_be_paid_twice(sandbox: SandboxProcess, browser: httpx.Client) -> None:
    address = hosted(sandbox)["redirect_url"]
    statuses = [browser.post(address, data={"action": "pay"}).status_code for _ in range(2)]

    assert statuses == [303, 409]
    assert "complete" in browser.get(address).text
    assert sandbox.operations() == [("charge", 1000)]


def test_hosted_page_expires_and_can_no_longer_be_paid(sandbox: SandboxProcess, browser: httpx.Client) -> None:
    charge = hosted(sandbox, expires_in_seconds=1)
    wait_until(lambda: "has expired" in browser.get(charge["redirect_url"]).text, what="the page has expired")

    assert browser.post(charge["redirect_url"], data={"action": "pay"}).status_code == 409
    assert sandbox.get(f"charges/{charge['id']}").json()["status"] == "expired"
    assert sandbox.operations() == []


def test_hosted_page_refuses_strangers(sandbox: SandboxProcess, browser: httpx.Client) -> None:
    charge = hosted(sandbox)

    assert browser.get(f"{sandbox.url}/pay/ch_none").status_code == 404
    assert browser.post(f"{sandbox.url}/pay/ch_none", data={"action": "pay"}).status_code == 404
    assert browser.post(charge["redirect_url"], data={"action": "steal"}).status_code == 400
    assert sandbox.operations() == []
