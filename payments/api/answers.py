"""How answers are written: one way for the first answer and for its repeats, and what comes with every status answer.

No answer may be stored (project/headers.py): what it says of a window is old in a second, and a browser that takes it
from its cache, or is told 304 behind its page's back, counts down from times long past. The ETag is for clients that
keep the answer themselves. It stands for everything but the clock, so 304 means: nothing happened, go on counting.
"""

import hashlib
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.utils.http import parse_etags
from ninja import Schema

from payments.api.schemas.parts import Countdown

MEDIA_TYPE = "application/json; charset=utf-8"

# They change by themselves. That nothing is going to change any more is news, too, and stays in the tag.
_CLOCK_FIELDS = {"server_now", "time_remaining_seconds", "retry_after_seconds"}


def send(content: Schema, *, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    """Write an answer as JSON; a field that was not set is left out."""
    return HttpResponse(content.model_dump_json(exclude_unset=True), status=status, content_type=MEDIA_TYPE)


def send_status(request: HttpRequest, content: Countdown) -> HttpResponse:
    """Write where a payment or an order stands, or 304 when the client has it already; with when to ask again."""
    is_final = content.retry_after_seconds is None
    written = f"{is_final} {content.model_dump_json(exclude=_CLOCK_FIELDS, exclude_unset=True)}"
    etag = f'W/"{hashlib.sha256(written.encode()).hexdigest()[:32]}"'
    # Django's own conditional answers would refuse a GET with `If-Match`, too, which nothing here means.
    response = HttpResponseNotModified() if _is_known(request, etag=etag) else send(content)
    response["ETag"] = etag
    if content.retry_after_seconds is not None:
        response["Retry-After"] = str(content.retry_after_seconds)
    return response


def _is_known(request: HttpRequest, *, etag: str) -> bool:
    """Tell whether the client has what it would be sent; weak and strong tags compare alike (RFC 9110, 13.1.2)."""
    known = parse_etags(request.headers.get("If-None-Match", ""))
    return "*" in known or etag.removeprefix("W/") in {tag.removeprefix("W/") for tag in known}
