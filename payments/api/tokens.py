"""What a bearer token proves: who asks. Nothing else in it is believed; rights come from the user's row.

A token is verified with the one algorithm of the settings. Its own header chooses nothing but, by `kid`, one of the
keys that we have; headers that bring or name a key of their own (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.
"""

from datetime import timedelta
from typing import Any

import jwt
from django.contrib.auth.models import AbstractBaseUser

from payments import clocks, config, keysets

REQUIRED_CLAIMS = ["exp", "iat", "sub", "aud", "iss"]

# Far above any token with these claims; what is longer is refused unread.
MAX_TOKEN_CHARACTERS = 4096
MAX_KID_CHARACTERS = 255

_MAX_ID_DIGITS = 18  # Fits PostgreSQL's bigint.


def user_id_of(token: str) -> int | None:
    """Give the id of the user whom a valid token names; None for every other token.

    :raises KeysUnavailable: when no key is known that a token could be verified with.
    """
    if len(token) > MAX_TOKEN_CHARACTERS:
        return None
    rules = config.token_rules()
    try:
        key = rules.signing_key if rules.is_symmetric else _key_named_by(token)
        if key is None:
            return None
        claims = jwt.decode(
            token,
            key,
            algorithms=[rules.algorithm],
            audience=rules.audience,
            issuer=rules.issuer,
            leeway=rules.leeway_seconds,
            options={"require": REQUIRED_CLAIMS},
        )
    # Beside the library's own errors, what parsing hostile JSON may raise: whatever it is, it is the token's fault.
    except (jwt.PyJWTError, ValueError, OverflowError, RecursionError):
        return None
    return _as_id(claims["sub"])


def _key_named_by(token: str) -> keysets.PublicKey | None:
    kid: object = jwt.get_unverified_header(token).get("kid")
    if kid is not None and not (isinstance(kid, str) and len(kid) <= MAX_KID_CHARACTERS):
        return None
    return keysets.current().find(kid)


def _as_id(subject: str) -> int | None:
    is_id = subject.isascii() and subject.isdecimal() and len(subject) <= _MAX_ID_DIGITS
    return int(subject) if is_id else None


def issue_token(*, user: AbstractBaseUser, lifetime: timedelta) -> str:
    """Sign a token for `user`, for development and tests: in production the host's identity service does it.

    :raises ValueError: unless tokens are signed with a key that we have.
    """
    rules = config.token_rules()
    if not rules.is_symmetric:
        message = f"JWT_ALGORITHM is {rules.algorithm}: its tokens are signed by the identity service, not here."
        raise ValueError(message)
    now = clocks.database_now()
    claims: dict[str, Any] = {
        "sub": str(user.pk),
        "iat": now,
        "exp": now + lifetime,
        "aud": rules.audience,
        "iss": rules.issuer,
    }
    return jwt.encode(claims, rules.signing_key, algorithm=rules.algorithm)
