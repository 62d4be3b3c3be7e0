"""The public keys that tokens are verified with: a JWKS (RFC 7517) of the identity service, in a file or behind a URL.

A file is read anew when it changes. A URL is fetched when the first token comes, every some minutes, and when a token
names a key that is not known; but whatever clients send, never twice within a pause, and by one thread at a time. When
a reading or a fetch fails, the keys that are known go on.
"""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

from payments import config
from payments.breaker import Breaker
from payments.config import TokenRules
from payments.gateways.transport import Answer, CallResult, Transport

PublicKey = Ed25519PublicKey | RSAPublicKey

# The algorithms that verify with a public key, and the type of key that each takes (RFC 7518, RFC 8037).
KEY_TYPES: Mapping[str, str] = {"EdDSA": "OKP", "RS256": "RSA"}

MIN_RSA_BITS = 2048  # RFC 7518, section 3.3.
MAX_KEYS = 100  # An identity service has two or three; what is longer is something else.
MAX_JWKS_BYTES = 256 * 1024

log = structlog.get_logger(__name__)


class KeysUnavailable(Exception):
    """No key is known, so no token can be judged; which says nothing about the token."""


class UnusableKeySet(ValueError):
    """What should be a JWKS is none, or has no key that fits."""


class _Unfit(ValueError):
    """A key that is not taken, and why."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of a JWKS that fit the algorithm, and why the others were left out."""

    keys: tuple[tuple[str | None, PublicKey], ...]
    ignored: tuple[str, ...]

    def find(self, kid: str | None) -> PublicKey | None:
        """Give the key that a token names. Naming none is clear enough when there is one key."""
        if kid is None:
            return self.keys[0][1] if len(self.keys) == 1 else None
        return next((key for name, key in self.keys if name == kid), None)


class KeySource(Protocol):
    """Where keys come from."""

    def find(self, kid: str | None) -> PublicKey | None:
        """Give the key that a token names, or None.

        :raises KeysUnavailable: when no key is known at all.
        """


def parse(content: bytes, *, algorithm: str) -> KeySet:
    """Read a JWKS; keys that do not fit the algorithm are left out, as are private and symmetric ones.

    :raises UnusableKeySet: when it is no JWKS, or nothing is left of it.
    """
    if len(content) > MAX_JWKS_BYTES:
        message = f"has {len(content)} bytes; at most {MAX_JWKS_BYTES} are read"
        raise UnusableKeySet(message)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        message = f"is not JSON: {error}"
        raise UnusableKeySet(message) from None
    found = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(found, list) or len(found) > MAX_KEYS:
        message = f'is no JWKS: it needs a list "keys" of at most {MAX_KEYS}'
        raise UnusableKeySet(message)
    keys, ignored = [], []
    for position, jwk in enumerate(found):
        try:
            keys.append(_public_key(jwk, algorithm=algorithm))
        except (_Unfit, PyJWTError) as error:
            ignored.append(f"key {position} {error}")
    if not keys:
        message = f"has no key for {algorithm}" + "".join(f"; {why}" for why in ignored)
        raise UnusableKeySet(message)
    return KeySet(keys=tuple(keys), ignored=tuple(ignored))


def _public_key(jwk: Any, *, algorithm: str) -> tuple[str | None, PublicKey]:
    if not isinstance(jwk, dict):
        message = "is no object"
        raise _Unfit(message)
    kid = jwk.get("kid")
    for is_fit, why in (
        (jwk.get("kty") == KEY_TYPES[algorithm], f"is of the type {jwk.get('kty')!r}, not {KEY_TYPES[algorithm]!r}"),
        (jwk.get("alg") in {None, algorithm}, f"is for {jwk.get('alg')!r}"),
        (jwk.get("use") in {None, "sig"}, f"is for the use {jwk.get('use')!r}"),
        ("d" not in jwk, "is a private key, which belongs into no JWKS that is handed out"),
        (kid is None or isinstance(kid, str), "has a kid that is no text"),
    ):
        if not is_fit:
            raise _Unfit(why)
    key = PyJWK(jwk, algorithm).key
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        message = f"has {key.key_size} bits; RS256 needs {MIN_RSA_BITS}"
        raise _Unfit(message)
    if not isinstance(key, RSAPublicKey | Ed25519PublicKey):
        message = f"is no key for {algorithm}"
        raise _Unfit(message)
    return kid, key


class FileKeys:
    """The keys of a file, as it is now."""

    def __init__(self, rules: TokenRules) -> None:
        self._path, self._algorithm = Path(rules.jwks_file), rules.algorithm
        self._reading = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._known: KeySet | None = None
        self._complaint = ""

    def find(self, kid: str | None) -> PublicKey | None:
        """Give the key that a token names; the file is read when it has changed.

        :raises KeysUnavailable: when the file was never usable.
        """
        with self._reading:  # Looking whether it has changed takes microseconds.
            try:
                self._read_if_changed()
            except (OSError, UnusableKeySet) as error:
                self._complain(str(error))
            known = self._known
        if known is None:
            message = f"{self._path} {self._complaint}"
            raise KeysUnavailable(message)
        return known.find(kid)

    def _read_if_changed(self) -> None:
        stat = self._path.stat()
        seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if seen != self._seen:
            content = self._path.read_bytes()
            self._seen = seen  # Before it is parsed: what is broken is parsed once.
            self._known = parse(content, algorithm=self._algorithm)
            self._complaint = ""

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:  # Not at every request.
            log.warning("token_keys_not_read", path=str(self._path), error=complaint, has_older=self._known is not None)
            self._complaint = complaint


class UrlKeys:
    """The keys behind a URL, as they were at the last fetch."""

    def __init__(self, rules: TokenRules) -> None:
        self._rules = rules
        self._transport = Transport(
            base_url=rules.jwks_url,
            headers={"Accept": "application/jwk-set+json, application/json"},
            connect_seconds=rules.fetch_seconds,
            connections=1,
        )
        self._fetching = threading.Lock()
        self._pause = Breaker()
        self._known: KeySet | None = None
        self._old_at_monotonic = float("-inf")

    def find(self, kid: str | None) -> PublicKey | None:
        """Give the key that a token names; a name that is not known, and time, make it fetch.

        :raises KeysUnavailable: when no fetch has succeeded yet.
        """
        if self._known is None or time.monotonic() >= self._old_at_monotonic:
            self._fetch_unless_just_done()
        known = self._require()
        key = known.find(kid)
        if key is None and kid is not None:
            self._fetch_unless_just_done()  # The identity service may have a new key.
            key = self._require().find(kid)
        return key

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _require(self) -> KeySet:
        if self._known is None:
            message = f"{self._rules.jwks_url} has not answered with keys yet"
            raise KeysUnavailable(message)
        return self._known

    def _fetch_unless_just_done(self) -> None:
        if self._pause.is_open:
            return
        # Whoever has keys goes on with them. Without any, the first fetch is worth its wait.
        patience_seconds = 0 if self._known is not None else self._rules.fetch_seconds
        if not self._fetching.acquire(timeout=patience_seconds):
            return
        try:
            if not self._pause.is_open:
                self._fetch()
        finally:
            self._pause.trip(pause_seconds=self._rules.fetch_pause_seconds)
            self._fetching.release()

    def _fetch(self) -> None:
        url, seconds = self._rules.jwks_url, self._rules.fetch_seconds
        answer = self._transport.call("GET", "", body=b"", headers={}, deadline_seconds=seconds)
        try:
            self._known = parse(_body_of(answer), algorithm=self._rules.algorithm)
        except UnusableKeySet as error:
            log.warning("token_keys_not_fetched", url=url, error=str(error), has_older=self._known is not None)
            return
        self._old_at_monotonic = time.monotonic() + self._rules.refresh_seconds
        if self._known.ignored:
            log.warning("token_keys_ignored", url=url, ignored=self._known.ignored)


def _body_of(answer: CallResult) -> bytes:
    if not isinstance(answer, Answer):
        raise UnusableKeySet(answer.detail)
    if answer.status != HTTPStatus.OK:  # Redirects are not followed: they could lead anywhere.
        message = f"answered {answer.status}"
        raise UnusableKeySet(message)
    return answer.body


_sources: dict[TokenRules, FileKeys | UrlKeys] = {}
_making = threading.Lock()


def current() -> KeySource:
    """Give the source that the settings name; the threads of a process share it."""
    rules = config.token_rules()
    source = _sources.get(rules)
    if source is None:
        with _making:  # Two sources would fetch twice.
            source = _sources.get(rules)
            if source is None:
                source = _sources[rules] = FileKeys(rules) if rules.jwks_file else UrlKeys(rules)
    return source


def close() -> None:
    """Forget every key; the next token has them read or fetched again."""
    while _sources:
        source = _sources.popitem()[1]
        if isinstance(source, UrlKeys):
            source.close()
