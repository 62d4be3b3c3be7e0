"""Every adapter there is, for the suite."""

from payments.gateways.sandbox.adapter import SandboxGateway
from tests.contract.bench import DECLINES, Bench
from tests.contract.paypal.bench import BENCH as PAYPAL
from tests.contract.phonepe.bench import BENCH as PHONEPE
from tests.contract.sandbox_server import API_KEY, WEBHOOK_SECRET
from tests.contract.square.bench import BENCH as SQUARE
from tests.contract.stripe.bench import BENCH as STRIPE


def _sandbox(url: str, _events_url: str) -> dict[str, str]:
    return {"url": url, "api_key": API_KEY, "webhook_secrets": WEBHOOK_SECRET}


SANDBOX = Bench(
    name="sandbox",
    adapter=SandboxGateway,
    settings=_sandbox,
    declines=DECLINES,
)

BENCHES = {bench.name: bench for bench in [SANDBOX, STRIPE, PAYPAL, SQUARE, PHONEPE]}
