"""The return page: a hosted page of a gateway leads its customer back to here.

The signed link says which payment. Whether it is paid is asked of our own records: whatever the gateway or anybody else
adds to the address (`status=succeeded`, `next=https://...`) is neither believed nor followed. While nobody knows, the
page says so, has the gateway asked soon, and looks again; then it sends the customer on to the page that the settings
name for the kind of the order, or says itself how it ended.

A customer may come back in another browser, so no session is asked for; and some gateways come back with POST, so that
is taken like GET. Neither decides anything.
"""

import enum
from http import HTTPStatus
from urllib.parse import urlencode

import structlog
from django.contrib.auth.models import User
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from payments import lifecycle, queries, returns
from payments.domain import money
from payments.domain.compensations import CompensationKind
from payments.domain.errors import NotFound
from payments.domain.states import TERMINAL, AttemptState
from payments.messaging import links
from payments.queries import AttemptView
from payments.web.pages import send_page

log = structlog.get_logger(__name__)

LOOK = "look"  # How often the page has looked again; it spaces the looks and decides nothing else.
LOOKS_AT_MOST = 40  # Some twelve minutes; then the customer looks, or hears from the shop.
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 2, 20
_SHOWN_PAYMENTS = 3


class Standing(enum.StrEnum):
    """How a payment stands, for the customer who comes back. The values are the tones of the page."""

    OPEN = "open"  # Nothing was submitted, such as after "try again".
    WORKING = "working"  # It will be known soon.
    DOUBT = "doubt"  # A person has to find out.
    RETURNED = "returned"  # Paid, and money went or goes back.
    SUCCESS = "success"
    FAILURE = "failure"


_HEADINGS = {
    Standing.OPEN: "Not paid yet",
    Standing.WORKING: "Just a moment",
    Standing.DOUBT: "We are finding out",
    Standing.RETURNED: "Money goes back to you",
    Standing.SUCCESS: "Paid",
    Standing.FAILURE: "Not paid",
}


class SeeOther(HttpResponseRedirect):
    """A redirect that is followed with GET, also after a POST."""

    status_code = HTTPStatus.SEE_OTHER


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def show_return(request: HttpRequest, gateway: str) -> HttpResponse:
    """Send a customer who comes back on, or say where the payment stands."""
    named = _named_payment(request, gateway=gateway)
    if named is None:
        return _private(_send_unknown(request))
    # The latest attempt of the order: an old link tells the truth of today, too.
    view = named if named.latest is None else queries.attempt_for(attempt_id=named.latest.id, customer_id=None)
    standing = standing_of(view)
    if standing is Standing.WORKING:
        _ask_soon(view)
    elif standing in {Standing.SUCCESS, Standing.FAILURE}:
        url = _target(view, is_paid=standing is Standing.SUCCESS)
        if url is not None:
            return _private(SeeOther(url))
    return _private(_send_standing(request, view, standing=standing, payment_id=named.attempt.public_id))


def standing_of(view: AttemptView) -> Standing:
    """Say how a payment stands, by our own records alone."""
    back = view.given_back
    if back is not None and back.kind is CompensationKind.REFUND:
        return Standing.RETURNED
    match view.state:
        case AttemptState.SUCCEEDED:
            return Standing.SUCCESS
        case AttemptState.FAILED | AttemptState.CANCELLED:
            return Standing.FAILURE
        case AttemptState.EXPIRED:
            # Over by the clock, but not yet ended under its lock: a claim may be about to commit.
            return Standing.FAILURE if view.attempt.state in TERMINAL else Standing.WORKING
        case AttemptState.QUEUED | AttemptState.CHARGING | AttemptState.CONFIRMING | AttemptState.IN_DOUBT:
            return Standing.WORKING
        case AttemptState.NEEDS_REVIEW:
            return Standing.DOUBT
        case AttemptState.OPEN:
            return Standing.OPEN


def wait_seconds(look: int) -> int | None:
    """Say after how long the page looks again: later each time, and at last never."""
    return min(_FIRST_WAIT_SECONDS + look, _LONGEST_WAIT_SECONDS) if look < LOOKS_AT_MOST else None


def _named_payment(request: HttpRequest, *, gateway: str) -> AttemptView | None:
    tokens = request.GET.getlist(returns.PARAMETER)
    attempt_id = returns.payment_of(tokens[0]) if len(tokens) == 1 else None
    if attempt_id is None:
        return None
    try:
        view = queries.attempt_for(attempt_id=attempt_id, customer_id=None)
    except NotFound:
        return None
    return view if view.attempt.gateway == gateway else None


def _ask_soon(view: AttemptView) -> None:
    try:
        lifecycle.ask_soon(attempt_id=view.attempt.id)
    except OperationalError:
        # Somebody holds the order for long. The page says what is known, and the next look asks again.
        log.warning("question_not_pulled_forward", payment_id=view.attempt.public_id, exc_info=True)


def _target(view: AttemptView, *, is_paid: bool) -> str | None:
    return returns.target(order=view.attempt.order, payment_id=view.attempt.public_id, is_paid=is_paid)


def _send_standing(request: HttpRequest, view: AttemptView, *, standing: Standing, payment_id: str) -> HttpResponse:
    look = _look_of(request)
    token = returns.return_token(payment_id=payment_id)
    attempt = view.attempt
    context = {
        "heading": _HEADINGS[standing],
        "tone": "doubt" if standing is Standing.RETURNED else standing.value,
        "message": view.message,
        "amount": money.display(amount_minor=attempt.amount_minor, currency=attempt.currency),
        "order_id": attempt.order.order_id,
        "wait_seconds": wait_seconds(look) if standing is Standing.WORKING else None,
        "is_working": standing is Standing.WORKING,
        "again": f"?{urlencode({returns.PARAMETER: token, LOOK: look + 1})}",
        "by_hand": f"?{urlencode({returns.PARAMETER: token})}",
        "onward": _target(view, is_paid=False) if standing is Standing.RETURNED else None,
        "pay_page": _pay_page(view) if standing in {Standing.OPEN, Standing.FAILURE} else None,
        "shop": _shop(),
    }
    return send_page(request, "return.html", context)


def _send_unknown(request: HttpRequest) -> HttpResponse:
    seen = []
    if isinstance(request.user, User):
        seen = queries.latest_payments(customer_id=request.user.pk, limit=_SHOWN_PAYMENTS)
    context = {"seen": seen, "shop": _shop()}
    return send_page(request, "return_unknown.html", context, status=HTTPStatus.NOT_FOUND)


def _look_of(request: HttpRequest) -> int:
    text = request.GET.get(LOOK, "")
    return min(int(text), LOOKS_AT_MOST) if text.isascii() and text.isdigit() and len(text) <= len("40") else 0


def _pay_page(view: AttemptView) -> str:
    return links.page_url(payment_id=view.attempt.public_id)


def _shop() -> str | None:
    try:
        return reverse("shop:items")
    except NoReverseMatch:  # Only the demo has one of ours.
        return None


def _private(response: HttpResponse) -> HttpResponse:
    """Keep the link, which shows where a payment stands, out of what others are told; no answer is stored anyway."""
    response["Referrer-Policy"] = "no-referrer"
    return response
