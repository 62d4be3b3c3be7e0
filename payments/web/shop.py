"""The demo shop: pick an item, place an order, pay it. Only for trying Paywindow out; see PAYMENT_DEMO.

These views place the order and show the page. From there on the page asks the API, as any other front end would.
"""

import secrets
from dataclasses import dataclass
from http import HTTPStatus

from django import forms
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from payments import config, lifecycle, policies, queries
from payments.domain import money
from payments.domain.errors import AmountMismatch, NotFound, OutOfStock, PaymentError
from payments.domain.states import AttemptState
from payments.models import PaymentAttempt, StockItem
from payments.web.cards import DEMO_CARDS
from payments.web.methods import Choice, choices
from payments.web.pages import send_page

FEW_LEFT = 10  # From here on a customer is told to hurry.
MAX_QUANTITY = 10_000  # As the API has it; the stock is the real bound.


class OrderForm(forms.Form):
    """One item of the shop, how many of it, and how it is paid; without a method in the usual way."""

    sku = forms.CharField(max_length=64)
    quantity = forms.IntegerField(min_value=1, max_value=MAX_QUANTITY)
    method = forms.CharField(max_length=32, required=False)


@dataclass(frozen=True, slots=True)
class Offer:
    """An item as the shop shows it."""

    sku: str
    name: str
    price: str
    available: int
    methods: list[Choice]

    @property
    def is_scarce(self) -> bool:
        """Whether few are left."""
        return 0 < self.available <= FEW_LEFT


@dataclass(frozen=True, slots=True)
class OrderedLine:
    """A line of an order as the pay page shows it."""

    name: str
    quantity: int
    unit_price: str
    total: str


@require_safe
def show_items(request: HttpRequest) -> HttpResponse:
    """Show what is for sale."""
    offers = [
        Offer(
            sku=item.sku,
            name=item.name,
            price=money.display(amount_minor=item.unit_price_minor, currency=item.currency),
            available=item.available,
            methods=choices(currency=item.currency),
        )
        for item in queries.items_on_sale()
    ]
    usual = next(iter(config.payment_methods().values()))
    window_minutes = policies.in_force(usual).method.window_minutes
    return send_page(request, "shop.html", {"offers": offers, "window_minutes": window_minutes})


@require_POST
def place_order(request: HttpRequest) -> HttpResponse:
    """Place an order and go on to its payment; when it is refused, go back to the shop and say why."""
    form = OrderForm(request.POST)
    item = _item_of(form)
    if item is None:
        messages.error(request, "There is no such item any more.")
        return redirect("shop:items")
    if not form.is_valid():
        messages.error(request, f"Please enter how many of “{item.name}” you want: a whole number, at least 1.")
        return redirect("shop:items")
    quantity: int = form.cleaned_data["quantity"]
    offered = [choice.name for choice in choices(currency=item.currency)]
    method = form.cleaned_data["method"] or offered[0]
    if method not in offered:
        messages.error(request, f"“{item.name}” cannot be paid in that way. Nothing was ordered.")
        return redirect("shop:items")
    try:
        view = lifecycle.open_order(
            customer_id=_customer_id(request),
            lines=[lifecycle.RequestedLine(sku=item.sku, quantity=quantity)],
            expected_total_minor=item.unit_price_minor * quantity,
            currency=item.currency,
            method=method,
        )
    except PaymentError as error:
        messages.error(request, _refusal(error, item=item))
        return redirect("shop:items")
    return redirect("shop:payment", payment_id=view.attempt.public_id)


@require_safe
def show_payment(request: HttpRequest, payment_id: str) -> HttpResponse:
    """Show the pay page of the customer's own attempt; anybody else's reads as not found."""
    if request.user.pk is None:  # The session first: every answer says that it was asked.
        return _missing(request)
    try:
        attempt_id = queries.attempt_id_of(payment_id)
        view = queries.attempt_for(attempt_id=attempt_id, customer_id=request.user.pk)
    except NotFound:
        return _missing(request)
    attempt = view.attempt
    context = {
        "attempt": attempt,
        "amount": money.display(amount_minor=attempt.amount_minor, currency=attempt.currency),
        "lines": _lines_of(attempt),
        # For a browser without JavaScript; with it, the page asks the API.
        "message": view.message,
        "can_pay": view.state is AttemptState.OPEN,
        "cards": () if config.payment_method(attempt.method).is_hosted else DEMO_CARDS,
        "feedback_seconds": f"{config.limits().feedback_seconds:g}",
    }
    return send_page(request, "pay.html", context)


def _customer_id(request: HttpRequest) -> int:
    # A visitor becomes a throw-away customer with the first order, never by looking around.
    if isinstance(request.user, User):
        return request.user.pk
    guest = User.objects.create_user(f"guest-{secrets.token_hex(8)}")
    login(request, guest)
    return guest.pk


def _item_of(form: OrderForm) -> StockItem | None:
    form.full_clean()
    sku = form.cleaned_data.get("sku")
    return next((item for item in queries.items_on_sale() if item.sku == sku), None)


def _refusal(error: PaymentError, *, item: StockItem) -> str:
    match error:
        case OutOfStock() if error.facts.get("available"):
            return f"Only {error.facts['available']} of “{item.name}” are available. Nothing was ordered."
        case OutOfStock():
            return f"“{item.name}” is sold out. Nothing was ordered."
        case AmountMismatch():
            return f"The price of “{item.name}” has just changed. Please look again; nothing was ordered."
        case _:
            return error.detail


def _lines_of(attempt: PaymentAttempt) -> list[OrderedLine]:
    def price(amount_minor: int) -> str:
        return money.display(amount_minor=amount_minor, currency=attempt.currency)

    return [
        OrderedLine(
            name=line.item.name,
            quantity=line.quantity,
            unit_price=price(line.unit_price_minor),
            total=price(line.unit_price_minor * line.quantity),
        )
        for line in queries.lines_of(order=attempt.order)
    ]


def _missing(request: HttpRequest) -> HttpResponse:
    return send_page(request, "missing.html", {}, status=HTTPStatus.NOT_FOUND)
