"""PhonePe's adapter against its face. Nothing declines by a token here: there are none."""

from payments.gateways.phonepe.adapter import PhonePeGateway
from tests.contract.bench import Bench
from tests.contract.sandbox_server import API_KEY, WEBHOOK_SECRET


def settings_for(url: str, /, **changes: str) -> dict[str, str]:
    """Give the settings of the adapter for the sandbox at `url`."""
    return {
        "url": f"{url}/phonepe",
        "token_url": f"{url}/phonepe",
        "client_id": "PAYWINDOW",
        "client_version": "1",
        "client_secret": API_KEY,
        "webhook_secrets": WEBHOOK_SECRET,
        **changes,
    }


def make(url: str) -> PhonePeGateway:
    """Make the adapter for the sandbox at `url`."""
    return PhonePeGateway.from_settings(settings_for(url), connect_seconds=20)


BENCH = Bench(
    name="phonepe",
    adapter=PhonePeGateway,
    settings=lambda url, _events_url: settings_for(url),
    declines={},
    currency="INR",
    signs_bodies=False,
)
