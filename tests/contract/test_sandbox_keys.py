"""The sandbox gateway's promises about idempotency keys, over real HTTP against the real process."""

import concurrent.futures
import threading

import httpx
import pytest

from tests.contract.sandbox_server import SandboxProcess, wait_until


def code(response: httpx.Response) -> str:
    return str(response.json()["error"]["code"])


def test_same_key_and_body_replays_the_answer_and_charges_once(sandbox: SandboxProcess) -> None:
    first = sandbox.charge(key="k")
    second = sandbox.charge(key="k")

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert sandbox.operations() == [("charge", 1000)]


def test_replay_does_not_depend_on_the_order_of_fields(sandbox: SandboxProcess) -> None:
    body = {"reference": "order-1", "amount_minor": 1000, "currency": "USD", "payment_token": "tok_ok"}
    first = sandbox.post("charges", body, key="k")
    second = sandbox.post("charges", dict(reversed(body.items())), key="k")

    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.json() == first.json()


def test_same_key_with_another_body_is_a_mismatch(sandbox: SandboxProcess) -> None:
    sandbox.charge(key="k")
    other = sandbox.charge(key="k", amount_minor=1001)

    assert other.status_code == 400
    assert code(other) == "idempotency_key_mismatch"
    assert sandbox.operations() == [("charge", 1000)]


def test_same_key_on_another_path_is_a_mismatch(sandbox: SandboxProcess) -> None:
    charge_id = sandbox.charge(key="k").json()["id"]
    other = sandbox.post(f"charges/{charge_id}/refund", key="k")

    assert code(other) == "idempotency_key_mismatch"
    assert sandbox.operations() == [("charge", 1000)]


def test_same_key_while_the_first_runs_is_in_use_and_replays_afterwards(
    sandbox: SandboxProcess, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    first = pool.submit(sandbox.charge, key="k", token="tok_hang_after")
    sandbox.wait_until_held(1)
    second = sandbox.charge(key="k", token="tok_hang_after")
    other_body = sandbox.charge(key="k", token="tok_hang_after", amount_minor=2000)
    sandbox.release()

    assert (second.status_code, code(second)) == (409, "idempotency_key_in_use")
    assert code(other_body) == "idempotency_key_mismatch"
    assert first.result().status_code == 201
    assert sandbox.charge(key="k", token="tok_hang_after").content == first.result().content
    assert sandbox.operations() == [("charge", 1000)]


def test_many_requests_with_one_key_at_once_charge_once(
    sandbox: SandboxProcess, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    barrier = threading.Barrier(16)

    def ask() -> int:
        barrier.wait()
        return sandbox.charge(key="k", token="tok_slow_0.1").status_code

    statuses = [future.result() for future in [pool.submit(ask) for _ in range(16)]]

    assert sorted(set(statuses)) in ([201], [201, 409])
    assert sandbox.operations() == [("charge", 1000)]


def test_declines_and_server_errors_are_replayed(sandbox: SandboxProcess) -> None:
    for token, status in (("tok_insufficient_funds", 402), ("tok_error_after", 500), ("tok_error_before", 500)):
        first = sandbox.charge(key=token, token=token)
        second = sandbox.charge(key=token, token=token)
        assert (first.status_code, second.status_code) == (status, status)
        assert second.content == first.content
        assert second.headers["Idempotent-Replayed"] == "true"
    assert sandbox.operations() == [("charge", 1000)]  # error_after charged; the replayed 500s look alike


def test_illegal_state_is_replayed(sandbox: SandboxProcess) -> None:
    charge_id = sandbox.charge(key="k").json()["id"]
    first = sandbox.post(f"charges/{charge_id}/void", key="v")
    second = sandbox.post(f"charges/{charge_id}/void", key="v")

    assert (first.status_code, code(first)) == (409, "invalid_state")
    assert second.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(("behaviour", "status"), [("unavailable", 503), ("rate_limited", 429)])
def test_refusals_at_the_door_are_not_saved(sandbox: SandboxProcess, behaviour: str, status: int) -> None:
    sandbox.behave(behaviour, times=1)
    first = sandbox.charge(key="k")
    second = sandbox.charge(key="k")

    assert (first.status_code, second.status_code) == (status, 201)
    assert "Idempotent-Replayed" not in second.headers
    assert sandbox.operations() == [("charge", 1000)]


def test_invalid_and_unauthorized_requests_do_not_use_up_the_key(sandbox: SandboxProcess) -> None:
    assert sandbox.charge(key="k", amount_minor=0).status_code == 400
    assert sandbox.post("charges", {}, key="k", api_key="wrong").status_code == 401
    assert sandbox.charge(key="k").status_code == 201


def test_unknown_charge_is_not_saved(sandbox: SandboxProcess) -> None:
    missing = [sandbox.post("charges/ch_none/refund", key="r") for _ in range(2)]

    assert [answer.status_code for answer in missing] == [404, 404]
    assert "Idempotent-Replayed" not in missing[1].headers


def test_a_gateway_that_forgot_the_key_charges_again(sandbox: SandboxProcess) -> None:
    sandbox.charge(key="k")
    assert sandbox.forget_keys() == 1
    again = sandbox.charge(key="k")

    assert again.status_code == 201
    assert "Idempotent-Replayed" not in again.headers
    assert sandbox.operations() == [("charge", 1000), ("charge", 1000)]


def test_keys_are_forgotten_after_their_time(sandbox: SandboxProcess) -> None:
    first = sandbox.charge(key="k").json()["id"]
    sandbox.settings(key_ttl_seconds=0.001)
    second = sandbox.charge(key="k").json()["id"]

    assert first != second


def test_a_replay_still_meets_a_gateway_that_is_down(sandbox: SandboxProcess) -> None:
    first = sandbox.charge(key="k")
    sandbox.behave("unavailable", times=1)

    assert sandbox.charge(key="k").status_code == 503
    assert sandbox.charge(key="k").content == first.content


def test_a_replay_does_not_use_up_a_fault_that_needs_an_execution(sandbox: SandboxProcess) -> None:
    first = sandbox.charge(key="k")
    sandbox.behave("error_after", times=1)

    assert sandbox.charge(key="k").content == first.content
    assert sandbox.charge(key="other").status_code == 500


# Cancel by key.


def cancel(sandbox: SandboxProcess, key: str) -> dict[str, object]:
    response = sandbox.post(f"idempotency-keys/{key}/cancel")
    assert response.status_code == 200, response.text
    found: dict[str, object] = response.json()
    return found


def test_cancelled_unknown_key_can_never_charge(sandbox: SandboxProcess) -> None:
    assert cancel(sandbox, "k") == {"result": "cancelled_before_execution", "charge": None}
    for _ in range(2):
        late = sandbox.charge(key="k")
        assert (late.status_code, code(late)) == (409, "key_cancelled")
    sandbox.forget_keys()
    assert code(sandbox.charge(key="k")) == "key_cancelled"
    assert sandbox.operations() == []


def test_cancel_refunds_what_was_captured_once(sandbox: SandboxProcess) -> None:
    sandbox.charge(key="k")

    assert cancel(sandbox, "k")["result"] == "refunded"
    assert cancel(sandbox, "k")["result"] == "already_final"
    assert sandbox.operations() == [("charge", 1000), ("refund", 1000)]
    assert sandbox.charge(key="k").json()["error"]["code"] == "key_cancelled"
    sandbox.forget_keys()
    assert sandbox.charge(key="k").json()["error"]["code"] == "key_cancelled"
    assert len(sandbox.operations()) == 2


def test_cancel_refunds_only_what_is_left(sandbox: SandboxProcess) -> None:
    charge_id = sandbox.charge(key="k").json()["id"]
    sandbox.post(f"charges/{charge_id}/refund", {"amount_minor": 300}, key="r")

    assert cancel(sandbox, "k")["result"] == "refunded"
    assert sandbox.operations() == [("charge", 1000), ("refund", 300), ("refund", 700)]


def test_cancel_voids_what_was_authorized(sandbox: SandboxProcess) -> None:
    sandbox.charge(key="k", capture=False)

    assert cancel(sandbox, "k")["result"] == "voided"
    assert sandbox.operations() == [("authorize", 1000), ("void", 1000)]


def test_cancel_voids_what_is_pending_and_it_can_no_longer_be_paid(sandbox: SandboxProcess) -> None:
    charge_id = sandbox.charge(key="k", token="tok_hosted").json()["id"]

    assert cancel(sandbox, "k")["result"] == "voided"
    assert httpx.post(f"{sandbox.url}/pay/{charge_id}", data={"action": "pay"}).status_code == 409
    assert sandbox.operations() == []


def test_cancel_of_a_decline_is_final_already(sandbox: SandboxProcess) -> None:
    sandbox.charge(key="k", token="tok_declined")

    assert cancel(sandbox, "k")["result"] == "already_final"


def test_cancel_finds_the_charge_though_the_key_was_forgotten(sandbox: SandboxProcess) -> None:
    sandbox.charge(key="k")
    sandbox.forget_keys()

    assert cancel(sandbox, "k")["result"] == "refunded"


def test_cancel_of_a_key_that_made_no_charge_but_captured_is_refused(sandbox: SandboxProcess) -> None:
    charge_id = sandbox.charge(key="k", capture=False).json()["id"]
    sandbox.post(f"charges/{charge_id}/capture", key="c")
    refused = sandbox.post("idempotency-keys/c/cancel")

    assert (refused.status_code, code(refused)) == (409, "invalid_state")
    assert sandbox.operations() == [("authorize", 1000), ("capture", 1000)]


def test_cancel_after_an_unexecuted_server_error_bars_the_key(sandbox: SandboxProcess) -> None:
    sandbox.charge(key="k", token="tok_error_before")

    assert cancel(sandbox, "k")["result"] == "cancelled_before_execution"
    assert code(sandbox.charge(key="k", token="tok_error_before")) == "key_cancelled"


def test_cancel_beats_a_request_that_is_held_before_execution(
    sandbox: SandboxProcess, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    held = pool.submit(sandbox.charge, key="k", token="tok_hang_before")
    sandbox.wait_until_held(1)

    assert cancel(sandbox, "k")["result"] == "cancelled_before_execution"
    sandbox.release()
    assert (held.result().status_code, code(held.result())) == (409, "key_cancelled")
    assert sandbox.operations() == []


def test_cancel_beats_a_request_that_waits_for_the_issuer(
    sandbox: SandboxProcess, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    sandbox.settings(execute_at_fraction=1.0)
    waiting = pool.submit(sandbox.charge, key="k", token="tok_slow_0.5")
    wait_until(lambda: sandbox.in_flight()["count"] == 1, what="the request arrived")

    assert cancel(sandbox, "k")["result"] == "cancelled_before_execution"
    assert code(waiting.result()) == "key_cancelled"
    assert sandbox.operations() == []


def test_cancel_beats_a_request_that_is_about_to_fail(
    sandbox: SandboxProcess, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    sandbox.settings(profile="square", execute_at_fraction=0.3)
    failing = pool.submit(sandbox.charge, key="k", token="tok_error_before")
    wait_until(lambda: sandbox.in_flight()["count"] == 1, what="the request arrived")

    assert cancel(sandbox, "k")["result"] == "cancelled_before_execution"
    assert code(failing.result()) == "key_cancelled"


def test_cancel_undoes_a_request_that_has_executed_but_is_not_answered(
    sandbox: SandboxProcess, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    held = pool.submit(sandbox.charge, key="k", token="tok_hang_after")
    sandbox.wait_until_held(1)

    assert cancel(sandbox, "k")["result"] == "refunded"
    sandbox.release()
    assert held.result().status_code == 201
    assert sandbox.operations() == [("charge", 1000), ("refund", 1000)]


def test_cancels_racing_with_charges_never_leave_money_taken(
    sandbox: SandboxProcess, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    sandbox.behave("slow:0.02")

    def race(number: int) -> None:
        charged = pool.submit(sandbox.charge, key=f"k{number}", reference=f"o{number}")
        cancel(sandbox, f"k{number}")
        charged.result()

    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as racers:
        list(racers.map(race, range(40)))

    for number in range(40):
        assert [name for name, _ in sandbox.operations(reference=f"o{number}")] in ([], ["charge", "refund"])
