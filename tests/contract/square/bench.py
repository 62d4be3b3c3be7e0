"""Square's adapter against Square's face of the sandbox gateway."""

from payments.domain.failures import FailureCode
from payments.gateways.square.adapter import SquareGateway
from tests.contract.bench import CONNECT_SECONDS, DECLINES, Bench
from tests.contract.published import Described
from tests.contract.sandbox_server import API_KEY, WEBHOOK_SECRET

LOCATION = "LSANDBOX"
MERCHANT = "MLSANDBOX"
NOTIFICATION_URL = "http://127.0.0.1:8000/api/webhooks/square/"
# A refusal is an answer like any other there, with `errors` in it.
DESCRIBED = Described(files=("square.payments.json",), otherwise="200")


def settings(url: str, events_url: str = "") -> dict[str, str]:
    return {
        "url": f"{url}/square",
        "access_token": API_KEY,
        "location_id": LOCATION,
        "merchant_id": MERCHANT,
        "notification_url": events_url or NOTIFICATION_URL,
        "webhook_secrets": WEBHOOK_SECRET,
    }


def make(url: str, *, events_url: str = "") -> SquareGateway:
    """Make the adapter for the sandbox at `url`."""
    return SquareGateway.from_settings(settings(url, events_url), connect_seconds=CONNECT_SECONDS)


BENCH = Bench(
    name="square",
    adapter=SquareGateway,
    settings=settings,
    # Square does not tell that an issuer is away from any other decline.
    declines={**DECLINES, "tok_issuer_unavailable": FailureCode.DECLINED},
)
