"""The page behind the link in every reminder: a button that stops them.

The link's signature says who asks, so it takes no session, and no CSRF token: the button of a mailbox posts from
somewhere else (RFC 8058). Looking changes nothing, since mail scanners follow every link.
"""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from payments import lifecycle, queries
from payments.messaging import links
from payments.web.pages import send_page


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def stop_reminders(request: HttpRequest, token: str) -> HttpResponse:
    """Show a customer's button, or press it. A link that was not made here is not found."""
    customer_id = links.customer_of(token)
    is_known = customer_id is not None
    if customer_id is not None and request.method == "POST":
        is_known = lifecycle.stop_reminders(customer_id=customer_id)
    if customer_id is None or not is_known:
        return send_page(request, "reminders.html", {"is_known": False}, status=HTTPStatus.NOT_FOUND)
    is_stopped = queries.are_reminders_stopped(customer_id=customer_id)
    return send_page(request, "reminders.html", {"is_known": True, "is_stopped": is_stopped})
