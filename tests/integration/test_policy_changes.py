"""Every change of a policy is on record, whoever makes it and from wherever; the record is never changed."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import ProgrammingError, connection

from payments import clocks, policies
from payments.models import PaymentMethodPolicy, PolicyChange
from payments.transactions import transaction

pytestmark = pytest.mark.django_db(transaction=True)

EMPTY = {
    "window_minutes": None,
    "grace_seconds": None,
    "late_allowance_seconds": None,
    "reminder_lead_minutes": None,
}


def execute(sql: str) -> None:
    """What a console does."""
    with connection.cursor() as cursor:
        cursor.execute(sql)


def database_user() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user")
        return str(cursor.fetchone()[0])


def changes() -> list[tuple[str, str, Any, Any]]:
    return list(PolicyChange.objects.order_by("id").values_list("method", "actor", "old", "new"))


def test_each_change_leaves_who_when_what_was_and_what_is() -> None:
    before = clocks.database_now()
    execute("INSERT INTO payments_paymentmethodpolicy (method, window_minutes) VALUES ('card', 20)")
    execute("UPDATE payments_paymentmethodpolicy SET window_minutes = 30, grace_seconds = 5")
    execute("DELETE FROM payments_paymentmethodpolicy")
    actor = f"database:{database_user()}"
    assert changes() == [
        ("card", actor, None, EMPTY | {"window_minutes": 20}),
        ("card", actor, EMPTY | {"window_minutes": 20}, EMPTY | {"window_minutes": 30, "grace_seconds": 5}),
        ("card", actor, EMPTY | {"window_minutes": 30, "grace_seconds": 5}, None),
    ]
    times = [before, *PolicyChange.objects.order_by("id").values_list("at", flat=True), clocks.database_now()]
    assert times == sorted(times)


def test_one_statement_over_several_rows_leaves_one_record_each() -> None:
    PaymentMethodPolicy.objects.bulk_create(PaymentMethodPolicy(method=name) for name in ("card", "upi"))
    PaymentMethodPolicy.objects.update(grace_seconds=0)
    assert [(method, new["grace_seconds"]) for method, _, _, new in changes()] == [
        ("card", None),
        ("upi", None),
        ("card", 0),
        ("upi", 0),
    ]


def test_what_changes_nothing_leaves_nothing() -> None:
    row = PaymentMethodPolicy.objects.create(method="card", window_minutes=20)
    row.save()
    assert len(changes()) == 1


def test_the_actor_of_a_transaction_is_recorded_and_ends_with_it() -> None:
    with transaction():
        policies.set_actor(actor="staff:7")
        PaymentMethodPolicy.objects.create(method="card")
    PaymentMethodPolicy.objects.update(window_minutes=30)
    (_, named, _, _), (_, unnamed, _, _) = changes()
    assert (named, unnamed) == ("staff:7", f"database:{database_user()}")
    # Whoever is named, whose session it was is known to the database alone.
    assert set(PolicyChange.objects.values_list("database_user", flat=True)) == {database_user()}


def test_an_actor_is_named_inside_a_transaction_only() -> None:
    with pytest.raises(RuntimeError, match="inside a transaction"):
        policies.set_actor(actor="staff:7")


def test_a_change_that_is_rolled_back_leaves_nothing() -> None:
    with transaction():
        PaymentMethodPolicy.objects.create(method="card")
        connection.set_rollback(True)
    assert not PaymentMethodPolicy.objects.exists()
    assert changes() == []


@pytest.mark.parametrize(
    ("tamper", "refusal"),
    [
        (lambda: PolicyChange.objects.update(actor="staff:1"), "Cannot update or delete rows"),
        (lambda: PolicyChange.objects.all().delete(), "Cannot update or delete rows"),
        (
            lambda: PolicyChange.objects.create(
                method="card", at=clocks.database_now(), actor="staff:1", database_user="x", old=None, new=None
            ),
            "Cannot insert rows",
        ),
    ],
)
def test_the_record_is_neither_changed_nor_invented(tamper: Callable[[], object], refusal: str) -> None:
    PaymentMethodPolicy.objects.create(method="card")
    recorded = list(PolicyChange.objects.values())
    with pytest.raises(ProgrammingError, match=refusal):
        tamper()
    assert list(PolicyChange.objects.values()) == recorded
