"""The watcher, which stops the servers after their last user, and the commands that show, stop and remove them."""

import contextlib
import fcntl
import os
import shutil
import sys
from pathlib import Path
from time import monotonic

from .locks import is_held, lock, locked
from .postgres import ROOT_STORE, Postgres
from .server import launch, pause
from .valkey import Valkey

_CLEAN_SECONDS = 5.0


def spawn_watcher(home: Path) -> None:
    """Start a watcher unless one lives. It is born with its lock, so there are never two, nor a gap."""
    try:
        descriptor = lock(home / "watcher.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    command = [sys.executable, "-I", str(Path(__file__).resolve().parent), "watch", str(home), str(descriptor)]
    try:
        launch(command, log=home / "watcher.log", keep=(descriptor,))
    finally:
        os.close(descriptor)


def watch(home: Path, watcher_lock: int) -> None:
    """Wait for the last user to be gone, then stop the servers."""
    users = lock(home / "users.lock", fcntl.LOCK_EX)
    _stop_servers(home)
    if (home / "starting").exists():  # The last user died while starting: what it launched may just come up.
        pause(2.0)
        _stop_servers(home)
        (home / "starting").unlink(missing_ok=True)
    os.close(watcher_lock)  # First: whoever waits for `users.lock` looks for a watcher next.
    os.close(users)


def _stop_servers(home: Path) -> None:
    Valkey(home).stop()
    Postgres(home).stop()


def administer(command: str, home: Path) -> None:
    """Show, stop or remove the servers of a home; removing refuses while somebody uses them."""
    for inner in home.glob("*/users.lock"):  # The tests keep a home of their own inside.
        administer(command, inner.parent)
    if not home.exists():
        sys.stdout.write(f"There is no {home}.\n")
        return
    if command == "status":
        sys.stdout.write(f"{home}\n")
    with locked(home / "start.lock"):
        patient = monotonic() + (_CLEAN_SECONDS if command == "clean" else 0.0)
        while (in_use := is_held(home / "users.lock")) and monotonic() < patient:
            pause()  # It may be the watcher, which is just stopping them.
        if command == "status":
            for server in (Postgres(home), Valkey(home)):
                pid = server.pid()
                state = "stopped" if pid is None else f"process {pid}, {server.url()}"
                sys.stdout.write(f"{server.name}: {state}\n")
            sys.stdout.write(f"in use: {in_use}, watched: {is_held(home / 'watcher.lock')}\n")
            return
        if command == "clean" and in_use:
            sys.exit(f"The servers in {home} are in use: stop what runs first.")
        _stop_servers(home)
        if command == "clean":
            shutil.rmtree(home)
            shutil.rmtree(Postgres(home).store, ignore_errors=True)
            with contextlib.suppress(OSError):
                ROOT_STORE.rmdir()  # Unless another home keeps its data there.
