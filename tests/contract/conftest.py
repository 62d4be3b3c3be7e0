"""One gateway process for a module, emptied before each test; it needs neither database nor broker."""

import concurrent.futures
from collections.abc import Iterator

import pytest

from tests.contract.asking import Asking
from tests.contract.sandbox_server import SandboxProcess
from tests.receiver import Receiver, listening


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with SandboxProcess(ledger=tmp_path_factory.mktemp("sandbox") / "ledger.db") as started:
        yield started


@pytest.fixture
def sandbox(process: SandboxProcess) -> SandboxProcess:
    process.reset()
    return process


@pytest.fixture
def pool() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    with concurrent.futures.ThreadPoolExecutor(max_workers=16) as threads:
        yield threads


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A host that is told what happens."""
    with listening() as started:
        yield started


@pytest.fixture
def asking(sandbox: SandboxProcess) -> Iterator[Asking]:
    with Asking(url=sandbox.url) as started:
        yield started
