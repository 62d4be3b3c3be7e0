"""Every test of the suite runs for every adapter that can do what it tries."""

from collections.abc import Iterator

import pytest

from tests.contract.sandbox_server import SandboxProcess
from tests.contract.suite.benches import BENCHES
from tests.contract.suite.till import Till
from tests.receiver import Receiver


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One case for each adapter; `needs` of the marker `needs` leaves out those that cannot do it at all."""
    if "till" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("needs")
    names = [name for name in BENCHES if _can(name, marker.args if marker else ())]
    metafunc.parametrize("till", names, indirect=True)


def _can(name: str, needs: tuple[str, ...]) -> bool:
    gateway = BENCHES[name].make("http://127.0.0.1:9", events_url="http://127.0.0.1:9")
    try:
        return all(getattr(gateway.capabilities, need) for need in needs)
    finally:
        gateway.close()


@pytest.fixture
def till(request: pytest.FixtureRequest, sandbox: SandboxProcess, receiver: Receiver) -> Iterator[Till]:
    bench = BENCHES[request.param]
    gateway = bench.make(sandbox.url, events_url=receiver.url)
    yield Till(bench=bench, gateway=gateway, books=sandbox)
    gateway.close()
