"""The sandbox gateway as a process: killed, restarted, crowded, asked to end, and closed to strangers."""

import asyncio
import concurrent.futures
import json
import pathlib
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator

import aiohttp
import httpx
import pytest

from payments.gateways.sandbox.control import is_loopback
from tests.contract.sandbox_server import API_KEY, ROOT, SandboxProcess

CROWD = 2_000


@pytest.fixture
def sandbox(tmp_path: pathlib.Path) -> Iterator[SandboxProcess]:
    with SandboxProcess(ledger=tmp_path / "ledger.db") as started:
        yield started


def test_killed_gateway_keeps_its_ledger_and_replays(sandbox: SandboxProcess) -> None:
    first = sandbox.charge(key="k")
    declined = sandbox.charge(key="d", token="tok_declined")
    sandbox.post("idempotency-keys/barred/cancel")
    before = sandbox.ledger()
    sandbox.kill()
    sandbox.start()

    assert sandbox.ledger() == before
    assert sandbox.charge(key="k").content == first.content
    assert sandbox.charge(key="d", token="tok_declined").content == declined.content
    assert sandbox.charge(key="barred").json()["error"]["code"] == "key_cancelled"
    assert sandbox.operations() == [("charge", 1000)]


@pytest.mark.parametrize(("token", "executed"), [("tok_hang_before", False), ("tok_hang_after", True)])
def test_gateway_killed_in_the_middle_of_a_charge(sandbox: SandboxProcess, token: str, executed: bool) -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        cut_off = pool.submit(sandbox.charge, key="k", token=token)
        sandbox.wait_until_held(1)
        sandbox.kill()
        assert isinstance(cut_off.exception(), httpx.TransportError)
    sandbox.start()
    (arrived,) = sandbox.ledger()["requests"]

    assert (arrived["executed"], arrived["ended"]) == (executed, None)
    assert sandbox.operations() == ([("charge", 1000)] if executed else [])
    if executed:
        assert sandbox.charge(key="k", token=token).headers["Idempotent-Replayed"] == "true"
    else:
        sandbox.behave("ok")  # The in-flight mark died with the process: the key is as good as new.
        assert sandbox.charge(key="k", token=token).status_code == 201
    assert sandbox.operations() == [("charge", 1000)]


def test_gateway_killed_under_load_never_moved_money_without_its_answer(sandbox: SandboxProcess) -> None:
    with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
        charges = [pool.submit(sandbox.charge, key=f"k{number}") for number in range(200)]
        next(concurrent.futures.as_completed(charges)).result()
        sandbox.kill()
        concurrent.futures.wait(charges)
    answered = {charge.result().json()["id"] for charge in charges if charge.exception() is None}
    sandbox.start()
    ledger = sandbox.ledger()

    moved = {row["charge_id"]: row["idempotency_key"] for row in ledger["operations"]}
    assert answered <= set(moved)
    assert len(answered) < 200
    assert {row["idempotency_key"] for row in ledger["requests"] if row["executed"]} == set(moved.values())
    assert {row["charge_id"] for row in ledger["events"]} == set(moved)
    for charge_id, key in moved.items():
        assert sandbox.charge(key=key).json()["id"] == charge_id


def test_two_thousand_requests_are_held_at_once(sandbox: SandboxProcess) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sandbox.behave("hang_after")

    async def crowd() -> list[int]:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), headers={"Authorization": f"Bearer {API_KEY}"}
        ) as session:

            async def ask(number: int) -> int:
                body = {"reference": f"o{number}", "amount_minor": 1000, "currency": "USD"}
                body["payment_token"] = "tok_ok"
                headers = {"Idempotency-Key": f"k{number}"}
                async with session.post(f"{sandbox.url}/v1/charges", json=body, headers=headers) as response:
                    await response.read()
                    return response.status

            asking = [asyncio.create_task(ask(number)) for number in range(CROWD)]
            await asyncio.to_thread(sandbox.wait_until_held, CROWD, deadline_seconds=60.0)
            assert len(await asyncio.to_thread(sandbox.operations)) == CROWD
            assert await asyncio.to_thread(sandbox.release) == CROWD
            return list(await asyncio.gather(*asking))

    assert set(asyncio.run(crowd())) == {201}
    assert (sandbox.in_flight()["count"], sandbox.in_flight()["peak"]) == (0, CROWD)


def test_asked_to_end_it_ends_cleanly_though_requests_are_held(sandbox: SandboxProcess) -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        held = [
            pool.submit(sandbox.charge, key=token, token=token)
            for token in ("tok_hang_before", "tok_hang_after", "tok_slow_3600", "tok_slow_drip")
        ]
        sandbox.wait_until_held(3)
        assert sandbox.stop() == 0
        assert all(isinstance(charge.exception(), httpx.TransportError) for charge in held)
    assert "Traceback" not in sandbox.logs()


def test_log_has_one_json_line_per_request_and_no_secrets(sandbox: SandboxProcess) -> None:
    sandbox.charge(key="k")
    sandbox.charge(key="k")
    ready, *lines = sandbox.logs().splitlines()
    parsed = [json.loads(line) for line in lines]

    assert ready == f"sandbox gateway ready on {sandbox.url}"
    assert [(line["key"], line["reference"], line["outcome"]) for line in parsed] == [
        ("k", "order-1", "answered"),
        ("k", "order-1", "replayed"),
    ]
    assert API_KEY not in sandbox.logs()
    assert "tok_" not in sandbox.logs()


def test_it_loads_neither_django_nor_celery_nor_the_domain() -> None:
    script = "import sys, payments.gateways.sandbox.server; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    names = set(loaded.stdout.split())

    assert not names & {"django", "celery", "structlog", "payments.domain", "payments.models"}
    ours = {name for name in names if name.startswith("payments.")}
    assert {name for name in ours if not name.startswith("payments.gateways.sandbox")} == {"payments.gateways"}


def test_arguments_come_from_the_environment_too(tmp_path: pathlib.Path) -> None:
    environment = {"SANDBOX_API_KEY": "other", "SANDBOX_KEY_TTL_SECONDS": "60"}
    with SandboxProcess(ledger=tmp_path / "ledger.db", environment=environment, profile="square") as sandbox:
        shown = sandbox.settings()
        assert (shown["profile"], shown["key_ttl_seconds"]) == ("square", 60)
        assert sandbox.get("charges?reference=o").status_code == 401
        assert sandbox.get("charges?reference=o", api_key="other").status_code == 200


def outside_address() -> str | None:
    """Return this machine's address on some network, if it has one; connecting UDP sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if is_loopback(address) else address


def test_control_endpoints_refuse_other_machines(tmp_path: pathlib.Path) -> None:
    address = outside_address()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    with SandboxProcess(ledger=tmp_path / "ledger.db", host="0.0.0.0") as sandbox:  # noqa: S104  # the point
        with httpx.Client(trust_env=False) as client:
            base = f"http://{address}:{sandbox.port}"
            refused = [client.get(f"{base}/control/{path}") for path in ("health", "ledger", "in-flight")]
            refused.append(client.post(f"{base}/control/reset"))
            answered = client.get(f"{base}/v1/charges?reference=o", headers={"Authorization": f"Bearer {API_KEY}"})

        assert {response.status_code for response in refused} == {403}
        assert answered.status_code == 200


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_loopback_in_every_spelling(peer: str) -> None:
    assert is_loopback(peer)


@pytest.mark.parametrize("peer", [None, "", "10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "localhost"])
def test_everything_else_is_not(peer: str | None) -> None:
    assert not is_loopback(peer)
