"""Where Redis and the gateways are."""

from collections.abc import Mapping

from django.conf import settings


def redis_url() -> str:
    """Read where Redis or Valkey is."""
    url: str = settings.REDIS_URL
    return url


def gateway_settings(name: str) -> Mapping[str, str]:
    """Read what one gateway needs: its URL and keys.

    :raises KeyError: for a gateway that is not configured.
    """
    configured: Mapping[str, Mapping[str, str]] = settings.PAYMENT_GATEWAYS
    return configured[name]
