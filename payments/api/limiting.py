"""Puts a rate limit before an operation: counted when its input is read, before anything is done or any key claimed."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Concatenate, ParamSpec, TypeVar

from django.http import HttpRequest
from ninja import Schema
from ninja.operation import Operation
from ninja.utils import contribute_operation_callback

from payments import ratelimits
from payments.api import auth
from payments.api.openapi import RATE_LIMIT
from payments.ratelimits import Act

P = ParamSpec("P")
R = TypeVar("R")

View = Callable[Concatenate[HttpRequest, P], R]


def limited(act: Act, *by: str) -> Callable[[View[P, R]], View[P, R]]:
    """Limit how often a user may do this, and about one thing: the first of `by` that the path, query or body names.

    It stands below the operation's own decorator, whose documentation it adds its refusal to.
    """

    def decorate(view: View[P, R]) -> View[P, R]:
        @wraps(view)
        def counted(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> R:
            ratelimits.count(act=act, user_id=auth.customer_id(request), subject=_named(kwargs, by))
            return view(request, *args, **kwargs)

        contribute_operation_callback(counted, partial(_document, act=act))
        return counted

    return decorate


def _named(arguments: Mapping[str, object], names: Sequence[str]) -> str | None:
    places = [arguments, *(vars(value) for value in arguments.values() if isinstance(value, Schema))]
    found = (place[name] for name in names for place in places if place.get(name) is not None)
    subject = next(found, None)
    return None if subject is None else str(subject)


def _document(operation: Operation, *, act: Act) -> None:
    operation.openapi_extra = {**(operation.openapi_extra or {}), RATE_LIMIT: act.value}
