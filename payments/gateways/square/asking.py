"""How Square is asked: one request of its SDK at a time, all of one method within that method's deadline."""

from collections.abc import Callable, Mapping
from typing import Final, Self
from urllib.parse import urlsplit

import httpx
from square import Square
from square.core.request_options import RequestOptions

from payments.gateways.deadline import Deadline
from payments.gateways.sdk import HttpxTransport, SdkTransport
from payments.gateways.transport import CallResult, Transport

# The version of the description that our requests are held against (tests/contract/square/test_square_requests.py).
API_VERSION: Final = "2025-08-20"
PRODUCTION_URL: Final = "https://connect.squareup.com"

# The SDK repeats what failed, twice, unless told not to.
ONCE: Final = RequestOptions(max_retries=0)


class Client:
    """Square's SDK over our transport."""

    def __init__(self, *, url: str, access_token: str, connect_seconds: float) -> None:
        url = url or PRODUCTION_URL
        parts = urlsplit(url)
        # The SDK words the whole path, that of the base URL included.
        origin = f"{parts.scheme}://{parts.netloc}"
        self._sdk = SdkTransport(Transport(base_url=origin, headers={}, connect_seconds=connect_seconds))
        self._square = Square(
            base_url=url,
            token=access_token,
            version=API_VERSION,
            httpx_client=httpx.Client(transport=HttpxTransport(self._sdk)),
        )

    @classmethod
    def from_settings(cls, settings: Mapping[str, str], *, connect_seconds: float) -> Self:
        """Make one of `url` (empty: Square's own) and `access_token`."""
        return cls(url=settings.get("url", ""), access_token=settings["access_token"], connect_seconds=connect_seconds)

    def ask(self, use: Callable[[Square], object], *, deadline: Deadline) -> CallResult:
        """Make the one request that `use` makes of the SDK, in what is left of the deadline."""
        return self._sdk.ask(lambda: use(self._square), deadline_seconds=deadline.left_seconds)

    def close(self) -> None:
        """Close every connection."""
        self._sdk.close()
