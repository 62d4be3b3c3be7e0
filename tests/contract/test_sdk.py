"""An SDK words requests; connection, deadline and answer are ours, and it sends one request at most."""

from collections.abc import Iterator

import httpx
import pytest

from payments.gateways.sdk import HttpxTransport, SdkTransport
from payments.gateways.transport import Answer, Broken, Refused, Transport
from tests.contract.sandbox_server import free_port
from tests.receiver import Receiver, hang_up, status

DEADLINE_SECONDS = 5.0


class Sdk:
    """What an official SDK is for this: a client on our transport, with opinions about what comes back."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ours = SdkTransport(Transport(base_url=url, headers={}, connect_seconds=1))
        self.client = httpx.Client(transport=HttpxTransport(self.ours))

    def post(self) -> object:
        return self.client.post(self.url, json={"amount": 1250}, headers={"Idempotency-Key": "k"}).raise_for_status()

    def close(self) -> None:
        self.client.close()
        self.ours.close()


@pytest.fixture
def sdk(receiver: Receiver) -> Iterator[Sdk]:
    opened = Sdk(receiver.url)
    yield opened
    opened.close()


def test_the_request_goes_out_as_the_sdk_worded_it(sdk: Sdk, receiver: Receiver) -> None:
    answer = sdk.ours.ask(sdk.post, deadline_seconds=DEADLINE_SECONDS)
    assert isinstance(answer, Answer)
    assert answer.status == 200
    (request,) = receiver.requests
    assert request.payload == {"amount": 1250}
    assert request.headers["idempotency-key"] == "k"
    assert "accept-encoding" not in request.headers  # What comes back is read from its bytes.


def test_what_the_sdk_makes_of_an_answer_changes_nothing(sdk: Sdk, receiver: Receiver) -> None:
    receiver.answer = status(402)
    answer = sdk.ours.ask(sdk.post, deadline_seconds=DEADLINE_SECONDS)
    assert isinstance(answer, Answer)
    assert answer.status == 402


def test_no_answer_is_told_as_it_is(sdk: Sdk, receiver: Receiver) -> None:
    receiver.answer = hang_up
    assert isinstance(sdk.ours.ask(sdk.post, deadline_seconds=DEADLINE_SECONDS), Broken)
    receiver.answer = receiver.hang
    late = sdk.ours.ask(sdk.post, deadline_seconds=0.5)
    assert isinstance(late, Broken)
    assert late.by_deadline


def test_nobody_listening_and_no_time_left_are_never_sent(sdk: Sdk, receiver: Receiver) -> None:
    assert isinstance(sdk.ours.ask(sdk.post, deadline_seconds=0.0), Refused)
    assert receiver.requests == []
    nobody = Sdk(f"http://127.0.0.1:{free_port()}/")
    assert isinstance(nobody.ours.ask(nobody.post, deadline_seconds=DEADLINE_SECONDS), Refused)
    nobody.close()


def test_a_second_request_is_not_sent_and_nothing_is_believed_then(sdk: Sdk, receiver: Receiver) -> None:
    def retry() -> None:
        sdk.post()
        sdk.post()

    assert isinstance(sdk.ours.ask(retry, deadline_seconds=DEADLINE_SECONDS), Broken)
    assert len(receiver.requests) == 1


def test_an_sdk_that_asks_nothing_is_a_bug(sdk: Sdk) -> None:
    with pytest.raises(RuntimeError, match="made no request"):
        sdk.ours.ask(lambda: None, deadline_seconds=DEADLINE_SECONDS)
    with pytest.raises(ZeroDivisionError):
        sdk.ours.ask(lambda: 1 / 0, deadline_seconds=DEADLINE_SECONDS)
