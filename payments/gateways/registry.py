"""Which gateways there are. A new one is a file, a failure table and a line here."""

import functools
from collections.abc import Callable

from payments import config
from payments.gateways.protocol import Gateway
from payments.gateways.sandbox.adapter import SandboxGateway
from payments.gateways.transport import Transport


def _sandbox() -> Gateway:
    settings = config.gateway_settings("sandbox")
    return SandboxGateway(
        transport=Transport(
            base_url=settings["url"],
            headers={"Authorization": f"Bearer {settings['api_key']}"},
            connect_seconds=config.limits().gateway_connect_seconds,
        )
    )


_FACTORIES: dict[str, Callable[[], Gateway]] = {"sandbox": _sandbox}

_open: list[Gateway] = []


def names() -> list[str]:
    """List the gateways that exist."""
    return sorted(_FACTORIES)


@functools.cache
def gateway(name: str) -> Gateway:
    """Give the gateway called `name`, with its connections; made once a process.

    :raises KeyError: for a gateway that does not exist.
    """
    made = _FACTORIES[name]()
    _open.append(made)
    return made


def close_gateways() -> None:
    """Close every connection; the next call opens new ones, with the settings of then."""
    gateway.cache_clear()
    while _open:
        _open.pop().close()
