"""What the sandbox gateway tells the shop: signed, retried, and as disorderly as it was asked to be."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.sandbox_server import WEBHOOK_SECRET, SandboxProcess, wait_until
from tests.receiver import Receiver, status


class Shop:
    """What the shop heard."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    @property
    def received(self) -> list[tuple[str, bytes]]:
        return [(request.headers["sandbox-signature"], request.body) for request in self.receiver.requests]

    def events(self) -> list[dict[str, Any]]:
        return [request.payload for request in self.receiver.requests]

    def types(self) -> list[str]:
        return [event["type"] for event in self.events()]

    def wait_for(self, count: int) -> None:
        wait_until(lambda: len(self.received) >= count, what=f"{count} events arrived")


@pytest.fixture
def shop(receiver: Receiver) -> Shop:
    return Shop(receiver)


@pytest.fixture
def sandbox(process: SandboxProcess, shop: Shop) -> Iterator[SandboxProcess]:
    process.reset()
    process.settings(webhook={"url": shop.receiver.url, "retry_base_seconds": 0.01})
    yield process
    process.reset()  # Back to no address, before the shop closes.


def states(sandbox: SandboxProcess) -> list[str]:
    return [event["state"] for event in sandbox.ledger()["events"]]


def wait_until_states(sandbox: SandboxProcess, expected: list[str]) -> None:
    wait_until(lambda: states(sandbox) == expected, what=f"the events are {expected}")


def expected_mark(secret: str, moment: str, body: bytes) -> str:
    return "v1=" + hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()


def test_event_carries_the_charge_and_a_signature_over_its_raw_bytes(sandbox: SandboxProcess, shop: Shop) -> None:
    charge = sandbox.charge(key="k").json()
    shop.wait_for(1)
    signature, body = shop.received[0]
    moment, mark = signature.split(",")
    event = json.loads(body)

    assert event["data"] == {"charge": charge}
    assert (event["type"], event["id"][:4], type(event["created"])) == ("charge.captured", "evt_", int)
    assert moment.startswith("t=")
    assert mark == expected_mark(WEBHOOK_SECRET, moment.removeprefix("t="), body)
    wait_until_states(sandbox, ["delivered"])


def test_two_secrets_give_two_signatures(sandbox: SandboxProcess, shop: Shop) -> None:
    sandbox.settings(webhook={"secrets": ["new", "old"]})
    sandbox.charge(key="k")
    shop.wait_for(1)
    signature, body = shop.received[0]
    moment, *marks = signature.split(",")

    assert marks == [expected_mark(secret, moment.removeprefix("t="), body) for secret in ("new", "old")]


def test_every_change_of_a_charge_is_told_in_order(sandbox: SandboxProcess, shop: Shop) -> None:
    charge_id = sandbox.charge(key="a", token="tok_pending", capture=False).json()["id"]
    sandbox.settle(charge_id, "pay")
    sandbox.post(f"charges/{charge_id}/capture", key="c")
    sandbox.post(f"charges/{charge_id}/refund", key="r")
    shop.wait_for(4)

    assert shop.types() == ["charge.pending", "charge.authorized", "charge.captured", "charge.refunded"]
    assert [event["data"]["charge"]["version"] for event in shop.events()] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("token", "more", "told"),
    [
        ("tok_declined", {}, "charge.declined"),
        ("tok_hosted", {"expires_in_seconds": 1}, "charge.expired"),
        ("tok_pending_then_captured", {}, "charge.captured"),
        ("tok_pending_then_declined", {}, "charge.declined"),
    ],
)
def test_declines_expiries_and_own_decisions_are_told(
    sandbox: SandboxProcess, shop: Shop, token: str, more: dict[str, Any], told: str
) -> None:
    sandbox.charge(key="k", token=token, **more)
    wait_until(lambda: shop.types()[-1:] == [told], what=f"{told} arrived")


def test_void_by_cancelled_key_is_told(sandbox: SandboxProcess, shop: Shop) -> None:
    sandbox.charge(key="k", capture=False)
    sandbox.post("idempotency-keys/k/cancel")
    shop.wait_for(2)

    assert shop.types() == ["charge.authorized", "charge.voided"]


def test_refused_delivery_is_tried_again_with_the_same_event(sandbox: SandboxProcess, shop: Shop) -> None:
    shop.receiver.answers = [status(500)] * 2
    sandbox.charge(key="k")
    wait_until_states(sandbox, ["delivered"])

    assert len({event["id"] for event in shop.events()}) == 1
    assert (len(shop.received), sandbox.ledger()["events"][0]["tries"]) == (3, 3)


def test_delivery_is_given_up_after_the_last_try(sandbox: SandboxProcess, shop: Shop) -> None:
    shop.receiver.answer = status(500)
    sandbox.settings(webhook={"max_tries": 3})
    sandbox.charge(key="k")
    wait_until_states(sandbox, ["failed"])

    assert len(shop.received) == 3


def test_duplicates_repeat_each_event(sandbox: SandboxProcess, shop: Shop) -> None:
    sandbox.settings(webhook={"duplicates": 2})
    sandbox.charge(key="k")
    wait_until_states(sandbox, ["delivered"])

    assert len(shop.received) == 3
    assert len({event["id"] for event in shop.events()}) == 1


def test_reorder_sends_a_bunch_newest_first(sandbox: SandboxProcess, shop: Shop) -> None:
    sandbox.settings(webhook={"reorder": 3})
    charge_id = sandbox.charge(key="a", capture=False).json()["id"]
    sandbox.post(f"charges/{charge_id}/capture", key="c")
    assert states(sandbox) == ["waiting", "waiting"]
    sandbox.post(f"charges/{charge_id}/refund", key="r")
    shop.wait_for(3)

    assert shop.types() == ["charge.refunded", "charge.captured", "charge.authorized"]


def test_dropped_events_never_arrive(sandbox: SandboxProcess, shop: Shop) -> None:
    sandbox.settings(webhook={"drop": True})
    sandbox.charge(key="a")
    sandbox.settings(webhook={"drop": False})
    sandbox.charge(key="b", reference="order-2")
    wait_until_states(sandbox, ["dropped", "delivered"])

    assert [event["data"]["charge"]["reference"] for event in shop.events()] == ["order-2"]


def test_switched_off_events_wait_until_it_is_on_again(sandbox: SandboxProcess, shop: Shop) -> None:
    sandbox.settings(webhook={"enabled": False})
    sandbox.charge(key="k")
    assert states(sandbox) == ["waiting"]
    sandbox.settings(webhook={"enabled": True})
    shop.wait_for(1)


def test_delayed_events_wait_their_time(sandbox: SandboxProcess, shop: Shop) -> None:
    sandbox.settings(webhook={"delay_seconds": 3600})
    sandbox.charge(key="late")
    sandbox.settings(webhook={"delay_seconds": 0})
    sandbox.charge(key="soon", reference="order-2")
    wait_until_states(sandbox, ["waiting", "delivered"])

    assert [event["data"]["charge"]["reference"] for event in shop.events()] == ["order-2"]


@pytest.mark.parametrize(
    "change", [{"webhook": {"url": "ftp://x"}}, {"webhook": {"secrets": []}}, {"webhook": 1}, {"speed": 1}]
)
def test_settings_that_make_no_sense_are_refused(sandbox: SandboxProcess, change: dict[str, object]) -> None:
    with pytest.raises(AssertionError, match="invalid_request"):
        sandbox.settings(**change)


def test_settings_show_no_secrets(sandbox: SandboxProcess) -> None:
    shown = json.dumps(sandbox.settings())

    assert "secret" not in shown
    assert "api_key" not in shown
