"""The adapter of PhonePe, for the sandbox of the module."""

from collections.abc import Iterator

import pytest

from tests.contract.phonepe.asking import Asking
from tests.contract.phonepe.bench import make
from tests.contract.sandbox_server import SandboxProcess


@pytest.fixture
def phonepe(sandbox: SandboxProcess) -> Iterator[Asking]:
    gateway = make(sandbox.url)
    yield Asking(gateway)
    gateway.close()
