"""Stripe's adapter, ready to be tried against its face of the sandbox gateway."""

from payments.gateways.stripe.adapter import StripeGateway
from tests.contract.bench import CONNECT_SECONDS, DECLINES, Bench
from tests.contract.published import Described
from tests.contract.sandbox_server import API_KEY, WEBHOOK_SECRET

# Of sessions ours describe the requests only.
DESCRIBED_REQUESTS = Described(files=("stripe.requests.json",))
DESCRIBED_ANSWERS = Described(files=("stripe.payments.json",), otherwise="default")


def settings(url: str, _events_url: str = "") -> dict[str, str]:
    return {"url": f"{url}/stripe", "api_key": API_KEY, "webhook_secrets": WEBHOOK_SECRET}


def make(url: str) -> StripeGateway:
    """Make the adapter for the sandbox at `url`."""
    return StripeGateway.from_settings(settings(url), connect_seconds=CONNECT_SECONDS)


BENCH = Bench(
    name="stripe",
    adapter=StripeGateway,
    settings=settings,
    declines=DECLINES,
)
