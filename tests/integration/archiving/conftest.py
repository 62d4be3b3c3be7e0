"""A shop whose orders closed long ago."""

import pytest
from django.contrib.auth.models import User

from payments import lifecycle
from tests import stockroom
from tests.contract.sandbox_server import SandboxProcess
from tests.integration.archiving.archives import age_orders, remind
from tests.stockroom import Shop


@pytest.fixture
def shop(sandbox: SandboxProcess, staff: User) -> Shop:
    """Two of its orders closed two days ago: one was cancelled, one paid and given back."""
    shop = stockroom.open_shop()
    refund = lifecycle.refund_payment(attempt_id=shop.paid.id, staff_id=staff.pk, reason="returned")
    assert lifecycle.compensate(compensation_id=refund.id) == "done"
    remind(shop.paid, is_sent=True)
    age_orders(shop.paid, shop.cancelled)
    return shop
