"""Archive runs at the same time, and beside customers."""

from collections import Counter
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from payments import archive, lifecycle
from payments.lifecycle.archive import Archived, Result
from payments.models import ArchivedAttempt, PaymentAttempt, StockItem
from tests import factories
from tests.concurrency.test_locks import at_once
from tests.integration.archiving.archives import age_orders, run

pytestmark = pytest.mark.django_db(transaction=True)


def test_runs_at_once_archive_each_payment_once(item: StockItem, tmp_path: Path) -> None:
    attempts = [factories.place_order(customer=factories.make_user(), item=item) for _ in range(30)]
    factories.age_attempt(*(attempt.id for attempt in attempts), seconds_left=-1)
    assert lifecycle.sweep_expired().expired_orders == 30
    age_orders(*attempts)
    living = factories.place_order(customer=factories.make_user(), item=item)

    def go() -> list[Archived]:
        return list(lifecycle.archive_attempts(older_than=timedelta(days=1), folder=tmp_path))

    acts: list[Any] = [go] * 4 + [partial(factories.submit, living)]
    runs: list[Any] = at_once(acts)[:4]
    assert [found for found in runs if isinstance(found, Exception)] == []
    archived = Counter(row.order_number for found in runs for row in found if row.result is Result.ARCHIVED)
    assert archived == Counter(attempt.order.order_id for attempt in attempts)
    assert ArchivedAttempt.objects.count() == 30
    assert PaymentAttempt.objects.get().state == "queued"
    files = [str(path) for path in tmp_path.glob("*.jsonl.gz")]
    assert run("verify_history", "--archive", *files)[0] == 0
    assert run("verify_history")[0] == 0
    assert not list(tmp_path.glob("*.tmp"))
    assert all(archive.manifest_path(Path(path)).exists() for path in files)
