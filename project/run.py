"""`make run`: prepare everything, start every process of the Procfile, say where to look, stop it all again.

The processes share one process group with a guardian: a fork that sleeps on a pipe until this process is gone and,
if that was not of its own will (kill -9), ends the group. Whatever happens, nothing is left running.
"""

import contextlib
import http.client
import os
import queue
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import IO, NoReturn

from honcho.colour import get_colours
from honcho.environ import parse_procfile

from project import embedded

CHECKOUT = Path(__file__).resolve().parents[1]
DEMO_PASSWORD = "paywindow-demo"  # noqa: S105 - printed on the screen, for users of a demonstration on this machine

_DEFAULT_PORTS = {"WEB_PORT": 8000, "FLOWER_PORT": 5555, "SANDBOX_PORT": 8100}
_PORT_TRIES = 100
_STOP_SECONDS = 8.0  # A worker may be inside a gateway call; what is killed then, the system recovers by design.
_LOOK_SECONDS = 0.3
_READY_SECONDS = 90.0
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NO_DATABASE = {"DATABASE_URL": "postgresql:///not-started-yet", "REDIS_URL": "redis://not-started-yet"}


class _Stop(Exception):
    """A signal, or the end of `make`, told us to stop."""


def main() -> int:
    """Run until told to stop, or until a process ends; then 1.

    :raises SystemExit: when it refuses to start, with the reason.
    """
    guardian = _Guardian()
    for number in _STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup wants us to stay.
            signal.signal(number, _stop_on_signal)
    children = _Children(guardian)
    try:
        environment = prepare_environment(os.environ)
        _prepare(children, environment)
        for name, command in read_procfile(CHECKOUT / "Procfile").items():
            children.start(name, command, environment)
        return _watch(children, environment)
    except _Stop as stop:
        say(f"{stop}: stopping")
        return 0
    finally:
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        children.stop()
        guardian.dismiss()


def prepare_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Complete the environment of all processes; what is given stays.

    :raises SystemExit: when a port that was asked for is taken.
    """
    home = embedded.home_of(CHECKOUT)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = dict(given)
    environment |= {name: str(port) for name, port in choose_ports(given).items()}
    python_folder = str(Path(sys.executable).parent)
    sandbox = given.get("SANDBOX_URL") or f"http://127.0.0.1:{environment['SANDBOX_PORT']}"
    events = f"http://127.0.0.1:{environment['WEB_PORT']}/api/webhooks/{{gateway}}/"
    defaults = {
        "PYTHONUNBUFFERED": "1",
        "PAYWINDOW_DEMO": "1",
        "FLOWER_BASIC_AUTH": f"paywindow:{secrets.token_urlsafe(12)}",
        "PAYMENT_PUBLIC_URL": f"http://127.0.0.1:{environment['WEB_PORT']}",
        "SANDBOX_URL": sandbox,
        "SANDBOX_LEDGER": str(home / "sandbox-ledger.sqlite"),
        "SANDBOX_WEBHOOK_URL": events,
        **demo_gateways(given, sandbox=sandbox, events=events),
    }
    if given.get("CELERY_BROKER_URL", "").startswith("amqp"):
        # Celery's threads do not resume after RabbitMQ drops a connection; prefork does. It has no use for a pool.
        defaults |= {"WORKER_POOL": "prefork", "WORKER_THREADS": "4", "DATABASE_POOL_CONNECTIONS": "0"}
    environment["PATH"] = os.pathsep.join([python_folder, environment.get("PATH", os.defpath)])
    return defaults | environment


def demo_gateways(given: Mapping[str, str], *, sandbox: str, events: str) -> dict[str, str]:
    """Point every gateway at its face of the sandbox, but for those of which anything is set: they stay as they are."""
    key, secret = given.get("SANDBOX_API_KEY") or "sk_sandbox", given.get("SANDBOX_WEBHOOK_SECRET") or "whsec_sandbox"
    faces = {
        "STRIPE": {"API_KEY": key, "URL": f"{sandbox}/stripe", "WEBHOOK_SECRET": secret},
        "PAYPAL": {
            "CLIENT_ID": "sandbox",
            "CLIENT_SECRET": key,
            "URL": f"{sandbox}/paypal",
            "WEBHOOK_IDS": secret,
        },
        "SQUARE": {
            "ACCESS_TOKEN": key,
            "URL": f"{sandbox}/square",
            "LOCATION_ID": "LSANDBOX",
            "NOTIFICATION_URL": events.replace("{gateway}", "square"),
            "WEBHOOK_SECRETS": secret,
        },
        "PHONEPE": {
            "CLIENT_ID": "sandbox",
            "CLIENT_VERSION": "1",
            "CLIENT_SECRET": key,
            "URL": f"{sandbox}/phonepe",
            "TOKEN_URL": f"{sandbox}/phonepe",
            "WEBHOOK_CREDENTIALS": secret,
        },
    }
    return {
        f"{gateway}_{name}": value
        for gateway, settings in faces.items()
        if not any(given.get(f"{gateway}_{name}") for name in settings)
        for name, value in settings.items()
    }


def choose_ports(given: Mapping[str, str], is_free: Callable[[int], bool] = embedded.port_is_free) -> dict[str, int]:
    """Choose a port for each server: the one that was asked for, else the next free one from its default.

    :raises SystemExit: when a port that was asked for is taken or is no port.
    """
    chosen: dict[str, int] = {}
    for name in _DEFAULT_PORTS:
        asked = given.get(name, "")
        if not asked:
            continue
        if not asked.isdecimal() or not 0 < int(asked) < 2**16:
            sys.exit(f"{name} must be a port number, not {asked!r}.")
        if not is_free(int(asked)) or int(asked) in chosen.values():
            sys.exit(f"{name}: port {asked} is taken. Free it, or leave {name} out to get the next free one.")
        chosen[name] = int(asked)
    for name, default in _DEFAULT_PORTS.items():
        if name in chosen:
            continue
        tries = range(default, default + _PORT_TRIES)
        port = next((port for port in tries if port not in chosen.values() and is_free(port)), None)
        if port is None:
            sys.exit(f"No port from {default} to {tries[-1]} is free: name one in {name}.")
        chosen[name] = port
    return chosen


def read_procfile(path: Path) -> dict[str, str]:
    """Read the processes by name."""
    return dict(parse_procfile(path.read_text()).processes)


def say(text: str) -> None:
    """Print for the person at the terminal, who may have closed it."""
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


class _Guardian:
    """The leader of the children's process group; it ends them if we die without doing so."""

    def __init__(self) -> None:
        reader, self._writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._guard(reader)
        os.close(reader)
        with contextlib.suppress(PermissionError):  # The guardian does the same; whoever is first.
            os.setpgid(self.pid, self.pid)

    def _guard(self, reader: int) -> NoReturn:
        os.setpgid(0, 0)
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        os.close(self._writer)
        os.read(reader, 1)  # Nobody writes: it returns when the last writer, our parent, is gone.
        os.killpg(0, signal.SIGTERM)
        threading.Event().wait(_STOP_SECONDS)
        os.killpg(0, signal.SIGKILL)
        os._exit(0)

    def dismiss(self) -> None:
        """End the guardian and with it whatever the children may have left in the group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._writer)


class _Children:
    """The running processes, with their output prefixed by their names."""

    def __init__(self, guardian: _Guardian) -> None:
        self._guardian = guardian
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._colours: Iterator[str] = get_colours()
        self.ended: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()

    def run(self, command: list[str], environment: Mapping[str, str]) -> int:
        """Run one to its end, its output plain."""
        self._running["preparing"] = self._start(command, environment)
        return self._running["preparing"].wait()

    def start(self, name: str, command: str, environment: Mapping[str, str]) -> None:
        """Start one of the Procfile."""
        process = self._start(["/bin/sh", "-c", command], environment, stdout=subprocess.PIPE)
        self._running[name] = process
        prefix = f"{name:8}| "
        if sys.stdout.isatty():
            prefix = f"\033[{next(self._colours)}m{prefix}\033[0m"
        threading.Thread(target=self._relay, args=(prefix, process.stdout), daemon=True).start()
        threading.Thread(target=lambda: self.ended.put((name, process.wait())), daemon=True).start()

    def stop(self) -> None:
        """Ask all to stop; who has not after some seconds is killed with the group."""
        for process in self._running.values():
            process.terminate()
        deadline = monotonic() + _STOP_SECONDS
        for process in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - monotonic()))

    def _start(
        self, command: list[str], environment: Mapping[str, str], stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own commands
            command,
            cwd=CHECKOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT if stdout else None,
            process_group=self._guardian.pid,
        )

    @staticmethod
    def _relay(prefix: str, output: IO[bytes]) -> None:
        for line in output:
            say(prefix + line.decode(errors="replace").rstrip("\r\n"))


def _prepare(children: _Children, environment: MutableMapping[str, str]) -> None:
    """Check first, while nothing runs; then servers, tables, schedules and demo data.

    :raises SystemExit: when a step fails; it has said why.
    """
    _manage(children, {**_NO_DATABASE, **_non_empty(environment)}, "check")
    try:
        embedded.ensure_services(CHECKOUT)
    except embedded.EmbeddedServiceError as error:
        sys.exit(str(error))
    environment.update(
        {name: os.environ[name] for name in (*_NO_DATABASE, "PAYWINDOW_EMBEDDED_HOME") if name in os.environ}
    )
    _manage(children, environment, "migrate", "--verbosity", "0")
    _manage(children, environment, "write_beat_schedules")
    _manage(children, environment, "seed_demo", "--password", DEMO_PASSWORD)


def _manage(children: _Children, environment: Mapping[str, str], *arguments: str) -> None:
    say(f"manage.py {arguments[0]}")
    code = children.run([sys.executable, "manage.py", *arguments], environment)
    if code:
        say(f"manage.py {arguments[0]} ended with exit code {code}: not starting.")
        sys.exit(1)


def _watch(children: _Children, environment: Mapping[str, str]) -> int:
    """Wait for the end of a process, saying once when and where everything is up.

    :raises _Stop: when `make` is gone.
    """
    parent, made = os.getppid(), "MAKELEVEL" in environment
    is_announced, deadline = False, monotonic() + _READY_SECONDS
    while True:
        with contextlib.suppress(queue.Empty):
            name, code = children.ended.get(timeout=_LOOK_SECONDS)
            say(f"{name} ended with exit code {code}: stopping the rest")
            return 1
        if made and os.getppid() != parent:
            raise _Stop("make is gone")
        if not is_announced and _is_ready(environment):
            say(where_to_look(environment))
            is_announced = True
        elif not is_announced and monotonic() > deadline:
            say(f"not everything answers after {_READY_SECONDS:.0f} s; the lines above say why")
            deadline = float("inf")


def _is_ready(environment: Mapping[str, str]) -> bool:
    try:
        for name in ("FLOWER_PORT", "SANDBOX_PORT"):
            socket.create_connection(("127.0.0.1", int(environment[name])), timeout=1).close()
        connection = http.client.HTTPConnection("127.0.0.1", int(environment["WEB_PORT"]), timeout=2)
        with contextlib.closing(connection):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False


def where_to_look(environment: Mapping[str, str]) -> str:
    """Word the addresses and logins."""
    web = f"http://127.0.0.1:{environment['WEB_PORT']}"
    flower_user, _, flower_password = environment["FLOWER_BASIC_AUTH"].partition(":")
    lines = (
        ("Shop", f"{web}/shop/"),
        ("API", f"{web}/api/docs"),
        ("Admin", f"{web}/admin/   staff / {DEMO_PASSWORD}"),
        ("Flower", f"http://127.0.0.1:{environment['FLOWER_PORT']}/   {flower_user} / {flower_password}"),
        ("Gateway", f"http://127.0.0.1:{environment['SANDBOX_PORT']}/control/ledger   (the sandbox's own books)"),
    )
    rows = [f"  {what:8} {where}" for what, where in lines]
    return "\n".join(["", "Paywindow is ready. Where to look:", "", *rows, "", "  Ctrl-C stops everything.", ""])


def _non_empty(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if value}


def _stop_on_signal(number: int, _frame: FrameType | None) -> None:
    raise _Stop(signal.Signals(number).name)


if __name__ == "__main__":
    sys.exit(main())
