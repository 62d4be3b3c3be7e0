"""Staff sets policies in the admin, sees what of them is not followed, and leaves a trace."""

import html

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import Settings

from payments.models import PaymentMethodPolicy, PolicyChange, StockItem
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/payments/paymentmethodpolicy/"


@pytest.fixture
def operator(client: Client) -> User:
    """A member of staff who may do anything with policies, and nothing else."""
    operator = factories.make_user("operator", is_staff=True)
    operator.user_permissions.set(
        Permission.objects.filter(content_type__app_label="payments", content_type__model="paymentmethodpolicy")
    )
    client.force_login(operator)
    return operator


def wishes(**values: object) -> dict[str, object]:
    empty = dict.fromkeys(("window_minutes", "grace_seconds", "late_allowance_seconds", "reminder_lead_minutes"), "")
    return {**empty, **values}


def text(client: Client, path: str) -> str:
    page = client.get(path)
    assert page.status_code == 200, path
    return html.unescape(page.content.decode())


def test_a_policy_is_added_changed_and_removed_in_the_name_of_who_did_it(client: Client, operator: User) -> None:
    added = client.post(f"{PAGE}add/", wishes(method="card", window_minutes="30"))
    assert added.status_code == 302
    policy = PaymentMethodPolicy.objects.get()
    changed = client.post(f"{PAGE}{policy.pk}/change/", wishes(window_minutes="40", grace_seconds="0"))
    assert changed.status_code == 302
    policy.refresh_from_db()
    assert (policy.window_minutes, policy.grace_seconds) == (40, 0)
    removed = client.post(f"{PAGE}{policy.pk}/delete/", {"post": "yes"})
    assert removed.status_code == 302
    assert not PaymentMethodPolicy.objects.exists()
    recorded = PolicyChange.objects.order_by("id")
    assert {change.actor for change in recorded} == {f"staff:{operator.pk}"}
    windows = [
        (change.old and change.old["window_minutes"], change.new and change.new["window_minutes"])
        for change in recorded
    ]
    assert windows == [(None, 30), (30, 40), (40, None)]


def test_what_is_saved_holds_for_the_next_opening(client: Client, operator: User, item: StockItem) -> None:
    client.post(f"{PAGE}add/", wishes(method="card", window_minutes="30"))
    attempt = factories.place_order(customer=factories.make_user(), item=item)
    assert (attempt.expires_at - attempt.opened_at).total_seconds() == 1800


def test_what_is_not_followed_is_said_after_saving_and_shown_in_list_and_page(client: Client, operator: User) -> None:
    saved = client.post(f"{PAGE}add/", wishes(method="card", window_minutes="3", grace_seconds="900"), follow=True)
    sentences = [
        "window_minutes is 5, not 3: a customer needs this long to find a card",
        "grace_seconds is 300, not 900: a window that goes on is no window",
        "reminder_lead_minutes is 4, not 5: the window is 5 minutes, and a reminder comes inside it",
    ]
    said = [message.message for message in saved.context["messages"] if message.level_tag == "warning"]
    assert said == [f"card: {sentence}" for sentence in sentences]
    policy = PaymentMethodPolicy.objects.get()
    assert (policy.window_minutes, policy.grace_seconds) == (3, 900)  # Kept as it was wished.
    for path in (PAGE, f"{PAGE}{policy.pk}/change/"):
        page = text(client, path)
        for shown in (*sentences, "5 minutes", "300 s", "4 minutes before the deadline"):
            assert shown in page, (path, shown)


def test_a_wish_that_is_followed_is_saved_without_a_warning(client: Client, operator: User) -> None:
    saved = client.post(f"{PAGE}add/", wishes(method="card", reminder_lead_minutes="0"), follow=True)
    assert [message.level_tag for message in saved.context["messages"]] == ["success"]
    assert "none" in text(client, PAGE)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (
            {"method": "beads"},
            "'beads' is not a configured payment method; configured are card, upi.",
        ),
        ({"method": "card", "window_minutes": "0"}, "A window has at least a minute."),
        ({"method": "card", "grace_seconds": "-1"}, "greater than or equal to 0"),
        ({"method": "card", "grace_seconds": "soon"}, "Enter a whole number."),
        ({"method": "upi"}, "already exists"),
    ],
)
def test_a_wish_that_is_no_wish_is_refused_and_leaves_no_trace(
    client: Client, operator: User, settings: Settings, values: dict[str, str], named: str
) -> None:
    settings.PAYMENT_METHODS = {"card": {"gateway": "sandbox"}, "upi": {"gateway": "sandbox"}}
    PaymentMethodPolicy.objects.create(method="upi")
    refused = client.post(f"{PAGE}add/", wishes(**values))
    assert refused.status_code == 200
    assert named in html.unescape(refused.content.decode())
    assert PaymentMethodPolicy.objects.count() == 1
    assert PolicyChange.objects.count() == 1


def test_only_configured_methods_are_offered(client: Client, operator: User, settings: Settings) -> None:
    settings.PAYMENT_METHODS = {"card": {"gateway": "sandbox"}, "upi": {"gateway": "sandbox"}}
    page = text(client, f"{PAGE}add/")
    assert page.count("<option value=") == 2
    assert '<option value="upi">' in page


def test_a_policy_whose_method_is_gone_says_so_and_is_only_removed(client: Client, operator: User) -> None:
    policy = PaymentMethodPolicy.objects.create(method="beads", window_minutes=60)
    assert "not offered: without effect" in text(client, PAGE)
    refused = client.post(f"{PAGE}{policy.pk}/change/", wishes(window_minutes="30"))
    assert refused.status_code == 200
    said = html.unescape(refused.content.decode())
    assert "'beads' is not a configured payment method; configured are card, wallet. Delete the policy" in said
    assert client.post(f"{PAGE}{policy.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not PaymentMethodPolicy.objects.exists()


def test_the_method_of_a_policy_stays(client: Client, operator: User, settings: Settings) -> None:
    settings.PAYMENT_METHODS = {"card": {"gateway": "sandbox"}, "upi": {"gateway": "sandbox"}}
    policy = PaymentMethodPolicy.objects.create(method="card")
    client.post(f"{PAGE}{policy.pk}/change/", wishes(method="upi", window_minutes="30"))
    policy.refresh_from_db()
    assert (policy.method, policy.window_minutes) == ("card", 30)


def test_whoever_may_only_look_changes_nothing(client: Client) -> None:
    policy = PaymentMethodPolicy.objects.create(method="card")
    looker = factories.make_user("looker", is_staff=True)
    looker.user_permissions.set(Permission.objects.filter(codename="view_paymentmethodpolicy"))
    client.force_login(looker)
    text(client, f"{PAGE}{policy.pk}/change/")
    for path in ("add/", f"{policy.pk}/change/", f"{policy.pk}/delete/"):
        assert client.post(f"{PAGE}{path}", wishes(method="card", window_minutes="30")).status_code == 403, path
    client.force_login(factories.make_user("nobody", is_staff=True))
    assert client.get(PAGE).status_code == 403
    policy.refresh_from_db()
    assert policy.window_minutes is None


def test_many_are_not_removed_at_once(client: Client, operator: User) -> None:
    """That would be a statement outside of a transaction that says who does it."""
    policy = PaymentMethodPolicy.objects.create(method="card")
    client.post(PAGE, {"action": "delete_selected", "_selected_action": [policy.pk], "post": "yes"})
    assert PaymentMethodPolicy.objects.exists()


def test_changes_are_shown_and_not_changed(client: Client, operator: User) -> None:
    client.post(f"{PAGE}add/", wishes(method="card", window_minutes="30"))
    client.force_login(User.objects.create_superuser("root"))
    change = PolicyChange.objects.get()
    for path in ("policychange/", f"policychange/{change.pk}/change/"):
        page = text(client, f"/admin/payments/{path}")
        assert f"staff:{operator.pk}" in page
        assert '"window_minutes": 30' in page
    for path in ("add/", f"{change.pk}/change/", f"{change.pk}/delete/"):
        assert client.post(f"/admin/payments/policychange/{path}", {"actor": "staff:1"}).status_code == 403, path
