"""A world for each host, each with a thread that runs its cells one after the other: most of a cell is waiting."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import pytest

from tests.contract.sandbox_server import SandboxProcess
from tests.jumps.cells import Cell, Ran, run
from tests.jumps.world import Host, World

T = TypeVar("T")


def can_run(host: Host) -> bool:
    return host is Host.SAME or (os.geteuid() == 0 and shutil.which("unshare") is not None)


class Lane:
    """One world and its thread. What fails to start fails every cell."""

    def __init__(self, host: Host, *, sandbox: SandboxProcess) -> None:
        self.world = World(host, sandbox=sandbox)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"jumps-{host}")
        self._started = self._thread.submit(self.world.start)

    def submit(self, act: Callable[[World], T]) -> Future[T]:
        def after_start() -> T:
            self._started.result()
            return act(self.world)

        return self._thread.submit(after_start)

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)
        self.world.stop()


class Lanes:
    """Begins with every cell that was asked for, so that the hosts run beside each other."""

    def __init__(self, cells: list[Cell], *, sandbox: SandboxProcess) -> None:
        self._sandbox = sandbox
        self._lanes: dict[Host, Lane] = {}
        self._cells = {cell: self.of(cell.host).submit(partial(run, cell)) for cell in cells}

    def of(self, host: Host) -> Lane:
        if host not in self._lanes:
            self._lanes[host] = Lane(host, sandbox=self._sandbox)
        return self._lanes[host]

    def result(self, cell: Cell) -> Ran:
        if not can_run(cell.host):
            pytest.skip("only root can give a process another boot (with unshare)")
        return self._cells[cell].result()

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.close()


@pytest.fixture(scope="session")
def lanes(request: pytest.FixtureRequest, sandbox_process: SandboxProcess) -> Iterator[Lanes]:
    if shutil.which("gcc") is None and os.environ.get("PAYWINDOW_REQUIRE_TOOLS") != "1":
        pytest.skip("gcc is not installed (apt-get install gcc libc6-dev)")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # Its lines would go to whatever test is running.
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    found = [item.callspec.params.get("cell") for item in items if hasattr(item, "callspec")]
    cells = [cell for cell in found if isinstance(cell, Cell) and can_run(cell.host)]
    lanes = Lanes(cells, sandbox=sandbox_process)
    yield lanes
    lanes.close()
