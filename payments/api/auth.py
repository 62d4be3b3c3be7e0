"""Who is asking: a JWT for API clients, the session with CSRF for our own pages."""

from datetime import timedelta
from typing import Any

import jwt
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, User
from django.http import HttpRequest
from ninja.errors import AuthenticationError, HttpError
from ninja.security import HttpBearer, SessionAuth

from payments import clocks

REQUIRED_CLAIMS = ["exp", "iat", "sub", "aud", "iss"]


class TokenAuth(HttpBearer):
    """Accepts a bearer token of one algorithm, with every required claim, of an active user."""

    def authenticate(self, request: HttpRequest, token: str) -> User | None:
        """Return the token's user; None refuses it, without saying why."""
        try:
            claims = jwt.decode(
                token,
                settings.JWT_SIGNING_KEY,
                algorithms=[settings.JWT_ALGORITHM],
                audience=settings.JWT_AUDIENCE,
                issuer=settings.JWT_ISSUER,
                options={"require": REQUIRED_CLAIMS},
            )
        except jwt.InvalidTokenError:
            return None
        subject = claims["sub"]
        if not (subject.isascii() and subject.isdecimal()):
            return None
        user = User.objects.filter(pk=int(subject), is_active=True).first()
        if user is not None:
            request.user = user
        return user


class PageAuth(SessionAuth):
    """Accepts the session of our own pages, with its CSRF token; asked only when no token was sent."""

    def __call__(self, request: HttpRequest) -> Any | None:
        """Return the signed-in user; None refuses, so that a bad token is told as such and not as a CSRF failure."""
        if "Authorization" in request.headers or not request.user.is_authenticated:
            return None
        return super().__call__(request)


API_AUTH = [TokenAuth(), PageAuth()]


def issue_token(*, user: AbstractBaseUser, lifetime: timedelta) -> str:
    """Sign a token for `user`. For development and tests: in production the host's own identity service issues them."""
    now = clocks.database_now()
    claims: dict[str, Any] = {
        "sub": str(user.pk),
        "iat": now,
        "exp": now + lifetime,
        "aud": settings.JWT_AUDIENCE,
        "iss": settings.JWT_ISSUER,
    }
    return jwt.encode(claims, settings.JWT_SIGNING_KEY, algorithm=settings.JWT_ALGORITHM)


def customer_id(request: HttpRequest) -> int:
    """Return the id of the user that is asking.

    :raises AuthenticationError: when nobody is signed in.
    """
    if request.user.pk is None:
        raise AuthenticationError
    return int(request.user.pk)


def staff_id(request: HttpRequest) -> int:
    """Return the id of the member of staff that is asking.

    :raises HttpError: 403 for anybody else who is signed in.
    :raises AuthenticationError: when nobody is.
    """
    user_id = customer_id(request)
    if not request.user.is_staff:
        raise HttpError(403, "Only staff may do this.")
    return user_id


def visible_to(request: HttpRequest) -> int | None:
    """Return whose rows the user may see: their own, or None for everybody's, which is for staff."""
    return None if request.user.is_staff else customer_id(request)
