"""What is left open when PayPal refuses, or when the machine sleeps, on the way to a payment."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from payments import clocks
from payments.domain.failures import FailureCode
from payments.domain.outcomes import Authorized, Captured, Declined, InDoubt, NeverSent
from payments.gateways.paypal.adapter import PayPalGateway
from payments.gateways.transport import Answer
from tests.contract.paypal.asking import AMOUNT_MINOR, Paying, charge_request, order_of
from tests.contract.paypal.bodies import refusal, refusals
from tests.contract.recording import Recorder
from tests.contract.sandbox_server import SandboxProcess

C = FailureCode


@pytest.fixture
def recorder(sandbox: SandboxProcess) -> Iterator[Recorder]:
    with Recorder(upstream=sandbox.url, prefix="/paypal") as started:
        yield started


@pytest.fixture
def heard(recorder: Recorder) -> Iterator[Paying]:
    with Paying(url=recorder.url) as started:
        yield started


# Refusals


@pytest.mark.parametrize(
    "said",
    [
        refusal(422, "SOMETHING_NEW"),
        refusals("INSTRUMENT_DECLINED", "SOMETHING_NEW"),
        refusal(422, "ORDER_ALREADY_AUTHORIZED"),
    ],
)
def test_an_order_that_is_unpaid_after_a_refusal_that_says_too_little_is_a_doubt(
    sandbox: SandboxProcess, heard: Paying, recorder: Recorder, said: Answer
) -> None:
    recorder.instead["/authorize"] = [(said.status, said.body)]
    seen = heard.authorize()
    assert isinstance(seen, InDoubt)
    assert recorder.calls[-1].path.endswith(order_of(seen))  # It was looked at.
    assert sandbox.operations() == []


@pytest.mark.parametrize("issues", [("SOMETHING_NEW",), ("INSTRUMENT_DECLINED", "ORDER_ALREADY_CAPTURED")])
def test_an_order_that_is_paid_after_a_refusal_is_seen_so(
    sandbox: SandboxProcess, heard: Paying, recorder: Recorder, issues: tuple[str, ...]
) -> None:
    taken = heard.charge()
    said = refusals(*issues)
    recorder.instead["/capture"] = [(said.status, said.body)]
    assert heard.charge() == taken == Captured(order_of(taken))
    assert sandbox.operations() == [("charge", AMOUNT_MINOR)]


def test_a_listed_refusal_stands_without_a_look(heard: Paying, recorder: Recorder) -> None:
    said = refusal(422, "INSTRUMENT_DECLINED")
    recorder.instead["/authorize"] = [(said.status, said.body)]
    seen = heard.authorize()
    assert seen == Declined(C.DECLINED, "INSTRUMENT_DECLINED", order_of(seen))
    assert len(recorder.calls) == 2


# Captures


def test_an_order_that_was_held_more_than_once_is_not_captured(
    sandbox: SandboxProcess, heard: Paying, recorder: Recorder
) -> None:
    order = order_of(heard.authorize())
    shown: dict[str, Any] = recorder.calls[-1].content
    payments = shown["purchase_units"][0]["payments"]
    payments["authorizations"].append({**payments["authorizations"][0], "id": "8AAAAAAAAAAAAAAAA"})
    recorder.instead[order] = [(200, json.dumps(shown).encode())]
    assert isinstance(heard.capture(order), InDoubt)
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR)]


def test_what_is_not_held_yet_is_not_captured(heard: Paying, recorder: Recorder) -> None:
    order = order_of(heard.authorize(charge_request(token="tok_pending")))
    assert heard.capture(order) == Declined(C.ALREADY_DONE, "pending", order)
    assert not [call for call in recorder.calls if call.path.endswith("/capture")]


def test_what_was_captured_is_told_so_and_not_captured_again(heard: Paying, recorder: Recorder) -> None:
    order = order_of(heard.authorize())
    assert [heard.capture(order, key=key) for key in ("c1", "c2")] == [Captured(order)] * 2
    assert len([call for call in recorder.calls if call.path.endswith("/capture")]) == 1


# Sleep


class Sleeping:
    """A machine that sleeps each time after an order was made, or looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, seconds: float, after: str = "_open") -> None:
        self.slept_seconds = 0.0
        boottime_seconds, step = clocks.boottime_seconds, getattr(PayPalGateway, after)

        def sleep_afterwards(gateway: PayPalGateway, *args: Any, **named: Any) -> Any:
            done = step(gateway, *args, **named)
            self.slept_seconds += seconds
            return done

        monkeypatch.setattr(clocks, "boottime_seconds", lambda: boottime_seconds() + self.slept_seconds)
        monkeypatch.setattr(PayPalGateway, after, sleep_afterwards)


@pytest.mark.parametrize("token", ["tok_ok", ""])
def test_after_a_sleep_nothing_is_paid_any_more(
    sandbox: SandboxProcess, heard: Paying, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    request = charge_request(token=token)
    if not token:
        sandbox.settle(order_of(heard.authorize(request)), "pay")
    with monkeypatch.context() as patched:
        Sleeping(patched, seconds=3.0)
        seen = heard.authorize(request)
    assert isinstance(seen, NeverSent)
    assert seen.code is C.STALE_CHECK
    assert not [call for call in recorder.calls if call.path.endswith("/authorize")]
    assert isinstance(heard.authorize(request), Authorized)
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR)]


def test_after_a_sleep_nothing_is_captured_any_more(
    sandbox: SandboxProcess, heard: Paying, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = order_of(heard.authorize())
    with monkeypatch.context() as patched:
        Sleeping(patched, seconds=3.0, after="_order_of")
        seen = heard.capture(order)
    assert isinstance(seen, NeverSent)
    assert seen.code is C.STALE_CHECK
    assert sandbox.operations() == [("authorize", AMOUNT_MINOR)]
    assert heard.capture(order) == Captured(order)


def test_a_nap_is_no_reason(heard: Paying, monkeypatch: pytest.MonkeyPatch) -> None:
    Sleeping(monkeypatch, seconds=1.0)
    assert isinstance(heard.authorize(), Authorized)


def test_an_order_that_takes_its_time_is_paid_all_the_same(sandbox: SandboxProcess, heard: Paying) -> None:
    sandbox.behave("slow:2.5", operation="order", times=1)
    assert isinstance(heard.authorize(), Authorized)
