"""The gateway that docs/adding-a-gateway.md makes from scratch passes the contract suite."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from payments.gateways import failures
from payments.gateways.protocol import Gateway
from tests.contract.bench import Bench
from tests.contract.sandbox_server import WEBHOOK_SECRET, SandboxProcess
from tests.contract.suite import test_events as events
from tests.contract.suite import test_money as money
from tests.contract.suite.benches import SANDBOX
from tests.contract.suite.till import Till
from tests.receiver import Receiver


@pytest.fixture
def acme(checkout_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Gateway]]:
    """The adapter as the page prints it."""
    text = (checkout_folder / "docs" / "adding-a-gateway.md").read_text()
    (table,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "acme.toml").write_text(table)
    (tmp_path / "adapter.py").write_text(code)
    monkeypatch.setattr(failures, "_FOLDER", tmp_path)
    spec = importlib.util.spec_from_file_location("acme_adapter", tmp_path / "adapter.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["acme_adapter"] = module
    spec.loader.exec_module(module)
    yield module.AcmeGateway
    del sys.modules["acme_adapter"]


@pytest.fixture
def till(acme: type[Gateway], sandbox: SandboxProcess) -> Iterator[Till]:
    bench = Bench(name="acme", adapter=acme, settings=SANDBOX.settings, declines=SANDBOX.declines)
    gateway = bench.make(sandbox.url)
    yield Till(bench=bench, gateway=gateway, books=sandbox)
    gateway.close()


ALONE = [
    money.test_money_is_held_then_taken,
    money.test_money_is_taken_in_one_call,
    money.test_what_is_held_is_let_go_of,
    money.test_each_class_of_decline_is_read_and_nothing_moves,
    money.test_nobody_listening_was_never_asked,
    money.test_a_rate_limit_was_never_sent,
    money.test_the_same_request_again_moves_money_once,
    money.test_another_request_under_the_same_key_does_nothing,
    money.test_the_same_request_while_the_first_runs_is_a_doubt,
    money.test_a_void_after_the_gateway_let_it_lapse_never_claims_more_than_that,
    money.test_a_refund_is_made_once_however_often_it_is_asked,
    money.test_a_part_is_given_back,
    money.test_nothing_is_found_of_what_was_never_sent,
    money.test_a_page_that_was_let_go_takes_no_money,
    money.test_without_time_nothing_is_sent,
]
WITH_FAULTS = ["hang_after", "reset_after", "error_after", "garbage"]
OF_EVENTS = [
    events.test_an_event_names_the_payment_and_what_it_is_about,
    events.test_one_that_comes_twice_is_the_same_event,
    events.test_one_that_comes_late_is_heard_and_not_called_timely,
    events.test_whatever_their_order_each_is_heard,
    events.test_a_changed_body_or_another_secret_is_not_genuine,
]


@pytest.mark.parametrize("case", ALONE, ids=lambda case: case.__name__)
def test_its_money(till: Till, case: object) -> None:
    case(till)  # type: ignore[operator] # one of the functions of above


@pytest.mark.parametrize("fault", WITH_FAULTS)
def test_its_doubts(till: Till, fault: str) -> None:
    money.test_a_call_that_broke_after_it_was_done_is_found_by_a_look_up(till, fault)


@pytest.mark.parametrize("case", OF_EVENTS, ids=lambda case: case.__name__)
def test_its_events(till: Till, receiver: Receiver, case: object) -> None:
    till.books.settings(webhook={"url": receiver.url, "secrets": [WEBHOOK_SECRET]})
    case(till, receiver)  # type: ignore[operator] # one of the functions of above
