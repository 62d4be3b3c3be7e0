"""The adapter, at the sandbox's PayPal."""

from collections.abc import Iterator

import pytest

from tests.contract.paypal.asking import Paying
from tests.contract.recording import Recorder
from tests.contract.sandbox_server import SandboxProcess


@pytest.fixture
def paying(sandbox: SandboxProcess) -> Iterator[Paying]:
    with Paying(url=sandbox.url) as started:
        yield started


@pytest.fixture
def recorder(sandbox: SandboxProcess) -> Iterator[Recorder]:
    with Recorder(upstream=sandbox.url, prefix="/paypal") as started:
        yield started


@pytest.fixture
def heard(recorder: Recorder) -> Iterator[Paying]:
    """The adapter, with all that it says and is told kept."""
    with Paying(url=recorder.url) as started:
        yield started
