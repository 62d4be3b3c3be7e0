"""The admin shows every row and changes none of the domain's."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from payments.models import StockItem
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


def test_every_page_opens_and_offers_no_change(client: Client, customer: User, item: StockItem) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item, order_id="ORD-1"))
    client.force_login(User.objects.create_superuser("root"))
    for path, shown in (
        ("order/", "ORD-1"),
        (f"order/{attempt.order_id}/change/", "MUG-BLUE"),
        ("paymentattempt/", attempt.public_id),
        (f"paymentattempt/{attempt.pk}/change/", "submitted"),
        ("stockitem/", "MUG-BLUE"),
    ):
        page = client.get(f"/admin/payments/{path}")
        assert page.status_code == 200, path
        assert shown in page.content.decode(), path
    assert "tok_visa" not in client.get(f"/admin/payments/paymentattempt/{attempt.pk}/change/").content.decode()
    for path in ("order/add/", f"order/{attempt.order_id}/delete/", f"paymentattempt/{attempt.pk}/delete/"):
        assert client.get(f"/admin/payments/{path}").status_code == 403, path
    assert (
        client.post(f"/admin/payments/paymentattempt/{attempt.pk}/change/", {"state": "succeeded"}).status_code == 403
    )


def test_customers_do_not_get_in(client: Client, customer: User) -> None:
    client.force_login(customer)
    assert client.get("/admin/payments/order/").status_code == 302
