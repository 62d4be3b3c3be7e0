"""Which gateways there are. A new one is a package, a failure table and a line here (docs/adding-a-gateway.md)."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from payments import config
from payments.gateways.protocol import Gateway


@dataclass(frozen=True, slots=True)
class Adapter:
    """Where an adapter is, and what it needs of PAYMENT_GATEWAYS to be on, and to verify events."""

    module: str
    name: str
    needs: tuple[str, ...]
    needs_for_events: tuple[str, ...]


# Imported when first asked for: an SDK takes tens of megabytes, and few shops use more than one gateway.
_ADAPTERS: Mapping[str, Adapter] = {
    "sandbox": Adapter(
        "payments.gateways.sandbox.adapter",
        "SandboxGateway",
        needs=("url", "api_key"),
        needs_for_events=("webhook_secrets",),
    ),
    "stripe": Adapter(
        "payments.gateways.stripe.adapter",
        "StripeGateway",
        needs=("api_key",),
        needs_for_events=("webhook_secrets",),
    ),
    "square": Adapter(
        "payments.gateways.square.adapter",
        "SquareGateway",
        needs=("access_token", "location_id"),
        needs_for_events=("webhook_secrets", "notification_url"),
    ),
    "phonepe": Adapter(
        "payments.gateways.phonepe.adapter",
        "PhonePeGateway",
        needs=("url", "token_url", "client_id", "client_version", "client_secret"),
        needs_for_events=("webhook_secrets",),
    ),
    "paypal": Adapter(
        "payments.gateways.paypal.adapter",
        "PayPalGateway",
        needs=("url", "client_id", "client_secret"),
        needs_for_events=("webhook_secrets",),
    ),
}

_open: dict[str, Gateway] = {}
_making = threading.Lock()


def names() -> list[str]:
    """List the gateways that exist."""
    return sorted(_ADAPTERS)


def missing(name: str) -> list[str]:
    """List what a gateway lacks in PAYMENT_GATEWAYS; without anything of it, it is off.

    :raises KeyError: for a gateway that does not exist.
    """
    return _missing(name, _ADAPTERS[name].needs)


def takes_events(name: str) -> bool:
    """Tell whether a gateway is on, and has what verifies its events: without that none is taken."""
    adapter = _ADAPTERS.get(name)
    return adapter is not None and not _missing(name, (*adapter.needs, *adapter.needs_for_events))


def gateway(name: str) -> Gateway:
    """Give the gateway called `name`, with its connections; made once a process, for all of its threads.

    :raises KeyError: for a gateway that does not exist, or is off.
    """
    with _making:
        if name not in _open:
            adapter = _ADAPTERS[name]
            if lacks := missing(name):
                message = f"the gateway {name!r} is off: PAYMENT_GATEWAYS lacks {', '.join(lacks)}"
                raise KeyError(message)
            kind = getattr(import_module(adapter.module), adapter.name)
            settings = config.gateway_settings(name)
            _open[name] = kind.from_settings(settings, connect_seconds=config.limits().gateway_connect_seconds)
        return _open[name]


def close_gateways() -> None:
    """Close every connection; the next call opens new ones, with the settings of then."""
    with _making:
        while _open:
            _open.popitem()[1].close()


def _missing(name: str, needs: tuple[str, ...]) -> list[str]:
    try:
        settings = config.gateway_settings(name)
    except KeyError:
        return list(needs)
    return [need for need in needs if not settings.get(need, "").strip(" ,")]
