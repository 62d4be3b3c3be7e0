"""Who is asking: a JWT for API clients, the session with CSRF for our own pages."""

from typing import Any

import structlog
from django.contrib.auth.models import User
from django.http import HttpRequest
from ninja.errors import AuthenticationError, HttpError
from ninja.security import HttpBearer, SessionAuth

from payments.api import tokens
from payments.keysets import KeysUnavailable

log = structlog.get_logger(__name__)


class TokenAuth(HttpBearer):
    """Accepts a bearer token of an active user (payments/api/tokens.py)."""

    def authenticate(self, request: HttpRequest, token: str) -> User | None:
        """Return the token's user; None refuses it, without saying why.

        :raises HttpError: 503 when no key is known to judge it by, which is not the token's fault.
        """
        try:
            user_id = tokens.user_id_of(token)
        except KeysUnavailable as error:
            log.error("token_keys_unavailable", error=str(error))  # noqa: TRY400 - the sentence says it all
            raise HttpError(503, "Tokens cannot be verified at the moment. Nothing was changed.") from None
        if user_id is None:
            return None
        user = User.objects.filter(pk=user_id, is_active=True).first()
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


class _StaffOnly:
    """Refuses whoever is signed in and no staff, before the request's content is looked at."""

    def __call__(self, request: HttpRequest) -> Any | None:
        user = super().__call__(request)  # type: ignore[misc] # of the way to sign in that it is mixed into
        if user is not None:
            staff_id(request)
        return user


class StaffTokenAuth(_StaffOnly, TokenAuth):
    """Accepts the bearer token of a member of staff."""


class StaffPageAuth(_StaffOnly, PageAuth):
    """Accepts the session of a member of staff, with its CSRF token."""


API_AUTH = [TokenAuth(), PageAuth()]
STAFF_AUTH = [StaffTokenAuth(), StaffPageAuth()]


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


def staff_actor(request: HttpRequest) -> str:
    """Name the member of staff that is asking as records do, `staff:7`.

    :raises HttpError: 403 for anybody else who is signed in.
    :raises AuthenticationError: when nobody is.
    """
    return f"staff:{staff_id(request)}"


def is_staff(request: HttpRequest) -> bool:
    """Tell whether a member of staff is asking; who that is, is in our own rows, never in the token."""
    return bool(request.user.is_staff)


def visible_to(request: HttpRequest) -> int | None:
    """Return whose rows the user may see: their own, or None for everybody's, which is for staff."""
    return None if request.user.is_staff else customer_id(request)
