"""PayPal's certificates, which its events are signed with: fetched from PayPal's own host only, and kept.

The address comes with the event, from a stranger. So only its path is taken from it, and only one of the form that
PayPal's certificates have; scheme and host are ours to say. That the host is PayPal's is what TLS proves.
"""

import datetime as dt
import re
import time
from collections.abc import Sequence
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
# An address that led to no certificate is not tried again for so long, and of such there are only so many: a stranger
# who makes up more of them costs no more requests. Whoever sent a genuine event meanwhile sends it again.
_FORGET_FAILED_SECONDS = 60.0
_MOST_FAILED = 64


class Certificates:
    """The certificates of one PayPal host, such as https://api.paypal.com."""

    def __init__(self, *, base_url: str, connect_seconds: float) -> None:
        self._base_url = base_url.rstrip("/")
        self._transport = Transport(base_url=self._base_url, headers={}, connect_seconds=connect_seconds, connections=4)
        self._kept: dict[str, x509.Certificate] = {}
        self._failed_until_monotonic: dict[str, float] = {}

    def has_signed(self, *, url: str, signature: bytes, messages: Sequence[bytes], unix_seconds: int) -> bool | None:
        """Tell whether the certificate at `url` signed one of `messages`; None when it cannot be had now."""
        path = path_of(url, base_url=self._base_url)
        if path is None:
            return False
        certificate = self._kept.get(path) or self._fetched(path)
        if certificate is None:
            return None
        key = certificate.public_key()
        if not _is_good(certificate, unix_seconds=unix_seconds) or not isinstance(key, RSAPublicKey):
            return False
        if key.key_size < _SMALLEST_KEY_BITS:
            return False
        return any(_fits(key, signature, message) for message in messages)

    def close(self) -> None:
        """Let go of every connection."""
        self._transport.close()

    def _fetched(self, path: str) -> x509.Certificate | None:
        now = time.monotonic()
        failed = {name: until for name, until in self._failed_until_monotonic.copy().items() if now < until}
        if path in failed or len(failed) >= _MOST_FAILED:
            return None
        certificate = self._fetch(path)
        if certificate is None:
            failed[path] = time.monotonic() + _FORGET_FAILED_SECONDS
        self._failed_until_monotonic = failed  # Two threads at once may forget one: it costs a request more.
        return certificate

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


def path_of(url: str, *, base_url: str) -> str | None:
    """Return the path of a certificate of the host at `base_url`; None for what cannot be one."""
    base_url = base_url.rstrip("/")
    if not url.startswith(f"{base_url}/"):
        return None
    path = url.removeprefix(base_url)
    return path if _PATH.fullmatch(path) else None


def host_of(url: str) -> str:
    """Return where the certificates of the API at `url` are served: PayPal's own are on `api.`, not on `api-m.`."""
    parts = urlsplit(url)
    host = parts.netloc
    if host in {"api-m.paypal.com", "api-m.sandbox.paypal.com"}:
        return f"{parts.scheme}://{host.replace('api-m.', 'api.', 1)}"
    return url


def _fits(key: RSAPublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message, PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _is_good(certificate: x509.Certificate, *, unix_seconds: int) -> bool:
    at = dt.datetime.fromtimestamp(unix_seconds, dt.UTC)
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        return False
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return len(names) == 1 and _NAME.fullmatch(str(names[0].value)) is not None
