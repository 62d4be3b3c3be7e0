"""The Python client takes an order the whole road: placed, paid, and given back by staff."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from payments.client import Line, PaywindowClient, RefundRefused
from payments.models import StockItem
from tests.contract.sandbox_server import wait_until
from tests.system import System

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True)]


def test_order_is_placed_paid_and_given_back(
    system: System, customer: User, staff: User, item: StockItem, token_for: Callable[[User], str]
) -> None:
    with (
        PaywindowClient(system.web_url, token=token_for(customer)) as shopper,
        PaywindowClient(system.web_url, token=lambda: token_for(staff)) as backoffice,
    ):
        order = shopper.place_order(lines=[Line(item.sku, 2)], total_minor=2500, currency="USD")
        shopper.submit(payment_id=order.payment.id, payment_token="tok_visa")
        paid = shopper.wait_until_settled(payment_id=order.payment.id)
        assert (paid.state, shopper.order_status(order_id=order.order_id).payment_status) == ("succeeded", "paid")

        refund = backoffice.refund(payment_id=paid.id, reason="It came back", amount_minor=1000)
        assert (refund.payment_id, refund.amount_minor) == (paid.id, 1000)
        with pytest.raises(RefundRefused) as refused:
            backoffice.refund(payment_id=paid.id, reason="Again", amount_minor=1)
        assert refused.value.facts["compensation_id"] == refund.id
        wait_until(lambda: ("refund", 1000) in system.sandbox.operations(), what="the refund", deadline_seconds=30)
