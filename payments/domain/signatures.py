"""Signatures of outgoing webhooks, as Standard Webhooks 1.0.0 writes them (standardwebhooks.com)."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix that every such secret has
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64  # As the specification has it.


def secret_key(secret: str) -> bytes:
    """Read the key of a secret: `whsec_` and the base64 of 24 to 64 random bytes.

    :raises ValueError: for anything else. The message does not repeat the secret.
    """
    problem = f"a secret is {SECRET_PREFIX} and the base64 of {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} random bytes"
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(problem)
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(problem) from None
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ValueError(problem)
    return key


def sign(*, message_id: str, unix_seconds: int, body: bytes, secrets: Sequence[str]) -> str:
    """Sign id, time and body with every secret: `v1,<base64>` for each, separated by spaces.

    Several secrets at once let a receiver change from one to the next without losing a delivery.

    :raises ValueError: for a secret that is none.
    """
    content = f"{message_id}.{unix_seconds}.".encode() + body
    digests = [hmac.new(secret_key(secret), content, hashlib.sha256).digest() for secret in secrets]
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
