"""How every page is made. The headers that it is sent with are in project/headers.py."""

from collections.abc import Mapping
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def send_page(
    request: HttpRequest, template: str, context: Mapping[str, object], *, status: HTTPStatus = HTTPStatus.OK
) -> HttpResponse:
    """Render a page of ours."""
    return render(request, f"payments/{template}", dict(context), status=status)
