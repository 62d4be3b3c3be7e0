from collections.abc import Iterator

import pytest

from tests.contract.sandbox_server import SandboxProcess
from tests.contract.square.asking import Asking
from tests.contract.square.bench import make


@pytest.fixture
def square(sandbox: SandboxProcess) -> Iterator[Asking]:
    gateway = make(sandbox.url)
    yield Asking(gateway)
    gateway.close()
