"""Refusals that happen outside the API's own handlers, in the API's own words."""

from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, UnreadablePostError
from django_structlog.middlewares import RequestMiddleware

from payments.api.problems import plain_problem


class LoggedRequests(RequestMiddleware):
    """Logs each request with its id, and without its query: the way back from a hosted page is signed there."""

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        """Name a request by its method and path."""
        return f"{request.method} {request.path}"


class ProblemMiddleware:
    """Refuses a body that is too long, unread, or cut off, and words the router's 405 as a problem."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer 413 or 400, or pass the request on."""
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length.isdigit() and int(length) > limit:
            return plain_problem(413, f"The body has {length} bytes; at most {limit} are accepted.")
        if request.path.startswith("/api/") and not _is_whole(
            request, announced_bytes=int(length) if length.isdigit() else 0
        ):
            return plain_problem(400, "The body ended before its announced length. Nothing was changed.")
        response = self.get_response(request)
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED and request.path.startswith("/api/"):
            refused = plain_problem(405, f"{request.method} is not offered here.")
            refused["Allow"] = response["Allow"]
            return refused
        return response


def _is_whole(request: HttpRequest, *, announced_bytes: int) -> bool:
    """Whether the body came to its end. What a broken connection cut off may still be good JSON, and is not meant."""
    try:
        return announced_bytes == 0 or len(request.body) == announced_bytes
    except UnreadablePostError:  # Nothing more came for as long as the web server waits (project/gunicorn.py).
        return False
