"""Pages that we did not write work under our content policy: the browser complains about nothing."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from payments.models import StockItem
from tests import factories
from tests.system import System

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PASSWORD = "a-password-of-a-test"


def test_the_documentation_can_be_read(page: Page, system: System) -> None:
    page.goto(f"{system.web_url}/api/docs")
    page.get_by_text("Pay: queue the charge").click()
    expect(page.get_by_role("button", name="Try it out")).to_be_visible()


def test_the_admin_can_be_used(open_page: Callable[..., Page], system: System, customer: User, item: StockItem) -> None:
    User.objects.create_superuser("boss", password=PASSWORD)
    attempt = factories.place_order(customer=customer, item=item)
    page = open_page(expected_complaints="(Not Found)")  # The admin has no icon, and browsers ask for one.
    page.goto(f"{system.web_url}/admin/")
    page.get_by_label("Username").fill("boss")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Site administration")).to_be_visible()
    page.goto(f"{system.web_url}/admin/payments/paymentattempt/")
    expect(page.get_by_role("link", name=attempt.public_id).first).to_be_visible()
    page.get_by_role("link", name=attempt.public_id).first.click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.goto(f"{system.web_url}/admin/auth/user/add/")
    expect(page.get_by_role("heading", name="Add user")).to_be_visible()
