"""Every way the sandbox gateway can fail, and what its ledger says about each: executed, or not."""

import concurrent.futures
import socket

import httpx
import pytest

from payments.gateways.sandbox.behaviours import AMOUNT_ENDINGS, BEHAVIOURS, Kind
from tests.contract.sandbox_server import API_KEY, SandboxProcess, wait_until

DECLINES = sorted(name for name, behaviour in BEHAVIOURS.items() if behaviour.kind is Kind.DECLINE)


def last_request(sandbox: SandboxProcess) -> tuple[bool, int | None, str]:
    row = sandbox.ledger()["requests"][-1]
    return row["executed"], row["status"], row["ended"]


def wait_until_ended(sandbox: SandboxProcess, how: str) -> None:
    wait_until(
        lambda: all(row["ended"] == how for row in sandbox.ledger()["requests"]),
        what=f"the request ended as {how}",
    )


def test_every_behaviour_is_tested_here() -> None:
    tested = {
        *DECLINES,
        *("ok", "hang_before", "hang_after", "reset_before", "reset_after", "error_before", "error_after"),
        *("unavailable", "rate_limited", "slow_drip", "garbage"),
        *("pending", "hosted", "pending_then_captured", "pending_then_declined"),
    }
    assert set(BEHAVIOURS) == tested


@pytest.mark.parametrize("token", ["tok_ok", "tok_visa", "tok_mastercard", "anything-else"])
def test_ordinary_tokens_are_captured(sandbox: SandboxProcess, token: str) -> None:
    response = sandbox.charge(key="k", token=token)

    assert (response.status_code, response.json()["status"]) == (201, "captured")
    assert last_request(sandbox) == (True, 201, "answered")
    assert sandbox.operations() == [("charge", 1000)]


@pytest.mark.parametrize("name", DECLINES)
def test_declines_move_no_money(sandbox: SandboxProcess, name: str) -> None:
    response = sandbox.charge(key="k", token=f"tok_{name}")
    error = response.json()["error"]

    assert (response.status_code, error["code"], error["charge"]["status"]) == (402, "card_declined", "declined")
    assert error["decline_code"] == error["charge"]["decline_code"]
    assert error["decline_code"] == ("zq_17_unlisted" if name == "unknown_code" else name)
    assert sandbox.operations() == []


@pytest.mark.parametrize("ending", sorted(AMOUNT_ENDINGS))
def test_amount_chooses_the_behaviour_of_an_ordinary_card(sandbox: SandboxProcess, ending: int) -> None:
    name = AMOUNT_ENDINGS[ending]
    sandbox.settings(settle_delay_seconds=0)
    if name.startswith(("hang", "reset")):
        with pytest.raises(httpx.TransportError):
            sandbox.charge(key="k", token="tok_visa", amount_minor=1200 + ending, timeout_seconds=0.3)
        wait_until(lambda: sandbox.ledger()["requests"][-1]["ended"] is not None, what="it ended")
    else:
        sandbox.charge(key="k", token="tok_visa", amount_minor=1200 + ending)

    assert sandbox.ledger()["requests"][-1]["behaviour"] == name


@pytest.mark.parametrize("ending", [0, 1, 40, 50, 60, 90, 95, 99])
def test_usual_price_endings_are_normal(sandbox: SandboxProcess, ending: int) -> None:
    assert sandbox.charge(key="k", token="tok_visa", amount_minor=1200 + ending).status_code == 201


def test_a_switch_beats_the_token_and_the_token_beats_the_amount(sandbox: SandboxProcess) -> None:
    assert sandbox.charge(key="a", token="tok_ok", amount_minor=1242).status_code == 201
    declined = sandbox.charge(key="b", token="tok_expired_card", amount_minor=1242)
    assert declined.json()["error"]["decline_code"] == "expired_card"
    sandbox.behave("stolen_card")
    assert sandbox.charge(key="c", token="tok_ok").json()["error"]["decline_code"] == "stolen_card"
    sandbox.behave("ok")
    assert sandbox.charge(key="d", token="tok_expired_card").status_code == 201
    sandbox.behave_normally()
    assert sandbox.charge(key="e", token="tok_expired_card").status_code == 402


# Before execution.


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("error_before", 500, "internal_error"),
        ("unavailable", 503, "unavailable"),
        ("rate_limited", 429, "rate_limited"),
    ],
)
def test_errors_before_execution_charge_nothing(sandbox: SandboxProcess, name: str, status: int, code: str) -> None:
    response = sandbox.charge(key="k", token=f"tok_{name}")

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.headers.get("Retry-After") == ("1" if name == "rate_limited" else None)
    assert last_request(sandbox) == (False, status, "answered")
    assert sandbox.ledger()["charges"] == []


@pytest.mark.parametrize(("name", "executed"), [("reset_before", False), ("reset_after", True)])
def test_reset_reaches_the_client_as_a_tcp_reset(sandbox: SandboxProcess, name: str, executed: bool) -> None:
    body = ('{"reference":"order-1","amount_minor":1000,"currency":"USD","payment_token":"tok_' + name + '"}').encode()
    head = (
        f"POST /v1/charges HTTP/1.1\r\nHost: sandbox\r\nAuthorization: Bearer {API_KEY}\r\n"
        f"Idempotency-Key: k\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection((sandbox.host, sandbox.port), timeout=10) as connection:
        connection.sendall(head + body)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)  # An orderly close would return b"" here.

    assert last_request(sandbox) == (executed, None, "reset")
    assert sandbox.operations() == ([("charge", 1000)] if executed else [])


def test_hang_before_never_charges_once_the_client_has_left(sandbox: SandboxProcess) -> None:
    with pytest.raises(httpx.ReadTimeout):
        sandbox.charge(key="k", token="tok_hang_before", timeout_seconds=0.3)
    wait_until_ended(sandbox, "client_left")

    assert sandbox.release() == 0
    assert sandbox.ledger()["charges"] == []
    assert sandbox.in_flight()["count"] == 0


def test_hang_before_goes_on_when_released(
    sandbox: SandboxProcess, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    held = pool.submit(sandbox.charge, key="k", token="tok_hang_before")
    sandbox.wait_until_held(1)
    assert sandbox.ledger()["requests"][0]["ended"] is None
    assert sandbox.operations() == []

    assert sandbox.release() == 1
    assert held.result().status_code == 201
    assert sandbox.operations() == [("charge", 1000)]


# After execution.


def test_hang_after_has_charged_and_replays_at_once_to_a_client_that_hung_up(sandbox: SandboxProcess) -> None:
    for number in range(4):  # Its own abandoned request must not be in the way, however soon it comes back.
        with pytest.raises(httpx.ReadTimeout):
            sandbox.charge(key=f"k{number}", token="tok_hang_after", timeout_seconds=0.3)
        replay = sandbox.charge(key=f"k{number}", token="tok_hang_after")

        assert (replay.status_code, replay.headers["Idempotent-Replayed"]) == (201, "true")
        assert sandbox.operations() == [("charge", 1000)] * (number + 1)


def test_reset_after_replays_the_answer(sandbox: SandboxProcess) -> None:
    with pytest.raises(httpx.TransportError):
        sandbox.charge(key="k", token="tok_reset_after")
    replay = sandbox.charge(key="k", token="tok_reset_after")

    assert (replay.status_code, replay.json()["status"]) == (201, "captured")
    assert sandbox.operations() == [("charge", 1000)]


def test_error_after_has_charged_and_the_charge_can_be_found(sandbox: SandboxProcess) -> None:
    response = sandbox.charge(key="k", token="tok_error_after")

    assert response.status_code == 500
    assert last_request(sandbox) == (True, 500, "answered")
    found = sandbox.get("charges?reference=order-1").json()["data"]
    assert [charge["status"] for charge in found] == ["captured"]


def test_garbage_is_html_and_has_charged(sandbox: SandboxProcess) -> None:
    response = sandbox.charge(key="k", token="tok_garbage")

    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/html")
    assert sandbox.operations() == [("charge", 1000)]
    assert sandbox.charge(key="k", token="tok_garbage").json()["status"] == "captured"


def test_slow_drip_sends_the_whole_answer_byte_by_byte(sandbox: SandboxProcess) -> None:
    sandbox.settings(drip_interval_seconds=0.0005)
    headers = {"Authorization": f"Bearer {API_KEY}", "Idempotency-Key": "k"}
    body = {"reference": "o", "amount_minor": 1000, "currency": "USD", "payment_token": "tok_slow_drip"}
    url = f"{sandbox.url}/v1/charges"
    with httpx.Client() as client, client.stream("POST", url, json=body, headers=headers) as answer:
        chunks = list(answer.iter_raw())

    assert len(chunks) > 20  # The client may see neighbours together, never the whole.
    assert b"".join(chunks) == sandbox.post("charges", body, key="k").content
    assert sandbox.operations() == [("charge", 1000)]


def test_slow_drip_outlasts_a_client_that_gives_up(sandbox: SandboxProcess) -> None:
    with pytest.raises(httpx.ReadTimeout):
        sandbox.charge(key="k", token="tok_slow_drip", timeout_seconds=0.3)
    wait_until_ended(sandbox, "client_left")

    assert sandbox.operations() == [("charge", 1000)]
    assert sandbox.charge(key="k", token="tok_slow_drip").status_code == 201


def test_slow_charge_is_executed_though_its_client_left_before(sandbox: SandboxProcess) -> None:
    with pytest.raises(httpx.ReadTimeout):
        sandbox.charge(key="k", token="tok_slow_1", timeout_seconds=0.1)
    assert sandbox.operations() == []
    assert sandbox.charge(key="k", token="tok_slow_1").json()["error"]["code"] == "idempotency_key_in_use"
    wait_until(lambda: sandbox.in_flight()["count"] == 0, what="the slow charge is over")

    assert sandbox.operations() == [("charge", 1000)]
    assert sandbox.charge(key="k", token="tok_slow_1").headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, [("charge", 1000)]), (1.0, [])])
def test_execution_happens_at_the_set_share_of_the_latency(
    sandbox: SandboxProcess,
    pool: concurrent.futures.ThreadPoolExecutor,
    fraction: float,
    expected: list[tuple[str, int]],
) -> None:
    sandbox.settings(execute_at_fraction=fraction)
    running = pool.submit(sandbox.charge, key="k", token="tok_slow_1")
    wait_until(lambda: len(sandbox.ledger()["requests"]) == 1, what="the request arrived")

    assert sandbox.operations() == expected
    assert running.result().status_code == 201
    assert sandbox.operations() == [("charge", 1000)]


# Pending.


@pytest.mark.parametrize(
    ("name", "status", "operations"),
    [("pending_then_captured", "captured", [("charge", 1000)]), ("pending_then_declined", "declined", [])],
)
def test_pending_charges_decide_themselves(
    sandbox: SandboxProcess, name: str, status: str, operations: list[tuple[str, int]]
) -> None:
    sandbox.settings(settle_delay_seconds=0.3)
    charge = sandbox.charge(key="k", token=f"tok_{name}").json()
    assert (charge["status"], sandbox.operations()) == ("pending", [])
    path = f"charges/{charge['id']}"
    wait_until(lambda: sandbox.get(path).json()["status"] == status, what=f"it is {status}")

    assert sandbox.operations() == operations


def test_pending_waits_for_the_operator(sandbox: SandboxProcess) -> None:
    charge = sandbox.charge(key="k", token="tok_pending", capture=False).json()
    assert (charge["status"], charge["redirect_url"]) == ("pending", None)

    assert sandbox.settle(charge["id"], "pay")["status"] == "authorized"
    assert sandbox.operations() == [("authorize", 1000)]


# Switches.


def test_switch_for_some_requests_turns_itself_off(sandbox: SandboxProcess) -> None:
    sandbox.behave("unavailable", times=2)

    assert [sandbox.charge(key=f"k{number}").status_code for number in range(3)] == [503, 503, 201]


def test_switch_for_one_operation_leaves_the_others_alone(sandbox: SandboxProcess) -> None:
    sandbox.behave("unavailable", operation="refund")
    sandbox.behave("error_after", operation="authorize")
    charge_id = sandbox.charge(key="k").json()["id"]

    assert sandbox.post(f"charges/{charge_id}/refund", key="r").status_code == 503
    assert sandbox.charge(key="a", capture=False).status_code == 500
    assert sandbox.operations() == [("charge", 1000), ("authorize", 1000)]


def test_switch_for_charges_covers_authorizations(sandbox: SandboxProcess) -> None:
    sandbox.behave("unavailable", operation="charge")

    assert sandbox.charge(key="a", capture=False).status_code == 503


def test_switch_for_a_fraction_hits_some(sandbox: SandboxProcess) -> None:
    sandbox.behave("unavailable", fraction=0.5)
    statuses = {sandbox.charge(key=f"k{number}").status_code for number in range(40)}

    assert statuses == {201, 503}


def test_switch_reaches_lookups_and_cancels_only_when_told(sandbox: SandboxProcess) -> None:
    charge_id = sandbox.charge(key="k").json()["id"]
    sandbox.behave("error_after")
    assert sandbox.get(f"charges/{charge_id}").status_code == 200
    sandbox.behave("unavailable", operation="lookup")
    assert sandbox.get(f"charges/{charge_id}").status_code == 503
    sandbox.behave_normally()
    sandbox.behave("error_after", operation="all")

    assert sandbox.get(f"charges/{charge_id}").status_code == 500
    assert sandbox.post("idempotency-keys/k/cancel").status_code == 500
    assert sandbox.operations() == [("charge", 1000), ("refund", 1000)]


@pytest.mark.parametrize("verb", ["capture", "refund", "void"])
def test_declined_acts_leave_the_charge_as_it_was(sandbox: SandboxProcess, verb: str) -> None:
    charge = sandbox.charge(key="k", capture=verb == "refund").json()
    sandbox.behave("declined", operation=verb)
    response = sandbox.post(f"charges/{charge['id']}/{verb}", key="v")

    assert response.status_code == 402
    assert sandbox.get(f"charges/{charge['id']}").json() == charge
    assert len(sandbox.operations()) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"behaviour": "no_such_thing"},
        {"behaviour": "hosted", "operation": "refund"},
        {"behaviour": "declined", "operation": "lookup"},
        {"behaviour": "ok", "times": 0},
        {"behaviour": "ok", "fraction": 1.5},
        {"behaviour": "ok", "often": 1},
        {},
    ],
)
def test_switches_that_make_no_sense_are_refused(sandbox: SandboxProcess, body: dict[str, object]) -> None:
    response = httpx.post(f"{sandbox.url}/control/behaviour", json=body)

    assert response.status_code == 400
    assert sandbox.control("GET", "behaviour") == {"switches": []}


def test_reset_drops_held_requests_without_executing_them(
    sandbox: SandboxProcess, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    held = pool.submit(sandbox.charge, key="k", token="tok_hang_before")
    sandbox.wait_until_held(1)
    sandbox.reset()

    assert isinstance(held.exception(), httpx.TransportError)
    assert sandbox.ledger() == {"charges": [], "operations": [], "requests": [], "events": []}
    assert sandbox.charge(key="k").status_code == 201
