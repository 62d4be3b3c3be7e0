from collections.abc import Iterator

import pytest

from tests.contract.paypal.asking import Paying
from tests.contract.sandbox_server import SandboxProcess


@pytest.fixture
def paying(sandbox: SandboxProcess) -> Iterator[Paying]:
    with Paying(url=sandbox.url) as started:
        yield started
