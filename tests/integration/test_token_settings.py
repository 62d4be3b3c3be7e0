"""Ways to verify tokens that refuse to start, each named."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django import Settings

from tests.integration.identity import make_key, public_jwk

JWKS_URL = "https://identity.example/jwks.json"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"JWT_ALGORITHM": "none"}, "JWT_ALGORITHM is 'none'; known are ['HS256', 'EdDSA', 'RS256']"),
        ({"JWT_ALGORITHM": "HS512"}, "JWT_ALGORITHM is 'HS512'"),
        ({"JWT_SIGNING_KEY": "x" * 31}, "JWT_SIGNING_KEY has 31 bytes; HS256 needs 32"),
        ({"JWT_JWKS_URL": JWKS_URL}, "JWT_ALGORITHM is 'HS256', which has no public keys"),
        ({"JWT_LEEWAY_SECONDS": 61}, "JWT_LEEWAY_SECONDS (61) must be 0 to 60"),
        ({"JWT_LEEWAY_SECONDS": -1}, "JWT_LEEWAY_SECONDS (-1) must be 0 to 60"),
        ({"JWT_ALGORITHM": "EdDSA"}, "needs either JWT_JWKS_FILE or JWT_JWKS_URL, and neither is set"),
        (
            {"JWT_ALGORITHM": "RS256", "JWT_JWKS_URL": JWKS_URL, "JWT_JWKS_FILE": "/nowhere"},
            "needs either JWT_JWKS_FILE or JWT_JWKS_URL, and both are set",
        ),
        ({"JWT_ALGORITHM": "RS256", "JWT_JWKS_FILE": "/nowhere"}, "JWT_JWKS_FILE cannot be read"),
        ({"JWT_ALGORITHM": "RS256", "JWT_JWKS_URL": "http://identity.example/"}, "it must be https://..."),
        ({"JWT_ALGORITHM": "RS256", "JWT_JWKS_URL": "file:///etc/passwd"}, "it must be https://..."),
        ({"JWT_ALGORITHM": "RS256", "JWT_JWKS_URL": "https://user:password@identity.example/"}, "it must be https://"),
    ],
)
def test_what_cannot_verify_tokens_refuses_to_start(settings: Settings, changes: dict[str, Any], named: str) -> None:
    for name, value in changes.items():
        setattr(settings, name, value)
    with pytest.raises(SystemCheckError) as refused:
        call_command("check")
    assert named in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"JWT_SIGNING_KEY": "x" * 32},
        {"JWT_ALGORITHM": "EdDSA", "JWT_JWKS_URL": JWKS_URL},
        {"JWT_ALGORITHM": "RS256", "JWT_JWKS_URL": "http://127.0.0.1:9/"},
        {"JWT_ALGORITHM": "RS256", "JWT_JWKS_URL": "http://identity.example/", "DEBUG": True},
        {"JWT_LEEWAY_SECONDS": 0},
        {"JWT_LEEWAY_SECONDS": 60},
    ],
)
def test_what_can_is_accepted(settings: Settings, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        setattr(settings, name, value)
    call_command("check")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("not JSON", "is not JSON"),
        ("[" * 5000, "is not JSON"),
        ("[]", "is no JWKS"),
        ('{"keys": {}}', "is no JWKS"),
        (json.dumps({"keys": [{"kty": "oct", "k": "eHh4"}] * 101}), "at most 100"),
        (" " * 300_000, "has 300000 bytes"),
        ('{"keys": []}', "has no key for RS256"),
        ('{"keys": [7, {}]}', "key 0 is no object; key 1 is of the type None, not 'RSA'"),
        ('{"keys": [{"kty": "oct", "k": "eHh4"}]}', "key 0 is of the type 'oct', not 'RSA'"),
        ('{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "AQAB"}]}', "key 0 is a private key"),
        ('{"keys": [{"kty": "RSA", "alg": "RS512"}]}', "key 0 is for 'RS512'"),
        ('{"keys": [{"kty": "RSA", "use": "enc"}]}', "key 0 is for the use 'enc'"),
        ('{"keys": [{"kty": "RSA", "kid": 7}]}', "key 0 has a kid that is no text"),
        ('{"keys": [{"kty": "RSA", "n": "AQAB"}]}', "has no key for RS256; key 0 "),
        (json.dumps({"keys": [public_jwk(make_key("RS256", bits=1024))]}), "key 0 has 1024 bits; RS256 needs 2048"),
    ],
    ids=lambda text: text[:24],
)
def test_a_file_without_a_usable_key_refuses_to_start(
    settings: Settings, tmp_path: Path, content: str, named: str
) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(content)
    settings.JWT_ALGORITHM, settings.JWT_JWKS_FILE = "RS256", str(path)
    with pytest.raises(SystemCheckError) as refused:
        call_command("check")
    assert named in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, None),
        ({"JWT_ALGORITHM": ""}, "JWT_ALGORITHM is not set"),
        ({"JWT_ALGORITHM": "HS256"}, "JWT_ALGORITHM is HS256: who verifies such tokens could make them"),
        ({"JWT_JWKS_URL": ""}, "Exactly one of JWT_JWKS_FILE and JWT_JWKS_URL must be set, not neither"),
        ({"JWT_JWKS_FILE": "/keys"}, "must be set, not JWT_JWKS_FILE and JWT_JWKS_URL"),
    ],
)
def test_production_verifies_with_public_keys(
    checkout_folder: Path, changes: dict[str, str], named: str | None
) -> None:
    env = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "project.settings.production",
        "DATABASE_URL": "postgresql:///not-asked",
        "REDIS_URL": "redis://not-asked",
        "SANDBOX_API_KEY": "made-up",
        "DJANGO_SECRET_KEY": "made-up",
        "JWT_ALGORITHM": "EdDSA",
        "JWT_JWKS_URL": JWKS_URL,
    } | changes
    argv = [sys.executable, "-c", "from django.conf import settings; print(settings.JWT_ALGORITHM)"]
    done = subprocess.run(argv, cwd=checkout_folder, env=env, capture_output=True, text=True, check=False)
    if named is None:
        assert (done.returncode, done.stdout) == (0, "EdDSA\n"), done.stderr
    else:
        assert done.returncode == 1
        assert named in done.stderr
