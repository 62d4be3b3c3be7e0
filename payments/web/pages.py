"""How every page is sent: nothing from elsewhere runs in it, and no copy of it is kept."""

from collections.abc import Mapping
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

# No inline script or style, nothing from another host, and nobody may frame a page with a Pay button.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)


def send_page(
    request: HttpRequest, template: str, context: Mapping[str, object], *, status: HTTPStatus = HTTPStatus.OK
) -> HttpResponse:
    """Render a page of the shop with the headers that all of them carry."""
    response = render(request, f"payments/{template}", dict(context), status=status)
    response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response["Cache-Control"] = "no-store"  # What it says of a payment is old in a second.
    return response
