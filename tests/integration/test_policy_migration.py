"""Attempts from before policies get the grace and the allowance that the settings had for their methods."""

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from pytest_django import Settings

from payments import lifecycle
from payments.models import PaymentAttempt, StockItem
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_is_there_is_stamped_by_method_and_goes_on(customer: User, item: StockItem, settings: Settings) -> None:
    settings.PAYMENT_METHODS = {
        "card": {"gateway": "sandbox"},
        "upi": {"gateway": "sandbox", "grace_seconds": 0, "late_allowance_seconds": 60},
        "gone": {"gateway": "sandbox"},
    }
    attempts = {
        name: factories.place_order(customer=customer, item=item, method=name) for name in settings.PAYMENT_METHODS
    }
    factories.submit(attempts["upi"])
    call_command("migrate", "payments", "0008_expiry_failures", verbosity=0)
    try:
        with connection.cursor() as cursor:
            description = connection.introspection.get_table_description(cursor, "payments_paymentattempt")
        assert {column.name for column in description}.isdisjoint({"grace_seconds", "late_allowance_seconds"})
        del settings.PAYMENT_METHODS["gone"]
        settings.PAYMENT_GRACE_SECONDS, settings.PAYMENT_LATE_ALLOWANCE_SECONDS = 45, 600
    finally:
        call_command("migrate", verbosity=0)
    stamped = {
        row.method: (row.grace_seconds, row.late_allowance_seconds) for row in PaymentAttempt.objects.order_by("id")
    }
    assert stamped == {"card": (45, 600), "upi": (0, 60), "gone": (45, 600)}
    factories.age_attempt(*[attempt.id for attempt in attempts.values()], seconds_left=-1)
    assert lifecycle.sweep_expired().expired_orders == 3
