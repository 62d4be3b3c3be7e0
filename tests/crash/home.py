"""Servers of a test's own, which may be killed: PostgreSQL that syncs to disk, Valkey, RabbitMQ where there is one."""

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from signal import SIGKILL, SIGQUIT, Signals
from urllib.parse import urlsplit

import pytest

from project.embedded.locks import lock
from project.embedded.postgres import Postgres
from project.embedded.server import Server, port_is_free
from project.embedded.valkey import Valkey
from project.embedded.watcher import administer, spawn_watcher
from tests.contract.sandbox_server import free_port, wait_until
from tests.system import ManagedProcess

START_SECONDS = 60.0
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # Debian's; the one in the PATH becomes another user first.


class Home:
    """PostgreSQL and Valkey in a folder of their own. A watcher stops them should this process die."""

    def __init__(self, path: Path, *, is_durable: bool = True) -> None:
        self.path, self.is_durable = path, is_durable
        self.postgres, self.valkey = Postgres(path), Valkey(path)
        self.database_url = self.redis_url = ""

    @contextmanager
    def running(self) -> Iterator[None]:
        self.path.mkdir(mode=0o700, parents=True)
        users = lock(self.path / "users.lock", fcntl.LOCK_SH)
        try:
            spawn_watcher(self.path)
            with safe_from_a_power_cut() if self.is_durable else nullcontext():
                self.database_url = self.postgres.ensure_running()
            self.redis_url = self.valkey.ensure_running()
            yield
        finally:
            os.close(users)
            wait_until(
                lambda: (self.postgres.pid(), self.valkey.pid()) == (None, None),
                what="the watcher has stopped the servers",
                deadline_seconds=START_SECONDS,
            )
            administer("clean", self.path)

    def crash_postgres(self) -> None:
        """Restart PostgreSQL as `pg_ctl restart -m immediate` does: it writes nothing any more, and recovers."""
        strike(self.postgres, SIGQUIT)
        with safe_from_a_power_cut():
            assert self.postgres.ensure_running() == self.database_url

    def kill_valkey(self) -> None:
        strike(self.valkey, SIGKILL)
        port = urlsplit(self.redis_url).port or 0
        wait_until(lambda: port_is_free(port), what=f"port {port} is free")  # A dying process lets go of it last.

    def start_valkey(self) -> None:
        assert self.valkey.ensure_running() == self.redis_url


def strike(server: Server, number: Signals) -> None:
    """Send a signal to a server that runs, and return when it is gone."""
    pid = server.pid()
    assert pid is not None
    os.kill(pid, number)
    wait_until(lambda: server.pid() is None, what=f"{server.name} is gone", deadline_seconds=START_SECONDS)


@contextmanager
def safe_from_a_power_cut() -> Iterator[None]:
    """Start PostgreSQL with fsync, which the tests' shared server does without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAYWINDOW_EMBEDDED_FAST", "0")
        yield


class RabbitMQ:
    """A broker node with a name, ports and a folder of its own, beside any that the machine runs."""

    def __init__(self, folder: Path) -> None:
        self.port, names = free_port(), free_port()
        (folder / "enabled_plugins").write_text("[].")
        (folder / "rabbitmq.conf").touch()
        (folder / "rabbitmq-env.conf").touch()
        env = {
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(names),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"paywindow-{os.getpid()}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        }
        # Erlang starts this one by itself, and leaves it behind.
        epmd = [shutil.which("epmd") or "epmd", "-port", str(names), "-address", "127.0.0.1"]
        self._epmd = ManagedProcess("epmd", epmd, env=env, folder=folder)
        self._node = ManagedProcess("rabbitmq", [str(RABBITMQ)], env=env, folder=folder)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start it; it answers some seconds later."""
        try:
            self._epmd.start()
            self.start()
            yield
        finally:
            self._node.stop()
            self._epmd.stop()

    def start(self) -> None:
        self._node.start()

    def wait(self) -> None:
        wait_until(self._answers, what=f"RabbitMQ answers: {self._node.log[-500:]}", deadline_seconds=START_SECONDS)

    def kill(self) -> None:
        self._node.kill()

    def _answers(self) -> bool:
        assert self._node.is_running, self._node.log[-1000:]
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"
        except OSError:
            return False
