"""What must be refused before a view sees it."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from payments.api.problems import plain_problem


class BodyLimitMiddleware:
    """Refuses a request body above DATA_UPLOAD_MAX_MEMORY_SIZE by its announced length, without reading it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer 413 or pass the request on."""
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        length = request.META.get("CONTENT_LENGTH") or "0"
        if length.isdigit() and int(length) > limit:
            return plain_problem(413, f"The body has {length} bytes; at most {limit} are accepted.")
        return self.get_response(request)
