"""Who may ask the API, and how often."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must fulfil. The key is `signing_key` for HS256 and in a JWKS, from a file or a URL, otherwise."""

    algorithm: str
    signing_key: str
    jwks_file: str
    jwks_url: str
    issuer: str
    audience: str
    leeway_seconds: int
    fetch_seconds: float
    refresh_seconds: float
    fetch_pause_seconds: float

    @property
    def is_symmetric(self) -> bool:
        """Whether who verifies tokens could make them, too."""
        return self.algorithm == "HS256"


def token_rules() -> TokenRules:
    """Read how tokens are verified; asked at every request."""
    return TokenRules(
        algorithm=settings.JWT_ALGORITHM,
        signing_key=settings.JWT_SIGNING_KEY,
        jwks_file=settings.JWT_JWKS_FILE,
        jwks_url=settings.JWT_JWKS_URL,
        issuer=settings.JWT_ISSUER,
        audience=settings.JWT_AUDIENCE,
        leeway_seconds=settings.JWT_LEEWAY_SECONDS,
        fetch_seconds=settings.JWT_JWKS_FETCH_SECONDS,
        refresh_seconds=settings.JWT_JWKS_REFRESH_SECONDS,
        fetch_pause_seconds=settings.JWT_JWKS_PAUSE_SECONDS,
    )


def is_debugging() -> bool:
    """Whether this is a developer's machine, where plain HTTP is no danger."""
    return bool(settings.DEBUG)


@dataclass(frozen=True, slots=True)
class RateLimits:
    """How often one thing may be asked for, as "number/period"; empty: without a limit."""

    by_user: str
    by_subject: str


def rate_limits(act: str) -> RateLimits:
    """Read the limits of one act; one that is not named has none."""
    limits: Mapping[str, str] = settings.PAYMENT_RATE_LIMITS.get(act) or {}
    return RateLimits(by_user=limits.get("user", ""), by_subject=limits.get("subject", ""))


def rate_limited_acts() -> Mapping[str, Mapping[str, str]]:
    """Read all of them, as they stand there."""
    acts: Mapping[str, Mapping[str, str]] = settings.PAYMENT_RATE_LIMITS
    return acts
