"""An identity service: keys, tokens signed with them, and a real HTTP server that hands the public ones out."""

import base64
import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from django.contrib.auth.models import User
from pytest_django import Settings

from payments import clocks
from payments.models import StockItem
from tests.integration.api_client import ORDER, Api, problem, untouched

PrivateKey = Ed25519PrivateKey | RSAPrivateKey


def make_key(algorithm: str, *, bits: int = 2048) -> PrivateKey:
    return Ed25519PrivateKey.generate() if algorithm == "EdDSA" else generate_private_key(65537, bits)


def public_jwk(key: PrivateKey, *, kid: str | None = "first", **changes: Any) -> dict[str, Any]:
    """Describe the public half of a key as an identity service does."""
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, RSAPrivateKey) else jwt.algorithms.OKPAlgorithm
    jwk: dict[str, Any] = json.loads(kind.to_jwk(key.public_key()))  # type: ignore[arg-type] # the kind fits the key
    jwk.pop("key_ops", None)
    return jwk | ({} if kid is None else {"kid": kid}) | changes


def public_pem(key: PrivateKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


def claims(user: User, settings: Settings, **changes: Any) -> dict[str, Any]:
    """Name what a token must have; None leaves a claim out."""
    now = clocks.database_now()
    content = {
        "sub": str(user.pk),
        "iat": now,
        "exp": now + timedelta(minutes=5),
        "aud": settings.JWT_AUDIENCE,
        "iss": settings.JWT_ISSUER,
    } | changes
    return {name: value for name, value in content.items() if value is not None}


def encoded(part: Any) -> str:
    """Encode a part of a token as base64url."""
    content = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def signed(key: PrivateKey, content: dict[str, Any], **header: Any) -> str:
    """Sign as an identity service does; `kid` None leaves it out."""
    algorithm = "RS256" if isinstance(key, RSAPrivateKey) else "EdDSA"
    header = {"kid": "first"} | header
    return jwt.encode(content, key, algorithm=algorithm, headers={k: v for k, v in header.items() if v is not None})


def is_accepted(token: str) -> bool:
    """Ask for an order that does not exist: who may ask learns that."""
    response = Api(token).get("/api/orders/payment-status/ORD-NONE/")
    if response.status_code == 404:
        return True
    problem(response, 401, "not_authenticated")
    return False


def assert_refused(token: str | None, item: StockItem) -> None:
    response = Api(token).post("/api/orders/", ORDER)
    problem(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"] == "Bearer"
    assert untouched(item)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: "_Server"

    def do_GET(self) -> None:
        status, body = self.server.identity.answer(self.path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""


class _Server(http.server.ThreadingHTTPServer):
    identity: "IdentityService"


@dataclass
class IdentityService:
    """Hands out `keys`, and counts how often it was asked for them."""

    keys: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    paths: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def fetches(self) -> int:
        return len(self.paths)

    def answer(self, path: str) -> tuple[int, bytes]:
        self.paths.append(path)
        return self.status, json.dumps({"keys": self.keys}).encode()


@contextlib.contextmanager
def serving() -> Iterator[IdentityService]:
    """Run an identity service on a free port of 127.0.0.1."""
    identity = IdentityService()
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.identity = identity
        identity.url = f"http://127.0.0.1:{server.server_address[1]}/jwks.json"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield identity
        finally:
            server.shutdown()
            thread.join()
