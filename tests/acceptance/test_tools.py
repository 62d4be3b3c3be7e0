"""The operator's view of the running system: Flower, and the worker as a pytest-celery node."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.contract.sandbox_server import free_port, wait_until
from tests.system import ManagedProcess, System

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def flower(system: System, tmp_path: Path) -> Iterator[tuple[ManagedProcess, str]]:
    port = free_port()
    process = ManagedProcess(
        "flower",
        [
            *(sys.executable, "-m", "celery", "-A", "project", "flower", "--address=127.0.0.1", f"--port={port}"),
            *("--read_only=True", "--max_tasks=10000", "--purge_offline_workers=300"),
        ],
        env={**system.worker.env, "FLOWER_BASIC_AUTH": "ops:secret"},
        folder=tmp_path,
    )
    process.start()
    yield process, f"http://127.0.0.1:{port}"
    process.stop()


def test_flower_shows_the_worker_to_those_with_the_password(system: System, flower: tuple[ManagedProcess, str]) -> None:
    process, url = flower

    def answers() -> bool:
        assert process.is_running, process.log
        try:
            return httpx.get(url, timeout=5).status_code == 401
        except httpx.TransportError:
            return False

    wait_until(answers, what="Flower answers", deadline_seconds=30)
    name = f"test-{os.getpid()}@"
    with httpx.Client(base_url=url, auth=("ops", "secret"), timeout=20, trust_env=False) as operator:
        for path, shown in (("/workers", name), ("/api/tasks", "payments.sweep_expired")):
            wait_until(
                lambda path=path, shown=shown: shown in operator.get(path).text,  # type: ignore[misc] # binds the loop's values
                what=f"{path} shows {shown}",
                deadline_seconds=30,
            )
