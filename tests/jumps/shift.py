"""Sets the wall clocks of single processes while they run: a library that they preload reads an offset from a file."""

import mmap
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from project.embedded import server
from project.embedded.postgres import Postgres
from project.embedded.valkey import Valkey
from tests.crash.home import Home

SOURCE = Path(__file__).with_name("wallshift.c")


def compile_library(folder: Path) -> Path:
    library = folder / "wallshift.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE)], check=True)
    return library


class WallClock:
    """The wall clock of the processes that are started with `env`; the others' stay as they are."""

    def __init__(self, name: str, *, library: Path) -> None:
        self.path = library.with_name(name)
        self.path.write_bytes(bytes(8))
        self.path.chmod(0o644)  # PostgreSQL runs as somebody else.
        self._library = library

    @property
    def env(self) -> Mapping[str, str]:
        return {"LD_PRELOAD": str(self._library), "WALLSHIFT": str(self.path)}

    def set(self, seconds: int) -> None:
        """Move it from the true time, for every process at once."""
        with self.path.open("r+b") as file, mmap.mmap(file.fileno(), 8) as offset:
            offset[:] = struct.pack("=q", seconds * 10**9)


class ShiftedPostgres(Postgres):
    def __init__(self, home: Path, *, clock: WallClock) -> None:
        super().__init__(home)
        self._clock = clock

    def _start(self) -> None:
        with _preloaded(self._clock):
            super()._start()


class ShiftedValkey(Valkey):
    def __init__(self, home: Path, *, clock: WallClock) -> None:
        super().__init__(home)
        self._clock = clock

    def _start(self) -> None:
        with _preloaded(self._clock):
            super()._start()


@contextmanager
def _preloaded(clock: WallClock) -> Iterator[None]:
    # What the embedded servers are started with; one after the other.
    with patch.dict(server.ENVIRONMENT, clock.env):
        yield


def shifted_home(path: Path, *, database: WallClock, redis: WallClock) -> Home:
    home = Home(path, is_durable=False)
    home.postgres, home.valkey = ShiftedPostgres(path, clock=database), ShiftedValkey(path, clock=redis)
    return home
