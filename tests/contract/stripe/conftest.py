"""The adapter, at the sandbox's Stripe."""

from collections.abc import Iterator

import pytest

from payments.gateways.stripe.adapter import StripeGateway
from tests.contract.sandbox_server import SandboxProcess
from tests.contract.stripe.bench import make


@pytest.fixture
def gateway(sandbox: SandboxProcess) -> Iterator[StripeGateway]:
    made = make(sandbox.url)
    yield made
    made.close()
