"""`make run`: what it chooses, when it refuses, and that it leaves nothing running."""

import http.client
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import psutil
import pytest

from project import run
from project.embedded.locks import is_held
from project.embedded.postgres import Postgres
from project.embedded.watcher import administer

CHECKOUT = Path(__file__).resolve().parents[2]
OURS = ("DATABASE_URL", "REDIS_URL", "PAYWINDOW_EMBEDDED_HOME", "DJANGO_SETTINGS_MODULE", "MAKELEVEL")
PORTS = ("WEB_PORT", "FLOWER_PORT", "SANDBOX_PORT")


def runner(home: Path, **environment: str) -> subprocess.Popen[str]:
    base = {name: value for name, value in os.environ.items() if name not in (*OURS, *PORTS, "CELERY_BROKER_URL")}
    return subprocess.Popen(
        [sys.executable, "-m", "project.run"],
        cwd=CHECKOUT,
        env=base | {"PAYWINDOW_HOME": str(home), "PAYWINDOW_EMBEDDED_FAST": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def await_end(processes: list[psutil.Process], seconds: float = 30) -> None:
    deadline = monotonic() + seconds
    while left := [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]:
        assert monotonic() < deadline, f"still running: {left}"
        select.select([], [], [], 0.05)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "a home"
    yield path
    deadline = monotonic() + 30
    while path.exists() and (Postgres(path).pid() or is_held(path / "users.lock")):
        assert monotonic() < deadline, "the embedded servers go on running"
        select.select([], [], [], 0.05)
    administer("clean", path)


@pytest.mark.parametrize("minutes", ["4", "1441"])
def test_refuses_a_window_outside_its_bounds_before_anything_starts(home: Path, minutes: str) -> None:
    process = runner(home, ORDER_PAYMENT_TIMEOUT_MINUTES=minutes)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ORDER_PAYMENT_TIMEOUT_MINUTES" in output
    assert minutes in output
    assert "migrate" not in output
    assert not (home / "users.lock").exists()  # Not even the servers.


def start_and_await_readiness(home: Path) -> tuple[subprocess.Popen[str], str]:
    process = runner(home)
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "Ctrl-C" in line:
            break
    return process, "".join(said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_starts_everything_and_leaves_nothing(home: Path, number: signal.Signals) -> None:
    process, said = start_and_await_readiness(home)
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        commands = [" ".join(child.cmdline()) for child in children]
        for part in ("gunicorn", "project worker", "project beat", "project flower", "gateways.sandbox"):
            assert [command for command in commands if part in command], f"{part}: {said}"
        web = said.split("Shop")[1].split()[0].removeprefix("http://").split("/")[0]
        connection = http.client.HTTPConnection(web, timeout=10)
        connection.request("GET", "/readyz")
        assert connection.getresponse().status == 200
        connection.close()
    finally:
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == (-number if number == signal.SIGKILL else 0)
    await_end(children)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_stops_while_it_still_prepares(home: Path, number: signal.Signals) -> None:
    process = runner(home)
    assert process.stdout is not None
    assert process.stdout.readline() == "manage.py check\n"
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert f"{number.name}: stopping" in output
    assert "seed_demo" not in output
    await_end(children)


def test_one_process_that_ends_stops_the_rest(home: Path) -> None:
    process, _ = start_and_await_readiness(home)
    children = psutil.Process(process.pid).children(recursive=True)
    beat = next(child for child in children if "beat" in child.cmdline())
    beat.kill()
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "beat ended with exit code -9" in output
    await_end(children)


def test_free_default_ports_are_taken_as_they_are() -> None:
    ports = run.choose_ports({}, is_free=lambda _: True)
    assert ports == {"WEB_PORT": 8000, "FLOWER_PORT": 5555, "SANDBOX_PORT": 8100}


def test_next_free_port_replaces_a_taken_default() -> None:
    ports = run.choose_ports({}, is_free=lambda port: port not in {8000, 8001, 5555})
    assert ports == {"WEB_PORT": 8002, "FLOWER_PORT": 5556, "SANDBOX_PORT": 8100}


def test_default_gives_way_to_a_port_that_was_asked_for() -> None:
    assert run.choose_ports({"SANDBOX_PORT": "8000"}, is_free=lambda _: True)["WEB_PORT"] == 8001


@pytest.mark.parametrize(
    ("given", "taken", "words"),
    [
        ({"WEB_PORT": "8000"}, {8000}, "WEB_PORT: port 8000 is taken"),
        ({"WEB_PORT": "9000", "FLOWER_PORT": "9000"}, set(), "FLOWER_PORT: port 9000 is taken"),
        ({"FLOWER_PORT": "web"}, set(), "FLOWER_PORT must be a port number, not 'web'"),
        ({"WEB_PORT": "70000"}, set(), "WEB_PORT must be a port number"),
        ({}, set(range(5555, 5655)), "name one in FLOWER_PORT"),
    ],
)
def test_port_that_cannot_be_had_is_named(given: dict[str, str], taken: set[int], words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        run.choose_ports(given, is_free=lambda port: port not in taken)


def test_flower_has_another_password_each_time(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYWINDOW_HOME", str(home))
    first, second = run.prepare_environment({}), run.prepare_environment({})
    assert first["FLOWER_BASIC_AUTH"] != second["FLOWER_BASIC_AUTH"]


def test_what_is_given_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYWINDOW_HOME", str(home))
    given = {"SANDBOX_URL": "http://elsewhere", "DJANGO_SECRET_KEY": "mine", "CELERY_BROKER_URL": "amqp://there"}
    environment = run.prepare_environment(given)
    assert given.items() <= environment.items()
    assert environment["WORKER_POOL"] == "prefork"


def test_every_gateway_is_a_face_of_the_sandbox_but_for_those_with_a_key_of_their_own(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYWINDOW_HOME", str(home))
    environment = run.prepare_environment({"STRIPE_API_KEY": "sk_test_mine"})
    sandbox = environment["SANDBOX_URL"]
    assert environment["STRIPE_API_KEY"] == "sk_test_mine"
    assert "STRIPE_URL" not in environment  # A key of Stripe's goes to Stripe alone.
    assert environment["PAYPAL_URL"] == f"{sandbox}/paypal"
    assert environment["SQUARE_NOTIFICATION_URL"] == environment["SANDBOX_WEBHOOK_URL"].replace("{gateway}", "square")
    assert environment["PHONEPE_URL"] == environment["PHONEPE_TOKEN_URL"] == f"{sandbox}/phonepe"
