"""Starts the sandbox gateway as the process it is, for every test that needs a gateway to talk to."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

ROOT = pathlib.Path(__file__).resolve().parents[2]
API_KEY = "sk_sandbox"
WEBHOOK_SECRET = "whsec_sandbox"
START_SECONDS = 20.0
STOP_SECONDS = 10.0


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], *, what: str, deadline_seconds: float = 10.0) -> None:
    """Return as soon as `condition` holds; fail the test if it never does."""
    deadline = time.monotonic() + deadline_seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {deadline_seconds} s in vain until {what}")
        pause.wait(0.02)


class SandboxProcess:
    """One gateway process with a ledger that outlives it: `kill` and `start` again keep port and ledger."""

    def __init__(
        self,
        *,
        ledger: pathlib.Path,
        profile: str = "instant",
        webhook_url: str | None = None,
        host: str = "127.0.0.1",
        seed: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.ledger_path = ledger
        self.log_path = ledger.with_suffix(".log")
        self.host, self.port = host, free_port(host)
        self._arguments = ["--host", host, "--port", str(self.port), "--ledger", str(ledger)]
        self._arguments += ["--profile", profile, "--seed", str(seed)]
        if webhook_url is not None:
            self._arguments += ["--webhook-url", webhook_url]
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        # No connection is kept: each request is a client of its own, and none meets one of a killed process.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._http = httpx.Client(timeout=10.0, trust_env=False, limits=limits)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The process.

    @property
    def url(self) -> str:
        return f"http://{'127.0.0.1' if self.host == '0.0.0.0' else self.host}:{self.port}"  # noqa: S104  # compared

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers."""
        assert self._process is None, "it runs already"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SANDBOX_")}
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "payments.gateways.sandbox", *self._arguments],
                cwd=ROOT,
                env={**inherited, **self._environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._is_ready, what="the sandbox answers", deadline_seconds=START_SECONDS)

    def stop(self) -> int:
        """Ask it to end, as a supervisor would; return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without warning."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End it, if it still runs, and let go of everything."""
        if self._process is not None:
            self.kill()
        self._http.close()

    def logs(self) -> str:
        return self.log_path.read_text(errors="replace")

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            code, self._process = self._process.returncode, None
            raise AssertionError(f"the sandbox ended with {code}:\n{self.logs()}")
        try:
            return self._http.get(f"{self.url}/control/health").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None, "it does not run"
        process, self._process = self._process, None
        process.send_signal(number)
        try:
            return process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the sandbox did not end:\n{self.logs()}") from None

    # The control endpoints.

    def control(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        params: Mapping[str, str] | None = None,
    ) -> Any:
        """Call a control endpoint and return what it says; an error fails the test."""
        response = self._http.request(method, f"{self.url}/control/{path}", json=body, params=params)
        assert response.status_code == httpx.codes.OK, response.text
        return response.json()

    def ledger(self, *, reference: str | None = None, key: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Return the truth: charges, operations, requests and events, oldest first."""
        asked = {"reference": reference, "key": key}
        params = {name: value for name, value in asked.items() if value is not None}
        found: dict[str, list[dict[str, Any]]] = self.control("GET", "ledger", params=params)
        return found

    def operations(self, *, reference: str | None = None) -> list[tuple[str, int]]:
        """Return the money that moved, as (operation, amount in minor units), oldest first."""
        rows = self.ledger(reference=reference)["operations"]
        return [(row["operation"], row["amount_minor"]) for row in rows]

    def behave(
        self,
        behaviour: str,
        *,
        operation: str | None = None,
        times: int | None = None,
        fraction: float | None = None,
    ) -> None:
        """Switch a behaviour on, in place of an earlier one for the same operation."""
        asked = {"behaviour": behaviour, "operation": operation, "times": times, "fraction": fraction}
        self.control("POST", "behaviour", {name: value for name, value in asked.items() if value is not None})

    def behave_normally(self) -> None:
        """Switch everything off."""
        self.control("DELETE", "behaviour")

    def settings(self, **changes: object) -> dict[str, Any]:
        """Change settings, such as `profile="stripe"` or `webhook={"duplicates": 2}`; return all of them."""
        shown: dict[str, Any] = self.control("POST", "settings", changes)
        return shown

    def release(self) -> int:
        """Let held requests go on; return how many."""
        return int(self.control("POST", "release")["released"])

    def forget_keys(self) -> int:
        return int(self.control("POST", "forget-keys")["forgotten"])

    def in_flight(self) -> dict[str, int]:
        """Return {count, peak, held} of the requests on their way."""
        counts: dict[str, int] = self.control("GET", "in-flight")
        return counts

    def wait_until_held(self, count: int, *, deadline_seconds: float = 20.0) -> None:
        """Return as soon as `count` requests are held."""
        what = f"{count} requests are held"
        wait_until(lambda: self.in_flight()["held"] == count, what=what, deadline_seconds=deadline_seconds)

    def settle(self, charge_id: str, action: str) -> dict[str, Any]:
        """Decide a pending charge: pay, decline or cancel."""
        charge: dict[str, Any] = self.control("POST", f"charges/{charge_id}/settle", {"action": action})
        return charge

    def reset(self) -> None:
        """Empty the ledger, switch everything off, and go back to the settings of the start."""
        self.control("POST", "reset")

    # The API, for tests of the gateway itself and for looking around.

    def post(
        self,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        key: str | None = None,
        api_key: str = API_KEY,
        timeout_seconds: float = 10.0,
    ) -> httpx.Response:
        """POST to the native API on a connection of its own."""
        headers = {"Authorization": f"Bearer {api_key}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        url = f"{self.url}/v1/{path}"
        return self._http.post(url, json=body or {}, headers=headers, timeout=timeout_seconds)

    def get(self, path: str, *, api_key: str = API_KEY) -> httpx.Response:
        """GET from the native API."""
        return self._http.get(f"{self.url}/v1/{path}", headers={"Authorization": f"Bearer {api_key}"})

    def charge(
        self,
        *,
        key: str,
        token: str = "tok_ok",
        amount_minor: int = 1000,
        reference: str = "order-1",
        timeout_seconds: float = 10.0,
        **more: object,
    ) -> httpx.Response:
        """Ask for a charge."""
        body = {
            "reference": reference,
            "amount_minor": amount_minor,
            "currency": "USD",
            "payment_token": token,
            **more,
        }
        return self.post("charges", body, key=key, timeout_seconds=timeout_seconds)
