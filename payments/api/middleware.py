"""Refusals that happen outside the API's own handlers, in the API's own words."""

from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from payments.api.problems import plain_problem


class ProblemMiddleware:
    """Refuses an oversized body by its announced length, unread, and words the router's 405 as a problem."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer 413 or pass the request on."""
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length.isdigit() and int(length) > limit:
            return plain_problem(413, f"The body has {length} bytes; at most {limit} are accepted.")
        response = self.get_response(request)
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED and request.path.startswith("/api/"):
            refused = plain_problem(405, f"{request.method} is not offered here.")
            refused["Allow"] = response["Allow"]
            return refused
        return response
