"""PayPal's adapter against the sandbox's PayPal face."""

from payments.gateways.paypal.adapter import PayPalGateway
from tests.contract.bench import CONNECT_SECONDS, DECLINES, Bench
from tests.contract.published import Described
from tests.contract.sandbox_server import API_KEY, WEBHOOK_SECRET

DESCRIBED = Described(
    files=("paypal.orders.json", "paypal.payments.json", "paypal.webhooks.json"),
    listed_headers=("paypal-", "prefer"),
)


def settings(url: str, _events_url: str = "") -> dict[str, str]:
    return {
        "url": f"{url}/paypal",
        "client_id": "sandbox",
        "client_secret": API_KEY,
        "webhook_secrets": WEBHOOK_SECRET,
    }


def make(url: str, **changes: str) -> PayPalGateway:
    """Make the adapter for the sandbox at `url`."""
    return PayPalGateway.from_settings(settings(url) | changes, connect_seconds=CONNECT_SECONDS)


BENCH = Bench(
    name="paypal",
    adapter=PayPalGateway,
    settings=settings,
    declines=DECLINES,
)
