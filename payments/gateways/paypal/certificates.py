"""PayPal's certificates, which its events are signed with: fetched from PayPal's own host only, and kept.

The address comes with the event, from a stranger. So only its path is taken from it, and only one of the form that
PayPal's certificates have; scheme and host are ours to say. That the host is PayPal's is what TLS proves.
"""

import datetime as dt
import re
from http import HTTPStatus
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from payments.gateways.transport import Answer, Transport

_PATH = re.compile(r"/v1/notifications/certs/[A-Za-z0-9-]{1,100}")
# As PayPal's are named: messageverificationcerts.paypal.com, and ...sandbox.paypal.com.
_NAME = re.compile(r"messageverificationcerts\.([a-z0-9-]+\.)?paypal\.com")
_FETCH_SECONDS = 5.0  # The sender of the event waits meanwhile.
_SMALLEST_KEY_BITS = 2048
_MOST_KEPT = 16  # PayPal uses one or two at a time; a stranger who makes up more shall not fill the memory.


class Certificates:
    """The certificates of one PayPal host, such as https://api.paypal.com."""

    def __init__(self, *, base_url: str, connect_seconds: float) -> None:
        self._base_url = base_url.rstrip("/")
        self._transport = Transport(base_url=self._base_url, headers={}, connect_seconds=connect_seconds, connections=4)
        self._kept: dict[str, x509.Certificate] = {}

    def has_signed(self, *, url: str, signature: bytes, message: bytes, unix_seconds: int) -> bool | None:
        """Tell whether the certificate at `url` signed `message`; None when it cannot be had now."""
        path = self._path_of(url)
        if path is None:
            return False
        certificate = self._kept.get(path) or self._fetch(path)
        if certificate is None:
            return None
        key = certificate.public_key()
        if not _is_good(certificate, unix_seconds=unix_seconds) or not isinstance(key, RSAPublicKey):
            return False
        if key.key_size < _SMALLEST_KEY_BITS:
            return False
        try:
            key.verify(signature, message, PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def close(self) -> None:
        """Let go of every connection."""
        self._transport.close()

    def _path_of(self, url: str) -> str | None:
        if not url.startswith(f"{self._base_url}/"):
            return None
        path = url.removeprefix(self._base_url)
        return path if _PATH.fullmatch(path) else None

    def _fetch(self, path: str) -> x509.Certificate | None:
        result = self._transport.call("GET", path, body=b"", headers={}, deadline_seconds=_FETCH_SECONDS)
        if not isinstance(result, Answer) or result.status != HTTPStatus.OK:
            return None
        try:
            # The first is the one that signs; what follows is how it came to be trusted.
            certificate = x509.load_pem_x509_certificates(result.body)[0]
        except ValueError:
            return None
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[path] = certificate
        return certificate


def host_of(url: str) -> str:
    """Return where the certificates of the API at `url` are served: PayPal's own are on `api.`, not on `api-m.`."""
    parts = urlsplit(url)
    host = parts.netloc
    if host in {"api-m.paypal.com", "api-m.sandbox.paypal.com"}:
        return f"{parts.scheme}://{host.replace('api-m.', 'api.', 1)}"
    return url


def _is_good(certificate: x509.Certificate, *, unix_seconds: int) -> bool:
    at = dt.datetime.fromtimestamp(unix_seconds, dt.UTC)
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        return False
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return len(names) == 1 and _NAME.fullmatch(str(names[0].value)) is not None
