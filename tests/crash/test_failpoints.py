"""The points strike when, where and as often as they are told: what every kill of this folder relies on."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGCONT, SIGKILL

import pytest

from tests.contract.sandbox_server import wait_until
from tests.crash.world import Failpoint
from tests.system import CHECKOUT

pytestmark = pytest.mark.crash

VISITOR = """
import os, sys, threading
from payments.failpoints import reach
def pass_by(name):
    reach(name)
    os.write(1, f"{name}\\n".encode())  # One write: two threads' prints may share a line.
threads = [threading.Thread(target=pass_by, args=(name,)) for name in sys.argv[1:]]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


class Visitor:
    """A process whose threads pass by the points that it names, and say so."""

    def __init__(self, *points: str, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", VISITOR, *points],
            cwd=CHECKOUT,
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, list[str]]:
        said, _ = self.process.communicate(timeout=30)
        return self.process.returncode, sorted(said.split())


@pytest.fixture
def failpoint(tmp_path: Path) -> Failpoint:
    return Failpoint(tmp_path / "armed")


@pytest.fixture
def visit(failpoint: Failpoint) -> Iterator[Callable[..., Visitor]]:
    """Start a visitor; none outlives its test."""
    visitors: list[Visitor] = []

    def start(*points: str) -> Visitor:
        visitors.append(Visitor(*points, env=failpoint.env))
        return visitors[-1]

    yield start
    for visitor in visitors:
        visitor.process.kill()
        visitor.process.wait()
        if visitor.process.stdout is not None:
            visitor.process.stdout.close()


def test_a_point_that_is_not_armed_is_passed(failpoint: Failpoint, visit: Callable[..., Visitor]) -> None:
    assert visit("a", "b").end() == (0, ["a", "b"])
    failpoint.arm("c", "kill", threads=1)
    assert visit("a", "b").end() == (0, ["a", "b"])
    assert not failpoint.has_struck


def test_a_point_kills_once(failpoint: Failpoint, visit: Callable[..., Visitor]) -> None:
    failpoint.arm("a", "kill", threads=1)
    assert visit("a").end() == (-SIGKILL, [])
    assert failpoint.has_struck
    assert visit("a").end() == (0, ["a"])


def test_a_point_waits_for_as_many_threads_as_it_is_told(failpoint: Failpoint, visit: Callable[..., Visitor]) -> None:
    failpoint.arm("a", "kill", threads=3)
    assert visit("a", "a", "b", "a").end()[0] == -SIGKILL
    failpoint.disarm()
    failpoint.arm("a", "kill", threads=3)
    visitor = visit("a", "a", "b")
    assert visitor.process.stdout is not None
    assert visitor.process.stdout.readline() == "b\n"
    assert visitor.process.poll() is None
    assert not failpoint.has_struck


def test_a_stopped_process_goes_on_behind_the_point(failpoint: Failpoint, visit: Callable[..., Visitor]) -> None:
    failpoint.arm("a", "stop", threads=2)
    visitor = visit("a", "a")
    stat = Path(f"/proc/{visitor.process.pid}/stat")
    wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", what="it stands still")
    assert failpoint.has_struck
    visitor.process.send_signal(SIGCONT)
    assert visitor.end() == (0, ["a", "a"])


def test_production_refuses_to_start_with_failpoints(failpoint: Failpoint) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import django; django.setup()"],
        check=False,
        cwd=CHECKOUT,
        env={**os.environ, **failpoint.env, "DJANGO_SETTINGS_MODULE": "project.settings.production"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 1
    assert "PAYWINDOW_FAILPOINTS is set" in done.stderr
