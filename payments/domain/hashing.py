"""Canonical JSON and its hash: the same content always gives the same digest."""

import hashlib
import json
from collections.abc import Mapping


def canonical_bytes(content: Mapping[str, object]) -> bytes:
    """Write `content` in one spelling: sorted keys, no spaces, UTF-8."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def content_hash(content: Mapping[str, object]) -> str:
    """Hash the canonical form: 64 hexadecimal digits of SHA-256."""
    return hashlib.sha256(canonical_bytes(content)).hexdigest()
