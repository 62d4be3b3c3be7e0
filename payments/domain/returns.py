"""Where a customer goes after a payment: templates of URLs, and the origins that they may lead to.

A URL is read by one narrow pattern and never by a lenient parser: what a browser could read otherwise (a backslash, a
user before the host, a control character) is no URL here.
"""

import re
from collections.abc import Collection, Iterator
from string import Formatter
from urllib.parse import quote

PLACEHOLDERS = ("order_id", "payment_id")
LONGEST_URL = 2048  # What browsers and gateways are sure to take.

_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]"
_ORIGIN = rf"(?P<scheme>https?)://(?P<host>{_HOST})(?::(?P<port>[1-9][0-9]{{0,4}}))?"
_ORIGIN_ALONE = re.compile(_ORIGIN)
_URL = re.compile(rf"{_ORIGIN}/[!-\[\]-~]*")  # All printable ASCII but the space and the backslash.
_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def origin_of(url: str) -> str | None:
    """Give scheme, host and port of an absolute URL with a path, in one spelling; None when it is no such URL."""
    return _origin(_URL.fullmatch(url)) if len(url) <= LONGEST_URL else None


def origin_alone(text: str) -> str | None:
    """Give an origin, `https://host` or `https://host:port`, in the spelling of `origin_of`; None when it is none."""
    return _origin(_ORIGIN_ALONE.fullmatch(text))


def is_secure(origin: str, *, may_be_local: bool) -> bool:
    """Tell whether an origin is reached over TLS, or is this machine, where that is allowed."""
    scheme, _, host = origin.partition("://")
    return scheme == "https" or (may_be_local and re.sub(r":[0-9]+$", "", host) in _LOCAL)


def problems(template: str, *, origins: Collection[str], may_be_local: bool) -> Iterator[str]:
    """Say what is wrong with a template of a URL; nothing when customers may be sent to it."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        yield f"cannot be read: {error}"
        return
    for _, name, spec, conversion in parts:
        if name is not None and (name not in PLACEHOLDERS or spec or conversion):
            wrong = "{" + name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "") + "}"
            yield f"has the placeholder {wrong}; known are {', '.join(f'{{{known}}}' for known in PLACEHOLDERS)}"
            return
    # The whole origin must stand before the first placeholder: an order's number never becomes part of a host.
    is_origin_fixed = bool(parts) and origin_of(parts[0][0]) is not None
    origin = origin_of(fill(template, order_id="0", payment_id="0")) if is_origin_fixed else None
    if origin is None:
        yield "is not of the form https://host/path, without credentials, spaces, backslashes and control characters"
    elif not is_secure(origin, may_be_local=may_be_local):
        yield f"leads to {origin}, which is not https"
    elif origin not in origins:
        yield f"leads to {origin}, which PAYMENT_RETURN_ORIGINS does not list"


def fill(template: str, *, order_id: str, payment_id: str) -> str:
    """Put an order's number and a payment's id into a template, quoted so that they stay one piece of the URL."""
    return template.format(order_id=quote(order_id, safe=""), payment_id=quote(payment_id, safe=""))


def _origin(found: re.Match[str] | None) -> str | None:
    if found is None:
        return None
    scheme, host, port = found["scheme"], found["host"].lower(), found["port"]
    if port is not None and int(port) > 65535:  # noqa: PLR2004 - the last port there is
        return None
    return f"{scheme}://{host}" if port in {None, _DEFAULT_PORTS[scheme]} else f"{scheme}://{host}:{port}"
