"""Real servers in homes of their own, used by real processes that come, go and are killed."""

import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest
import redis

from project import embedded
from project.embedded.postgres import Postgres
from project.embedded.valkey import Valkey
from project.embedded.watcher import administer

CHECKOUT = Path(__file__).resolve().parents[2]

USER = """
import json, os, sys
from pathlib import Path
from project.embedded import ensure_services
def say(answer):  # In one write, so that two processes never share a line, buffered or not.
    os.write(1, json.dumps(answer).encode() + b"\\n")
ensure_services(Path("/nowhere"))
if "fork" in sys.argv and (child := os.fork()):
    say({"child": child})
    os.kill(os.getpid(), 9)
say({"database": os.environ["DATABASE_URL"], "redis": os.environ["REDIS_URL"]})
sys.stdin.read()
"""


def eventually(condition: Callable[[], Any], what: str, seconds: float = 30) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"not in {seconds} s: {what}"
        select.select([], [], [], 0.02)


class User:
    """A process that uses the servers until its standard input ends."""

    def __init__(self, home: Path, *arguments: str, **environment: str) -> None:
        names = ("DATABASE_URL", "REDIS_URL", "PAYWINDOW_EMBEDDED_HOME")
        base = {name: value for name, value in os.environ.items() if name not in names}
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, *arguments],
            cwd=CHECKOUT,
            env=base | {"PAYWINDOW_HOME": str(home), "PAYWINDOW_EMBEDDED_FAST": "1"} | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answers: list[dict[str, Any]] = []
        self._clients: list[redis.Redis] = []

    def says(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the user ended before it had servers"
        self._answers.append(json.loads(line))
        return self._answers[-1]

    @property
    def urls(self) -> dict[str, Any]:
        return self._answers[-1] if self._answers else self.says()

    def query(self, statement: str) -> list[Any]:
        with psycopg.connect(self.urls["database"], autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def valkey(self) -> redis.Redis:
        self._clients.append(redis.Redis.from_url(self.urls["redis"], decode_responses=True))
        return self._clients[-1]

    def leave(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0
        self.end()

    def end(self, number: int = signal.SIGKILL) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(30)
        while self._clients:  # Else the collector closes them, in the middle of somebody else's test.
            self._clients.pop().close()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


class Home:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.users: list[User] = []

    def user(self, *arguments: str, **environment: str) -> User:
        self.users.append(User(self.path, *arguments, **environment))
        return self.users[-1]

    @property
    def postgres(self) -> Postgres:
        return Postgres(self.path)

    def pids(self) -> tuple[int | None, int | None]:
        return self.postgres.pid(), Valkey(self.path).pid()

    def watchers(self) -> list[int]:
        return [pid for pid, arguments in processes() if arguments[-3:-1] == ["watch", str(self.path)]]

    def await_stop(self) -> None:
        eventually(lambda: self.pids() == (None, None) and not self.watchers(), "the servers are stopped")


def processes() -> list[tuple[int, list[str]]]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found.append((int(folder.name), (folder / "cmdline").read_text().strip("\0").split("\0")))
        except OSError:
            continue
    return found


@pytest.fixture
def make_home(tmp_path: Path) -> Iterator[Callable[[str], Home]]:
    homes: list[Home] = []

    def make(name: str) -> Home:
        homes.append(Home(tmp_path / name))
        return homes[-1]

    yield make
    for home in homes:
        for user in home.users:
            user.end()
        home.await_stop()
        administer("clean", home.path)
        assert not home.path.exists()
        assert not home.postgres.store.exists()


@pytest.fixture
def home(make_home: Callable[[str], Home]) -> Home:
    return make_home("a home")


def test_data_survives_a_stop_and_the_path_may_hold_a_space(home: Home) -> None:
    first = home.user()
    first.query("CREATE TABLE kept AS SELECT 7 AS number")
    first.valkey().set("kept", "seven")
    folder = Path(str(psycopg.conninfo.conninfo_to_dict(first.urls["database"])["host"]))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    first.leave()
    home.await_stop()
    assert not folder.exists()

    second = home.user()
    assert second.query("SELECT number FROM kept") == [(7,)]
    assert second.valkey().get("kept") == "seven"
    assert second.urls["redis"] == first.urls["redis"]


def test_servers_stop_after_the_last_user_was_killed(home: Home) -> None:
    user = home.user()
    assert user.urls
    assert None not in home.pids()
    user.end(signal.SIGKILL)
    home.await_stop()


def test_second_process_joins_and_keeps_what_the_first_started(home: Home) -> None:
    first = home.user()
    assert first.urls
    pids = home.pids()
    second = home.user()
    assert second.urls == first.urls
    assert home.pids() == pids
    first.end()
    assert second.query("SELECT 1") == [(1,)]
    assert second.valkey().ping()
    assert home.pids() == pids
    assert len(home.watchers()) == 1
    second.leave()
    home.await_stop()


def test_two_processes_that_start_at_once_share_one_server(home: Home) -> None:
    users = [home.user() for _ in range(3)]
    assert users[0].urls == users[1].urls == users[2].urls
    assert len(home.watchers()) == 1


def test_two_homes_run_at_once_and_share_nothing(make_home: Callable[[str], Home]) -> None:
    homes = [make_home("one"), make_home("two")]
    users = [home.user() for home in homes]
    for number, user in enumerate(users):
        user.query(f"CREATE TABLE mine AS SELECT {number} AS number")
        user.valkey().set("mine", number)
    for number, user in enumerate(users):
        assert user.query("SELECT number FROM mine") == [(number,)]
        assert user.valkey().get("mine") == str(number)
    assert not {*homes[0].pids()} & {*homes[1].pids()}


def test_fork_of_a_killed_process_keeps_the_servers(home: Home) -> None:
    parent = home.user("fork")
    answers = [parent.says(), parent.says()]  # Whichever of the two speaks first.
    child = next(answer["child"] for answer in answers if "child" in answer)
    parent.process.wait(30)
    urls = next(answer for answer in answers if "database" in answer)
    with psycopg.connect(urls["database"]) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    os.kill(child, signal.SIGKILL)
    home.await_stop()


def test_child_that_inherited_the_urls_starts_nothing_and_keeps_the_servers(home: Home) -> None:
    parent = home.user()
    inherited = {"DATABASE_URL": parent.urls["database"], "REDIS_URL": parent.urls["redis"]}
    child = home.user(**inherited, PAYWINDOW_EMBEDDED_HOME=str(home.path))
    assert child.urls == parent.urls
    parent.end()
    assert child.query("SELECT 1") == [(1,)]
    child.leave()
    home.await_stop()


def test_servers_given_by_the_environment_start_nothing(home: Home) -> None:
    user = home.user(DATABASE_URL="postgresql:///elsewhere", REDIS_URL="redis://elsewhere")
    assert user.urls == {"database": "postgresql:///elsewhere", "redis": "redis://elsewhere"}
    assert not home.path.exists()
    home.path.mkdir()  # So that there is something to clean up.


@pytest.mark.parametrize("server", [0, 1], ids=["postgres", "valkey"])
def test_next_user_recovers_a_killed_server(home: Home, server: int) -> None:
    first = home.user()
    first.query("CREATE TABLE kept AS SELECT 7 AS number")
    killed = home.pids()[server]
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: home.pids()[server] is None, "the server is dead")

    second = home.user()
    assert second.query("SELECT number FROM kept") == [(7,)]
    assert second.valkey().ping()
    assert home.pids()[server] != killed


def test_pid_file_that_names_another_living_process_does_not_block(home: Home) -> None:
    home.user().leave()
    home.await_stop()
    home.postgres.pid_file.write_text(f"{os.getpid()}\n{home.postgres.data}\n1\n5432\n/nowhere\n\n1 1\n")
    assert home.user().query("SELECT 1") == [(1,)]


def test_next_user_replaces_a_killed_watcher(home: Home) -> None:
    first = home.user()
    assert first.urls
    pids = home.pids()
    (watcher,) = home.watchers()
    os.kill(watcher, signal.SIGKILL)
    eventually(lambda: not home.watchers(), "the watcher is dead")

    second = home.user()
    assert second.urls == first.urls
    assert home.pids() == pids
    assert len(home.watchers()) == 1
    first.end()
    second.end()
    home.await_stop()


def test_start_that_was_killed_half_way_leaves_nothing_in_the_way(home: Home) -> None:
    first = home.user()
    eventually(lambda: [*home.postgres.store.glob("postgres-18.new-*")], "initdb has begun")
    first.end(signal.SIGKILL)
    assert not home.postgres.data.exists()
    home.await_stop()

    assert home.user().query("SELECT 1") == [(1,)]
    assert not [*home.postgres.store.glob("*.new-*")]


def test_taken_port_is_replaced(home: Home) -> None:
    first = home.user()
    port = int(first.urls["redis"].split(":")[-1].split("/")[0])
    first.leave()
    home.await_stop()
    with socket.create_server(("127.0.0.1", port)):
        second = home.user()
        assert second.urls["redis"] != first.urls["redis"]
        assert second.valkey().ping()


def test_passwords_are_readable_by_the_owner_alone(home: Home) -> None:
    assert home.user().urls
    assert stat.S_IMODE((home.path / "valkey" / "valkey.conf").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    password = (home.path / "valkey" / "valkey.conf").read_text().split("requirepass ")[1].split()[0]
    assert not [arguments for _, arguments in processes() if any(password in part for part in arguments)]


def test_stop_works_under_a_user_and_clean_refuses(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    user = home.user()
    assert user.urls
    administer("status", home.path)
    assert user.urls["redis"] in capsys.readouterr().out
    with pytest.raises(SystemExit, match="in use"):
        administer("clean", home.path)
    administer("stop", home.path)
    assert home.pids() == (None, None)


def test_socket_folder_open_to_others_is_refused(home: Home) -> None:
    home.postgres.store.mkdir(parents=True, exist_ok=True)
    folder = home.postgres._make_socket_folder()
    folder.chmod(0o755)
    with pytest.raises(embedded.EmbeddedServiceError, match="open to others"):
        home.postgres._make_socket_folder()
    folder.rmdir()
    home.path.mkdir(exist_ok=True)


@pytest.mark.parametrize("server", [Postgres, Valkey])
def test_platform_without_binaries_is_told_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: type[Postgres | Valkey]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("platform.system", lambda: "Plan9")
    with pytest.raises(embedded.EmbeddedServiceError, match="Set DATABASE_URL"):
        server(tmp_path)._start()


def test_secrets_are_private_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYWINDOW_HOME", str(tmp_path / "home"))
    first, again, other = (embedded.remembered_secret(tmp_path, name) for name in ("a-key", "a-key", "b-key"))
    assert first == again != other
    assert len(first) >= 50
    assert (tmp_path / "home" / "a-key").stat().st_mode & 0o777 == 0o600


def test_process_without_arguments_for_a_moment_is_not_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two programs a process has none to show; a second server would then be started beside the first."""
    server, looks = Valkey(tmp_path), [False, True]
    monkeypatch.setattr("project.embedded.server.runs_with", lambda *_: looks.pop(0))
    assert not server._is_gone(os.getpid())
    assert looks == []
