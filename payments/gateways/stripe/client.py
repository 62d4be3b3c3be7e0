"""Stripe's SDK as we use it: it words requests of one API version, and our transport carries them.

It is shown an empty object for every answer: what Stripe said is read from its bytes in answers.py, so that neither
the SDK's exceptions nor its notices, retries and telemetry can come between.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

import stripe

from payments.gateways.sdk import SdkTransport

# The version whose description tests/contract/stripe holds every request against, so that an upgrade of the SDK is none
# of the API. All that we say exists in the SDK's own version, too, but for `payment_method_types`, which 2026-09-30
# takes away in favour of `allowed_payment_method_types`.
API_VERSION: Final = "2022-11-15"


class _Carrier(stripe.HTTPClient):
    """Takes a request from the SDK to our transport."""

    name = "paywindow"

    def __init__(self, sdk: SdkTransport) -> None:
        super().__init__()
        self._sdk = sdk

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        """Send the request; the answer is the adapter's business."""
        self._sdk.send(method, url, headers=headers or {}, body=(post_data or "").encode())
        return "{}", 200, {}

    def close(self) -> None:
        """Leave the connections to the adapter."""


def connect(*, api_key: str, url: str, sdk: SdkTransport) -> stripe.StripeClient:
    """Return the SDK's client for the Stripe at `url`, which sends through `sdk` and never by itself."""
    # The SDK would log whole addresses, and bodies too where everything is logged. The transport logs what may be.
    logging.getLogger("stripe").setLevel(logging.CRITICAL)
    stripe.enable_telemetry = False  # There is no such option of a client, only this one of the whole library.
    return stripe.StripeClient(
        api_key,
        stripe_version=API_VERSION,
        base_addresses={"api": url},
        max_network_retries=0,
        http_client=_Carrier(sdk),
    )
