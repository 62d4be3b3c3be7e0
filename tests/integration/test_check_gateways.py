"""What an operator is told of each gateway."""

from io import StringIO

import pytest
from django.core.management import call_command
from pytest_django import Settings

from payments.gateways import registry
from tests.contract.sandbox_server import API_KEY, SandboxProcess, free_port
from tests.contract.suite.benches import BENCHES


def told(*, ends_with: int = 0) -> str:
    said = StringIO()
    if ends_with:
        with pytest.raises(SystemExit) as ended:
            call_command("check_gateways", stdout=said)
        assert ended.value.code == ends_with
    else:
        call_command("check_gateways", stdout=said)
    return said.getvalue()


def configure(settings: Settings, **sandbox: str) -> None:
    settings.PAYMENT_GATEWAYS = {"sandbox": sandbox}
    registry.close_gateways()


def test_a_gateway_that_answers_and_knows_us(settings: Settings, sandbox: SandboxProcess) -> None:
    configure(settings, url=sandbox.url, api_key=API_KEY, webhook_secrets="s")
    said = told()
    assert "sandbox: on, it answers and knows us" in said
    assert "can: hold money before taking it, cancel by key" in said
    assert "events: taken" in said
    assert sandbox.ledger()["charges"] == []


@pytest.mark.parametrize("name", BENCHES)
def test_every_gateway_says_whether_it_knows_us(settings: Settings, sandbox: SandboxProcess, name: str) -> None:
    settings.PAYMENT_METHODS = {}
    good = dict(BENCHES[name].settings(sandbox.url, ""))
    settings.PAYMENT_GATEWAYS = {name: good}
    registry.close_gateways()
    assert f"{name}: on, it answers and knows us" in told()
    settings.PAYMENT_GATEWAYS = {name: {key: "wrong" if value == API_KEY else value for key, value in good.items()}}
    registry.close_gateways()
    assert f"{name}: on, it refuses our credentials" in told(ends_with=1)
    elsewhere = f"http://127.0.0.1:{free_port()}"
    settings.PAYMENT_GATEWAYS = {name: BENCHES[name].settings(elsewhere, "")}
    registry.close_gateways()
    assert f"{name}: on, it cannot be reached" in told(ends_with=1)
    assert sandbox.ledger()["charges"] == []


def test_a_gateway_that_does_not_know_us(settings: Settings, sandbox: SandboxProcess) -> None:
    configure(settings, url=sandbox.url, api_key="of-somebody-else")
    said = told(ends_with=1)
    assert "it refuses our credentials" in said
    assert "events: not taken" in said
    assert "of-somebody-else" not in said


def test_a_gateway_that_is_not_there(settings: Settings) -> None:
    configure(settings, url=f"http://127.0.0.1:{free_port()}", api_key=API_KEY)
    assert "it cannot be reached" in told(ends_with=1)


def test_a_gateway_that_talks_nonsense(settings: Settings, sandbox: SandboxProcess) -> None:
    configure(settings, url=sandbox.url, api_key=API_KEY)
    sandbox.behave("error_before", operation="all")
    assert "its answer makes no sense" in told(ends_with=1)


def test_a_gateway_without_its_settings_is_off(settings: Settings) -> None:
    configure(settings, url="http://127.0.0.1:1")
    assert "sandbox: off; PAYMENT_GATEWAYS['sandbox'] lacks api_key, and card" in told(ends_with=1)
    settings.PAYMENT_METHODS = {}
    assert "sandbox: off; PAYMENT_GATEWAYS['sandbox'] lacks api_key\n" in told()


def test_a_gateway_that_is_off_is_not_opened_without_its_key(settings: Settings) -> None:
    settings.PAYMENT_GATEWAYS = {"stripe": {"url": "http://127.0.0.1:1", "api_key": " "}}
    registry.close_gateways()
    with pytest.raises(KeyError, match="'stripe' is off: PAYMENT_GATEWAYS lacks api_key"):
        registry.gateway("stripe")
