"""Which gateways there are. A new one is a file, a failure table and a line here."""

import threading
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
        ),
        shortest_window_seconds=_seconds(settings.get("shortest_window_seconds")),
        longest_window_seconds=_seconds(settings.get("longest_window_seconds")),
    )


def _seconds(text: str | None) -> int | None:
    return None if text is None else int(text)


_FACTORIES: dict[str, Callable[[], Gateway]] = {"sandbox": _sandbox}

_open: dict[str, Gateway] = {}
_making = threading.Lock()


def names() -> list[str]:
    """List the gateways that exist."""
    return sorted(_FACTORIES)


def gateway(name: str) -> Gateway:
    """Give the gateway called `name`, with its connections; made once a process, for all of its threads.

    :raises KeyError: for a gateway that does not exist.
    """
    with _making:
        if name not in _open:
            _open[name] = _FACTORIES[name]()
        return _open[name]


def close_gateways() -> None:
    """Close every connection; the next call opens new ones, with the settings of then."""
    with _making:
        while _open:
            _open.popitem()[1].close()
