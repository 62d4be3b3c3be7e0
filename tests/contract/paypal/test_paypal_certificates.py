"""What an event costs that nobody of PayPal's has sent, and what a genuine one costs."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from payments.gateways.paypal import certificates
from payments.gateways.protocol import Event, NotGenuine
from tests.contract.paypal.asking import Paying, seconds_ago
from tests.contract.recording import Recorder
from tests.contract.sandbox_server import WEBHOOK_SECRET, SandboxProcess, wait_until
from tests.receiver import Receiver, Request, listening

OTHER_IDS = ("5GP028458E2496506", "6GP028458E2496506")
NOT_NOW = NotGenuine("it could not be verified now")


@pytest.fixture
def receiver(sandbox: SandboxProcess) -> Iterator[Receiver]:
    with listening() as started:
        sandbox.settings(webhook={"url": started.url, "secrets": [WEBHOOK_SECRET]})
        yield started
        sandbox.reset()


@pytest.fixture
def recorder(sandbox: SandboxProcess) -> Iterator[Recorder]:
    with Recorder(upstream=sandbox.url, prefix="/paypal") as started:
        yield started


@pytest.fixture
def event(sandbox: SandboxProcess, paying: Paying, receiver: Receiver, recorder: Recorder) -> Request:
    """A genuine one, whose certificate is got through the recorder."""
    paying.authorize()
    wait_until(lambda: len(receiver.requests) == 1, what="an event")
    (sent,) = receiver.requests
    address = sent.headers["paypal-cert-url"].replace(sandbox.url, recorder.url)
    return replace(sent, headers=sent.headers | {"paypal-cert-url": address})


def listener(recorder: Recorder, *webhook_ids: str, verification: str = "certificate") -> Paying:
    secrets = ",".join(webhook_ids or (WEBHOOK_SECRET,))
    return Paying(url=recorder.url, webhook_secrets=secrets, webhook_verification=verification)


def hear(paying: Paying, request: Request, *, path: str = "", signature: str = "") -> Event | NotGenuine:
    headers = dict(request.headers)
    if path:
        headers["paypal-cert-url"] = headers["paypal-cert-url"].rpartition("/")[0] + f"/{path}"
    if signature:
        headers["paypal-transmission-sig"] = signature
    return paying.gateway.read_event(headers=headers, body=request.body, unix_seconds=seconds_ago(0))


def asked(recorder: Recorder) -> list[str]:
    return [path.rpartition("/")[2] for path in recorder.paths if "/notifications/" in path]


def test_one_certificate_serves_all_of_our_webhooks(recorder: Recorder, event: Request) -> None:
    with listener(recorder, *OTHER_IDS) as paying:
        assert isinstance(hear(paying, event), NotGenuine)
    with listener(recorder, *OTHER_IDS, WEBHOOK_SECRET) as paying:
        assert isinstance(hear(paying, event), Event)
    assert len(asked(recorder)) == 2  # One for each of the two adapters.


def test_a_path_without_a_certificate_is_not_tried_again_at_once(
    recorder: Recorder, event: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listener(recorder, *OTHER_IDS, WEBHOOK_SECRET) as paying:
        assert [hear(paying, event, path="CERT-0") for _ in range(3)] == [NOT_NOW] * 3
        assert asked(recorder) == ["CERT-0"]
        assert isinstance(hear(paying, event), Event)
        now = time.monotonic()
        monkeypatch.setattr("time.monotonic", lambda: now + 61)
        assert [hear(paying, event, path="CERT-0") for _ in range(3)] == [NOT_NOW] * 3
        assert asked(recorder).count("CERT-0") == 2


def test_made_up_paths_cost_a_bounded_number_of_requests(
    recorder: Recorder, event: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "_MOST_FAILED", 3)
    with listener(recorder) as paying:
        assert isinstance(hear(paying, event), Event)
        before = len(asked(recorder))
        assert {hear(paying, event, path=f"X-{number}") for number in range(9)} == {NOT_NOW}
        assert len(asked(recorder)) - before == 3
        assert isinstance(hear(paying, event), Event)  # One that is kept is as good as before.


def test_paypal_is_asked_until_one_of_our_webhooks_fits(
    sandbox: SandboxProcess, recorder: Recorder, receiver: Receiver, event: Request
) -> None:
    (as_sent,) = receiver.requests
    assert event != as_sent
    ids = ",".join((OTHER_IDS[0], WEBHOOK_SECRET, OTHER_IDS[1]))
    settings = {"webhook_verification": "api", "certificate_url": f"{sandbox.url}/paypal"}
    with Paying(url=recorder.url, webhook_secrets=ids, **settings) as paying:
        assert isinstance(hear(paying, as_sent), Event)
    assert len(asked(recorder)) == 2


def test_paypal_is_not_asked_about_what_has_not_its_form(recorder: Recorder, event: Request) -> None:
    with listener(recorder, verification="api") as paying:
        assert isinstance(hear(paying, event, signature="not base64"), NotGenuine)
        assert isinstance(hear(paying, event, path="../x"), NotGenuine)
        strange = event.headers | {"paypal-cert-url": "https://evil.example/v1/notifications/certs/CERT-1"}
        assert isinstance(hear(paying, replace(event, headers=strange)), NotGenuine)
    assert asked(recorder) == []
