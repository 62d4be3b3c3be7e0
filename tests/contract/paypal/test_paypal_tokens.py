"""The access token: fetched when there is none, kept while it lives, given up when PayPal refuses it."""

import base64

import pytest

from payments.domain.failures import FailureCode
from payments.domain.outcomes import Authorized, Declined, InDoubt, NeverSent
from tests.contract.paypal.asking import Paying, charge_request, order_of
from tests.contract.recording import Recorder
from tests.contract.sandbox_server import API_KEY, SandboxProcess

C = FailureCode
TOKEN = "/oauth2/token"
UNAUTHORIZED = (401, b'{"error":"invalid_token","error_description":"Token signature verification failed"}')


def fetched(recorder: Recorder) -> int:
    return len(recorder.exchanges) - len(recorder.calls)


def test_a_token_is_asked_for_as_rfc_6749_says(heard: Paying, recorder: Recorder) -> None:
    heard.authorize()
    first = recorder.exchanges[0]
    assert (first.method, first.path, first.body) == ("POST", "/v1/oauth2/token", b"grant_type=client_credentials")
    assert first.headers["content-type"] == "application/x-www-form-urlencoded"
    expected = base64.b64encode(f"sandbox:{API_KEY}".encode()).decode()
    assert first.headers["authorization"] == f"Basic {expected}"


def test_a_token_is_kept_for_many_requests(heard: Paying, recorder: Recorder) -> None:
    order = order_of(heard.authorize())
    heard.capture(order)
    heard.look_up(order)
    assert fetched(recorder) == 1
    assert len({call.headers["authorization"] for call in recorder.calls}) == 1


def test_a_refused_token_is_fetched_anew_and_the_request_made_once_more(
    sandbox: SandboxProcess, heard: Paying, recorder: Recorder
) -> None:
    recorder.instead["/authorize"] = [UNAUTHORIZED]
    assert isinstance(heard.authorize(), Authorized)
    assert fetched(recorder) == 2
    assert sandbox.operations() == [("authorize", 1250)]
    first, second = (call for call in recorder.calls if call.path.endswith("/authorize"))
    assert (first.body, first.headers["paypal-request-id"]) == (second.body, second.headers["paypal-request-id"])
    assert first.headers["authorization"] != second.headers["authorization"]


def test_a_second_refusal_stands(sandbox: SandboxProcess, heard: Paying, recorder: Recorder) -> None:
    recorder.instead["/orders"] = [UNAUTHORIZED] * 2
    assert heard.authorize() == Declined(C.CONFIGURATION, "invalid_token", None)
    assert (fetched(recorder), len(recorder.calls)) == (2, 2)
    assert sandbox.ledger()["charges"] == []


def test_a_refusal_that_is_not_paypals_is_a_doubt_and_not_repeated(heard: Paying, recorder: Recorder) -> None:
    recorder.instead["/authorize"] = [(401, b"<html>Who are you?</html>")]
    seen = heard.authorize()
    assert isinstance(seen, InDoubt)
    assert seen.reference
    assert (fetched(recorder), len(recorder.calls)) == (1, 2)


def test_a_restart_of_the_gateway_costs_one_more_token(sandbox: SandboxProcess, paying: Paying) -> None:
    order = order_of(paying.authorize())
    sandbox.kill()
    sandbox.start()
    assert paying.look_up(order) == Authorized(order)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (503, b""),
        (429, b"{}"),
        (200, b"<html>"),
        (200, b'{"access_token": 7, "expires_in": 32400}'),
        (200, b'{"access_token": "", "expires_in": 32400}'),
        (200, '{"access_token": "\u00e9", "expires_in": 32400}'.encode()),
        (401, b"<html>"),
    ],
)
def test_without_a_token_nothing_was_sent(
    sandbox: SandboxProcess, heard: Paying, recorder: Recorder, status: int, body: bytes
) -> None:
    recorder.instead[TOKEN] = [(status, body)]
    assert isinstance(heard.authorize(), NeverSent)
    assert recorder.calls == []
    assert sandbox.ledger()["charges"] == []


def test_a_token_of_unknown_life_is_used_once(heard: Paying, recorder: Recorder) -> None:
    recorder.instead[TOKEN] = [(200, b'{"access_token": "A21AA", "expires_in": true}')]
    heard.authorize()
    assert fetched(recorder) > 1


def test_a_refusal_without_another_token_was_never_let_in(
    sandbox: SandboxProcess, heard: Paying, recorder: Recorder
) -> None:
    recorder.instead["/authorize"] = [UNAUTHORIZED]
    recorder.instead[TOKEN] = []
    order = order_of(heard.charge(charge_request(key="other")))  # There is a token now.
    recorder.instead[TOKEN] = [(500, b"{}")]
    seen = heard.authorize()
    assert isinstance(seen, NeverSent)
    assert seen.code is C.GATEWAY_UNREACHABLE
    assert sandbox.operations() == [("charge", 1250)]
    recorder.instead[order] = [UNAUTHORIZED]
    recorder.instead[TOKEN] = [(503, b"")]
    assert isinstance(heard.look_up(order), NeverSent)


def test_a_refusal_stands_where_the_credentials_are_refused_too(heard: Paying, recorder: Recorder) -> None:
    order = order_of(heard.authorize())
    recorder.instead[order] = [UNAUTHORIZED]
    recorder.instead[TOKEN] = [(401, b'{"error":"invalid_client"}')]
    seen = heard.look_up(order)
    assert isinstance(seen, InDoubt)
    assert seen.code is C.CONFIGURATION


def test_the_token_counts_into_the_deadline(sandbox: SandboxProcess, paying: Paying) -> None:
    assert isinstance(paying.authorize(seconds=0.0), NeverSent)
    assert sandbox.ledger()["charges"] == []
