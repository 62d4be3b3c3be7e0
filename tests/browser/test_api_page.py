"""The browser's example of docs/api.md, run as it stands there."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page

from payments.models import StockItem
from tests.factories import place_order, submit
from tests.system import System

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_example_waits_for_the_end_of_a_payment(
    page: Page,
    system: System,
    customer: User,
    item: StockItem,
    token_for: Callable[[User], str],
    checkout_folder: Path,
) -> None:
    (example,) = re.findall(
        r"```javascript\n(.*?)```", (checkout_folder / "docs" / "api.md").read_text(), flags=re.DOTALL
    )
    attempt = submit(place_order(customer=customer, item=item), token="tok_slow_3")
    statuses: list[int] = []
    page.on("response", lambda answer: statuses.append(answer.status) if "/api/payments/" in answer.url else None)
    page.goto(f"{system.web_url}/shop/")

    shown = page.evaluate(
        f"""async ([paymentId, token]) => {{
            {example}
            const shown = [];
            await waitUntilSettled(paymentId, token, (payment) => shown.push(payment.state));
            return shown;
        }}""",
        [attempt.public_id, token_for(customer)],
    )

    assert shown[-1] == "succeeded"
    assert len(set(shown)) == len(shown)  # What had not changed came as 304, and was not shown again.
    assert statuses.count(200) == len(shown)
    assert 304 in statuses
