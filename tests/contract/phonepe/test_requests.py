"""What the adapter sends, byte for byte, held against what PhonePe's documentation lists for each request."""

import base64
import json
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from payments.domain.failures import FailureCode
from payments.domain.outcomes import Declined, InDoubt, Pending
from payments.gateways.phonepe.adapter import PhonePeGateway
from tests.contract.phonepe.asking import (
    AMOUNT_MINOR,
    ORDER,
    REFUND,
    RETURN_URL,
    Asking,
    act_request,
    charge_request,
)
from tests.contract.phonepe.bench import settings_for
from tests.contract.phonepe.test_answers import CREATED, ISSUED, NOT_LET_IN, PAID, REFUNDED
from tests.contract.phonepe.test_answers import REFUND as REFUND_MADE
from tests.proxy import SpoilingProxy, says

# Of the pages "Generate Authorization Token", "Initiate Payment", "Check Payment Status" and "Initiate Refund and Check
# Refund Status": every field that may be there, and those that have to be.
TOKEN_FIELDS = {"client_id", "client_version", "client_secret", "grant_type"}
PAY_FIELDS = {
    "merchantOrderId", "amount", "expireAfter", "metaInfo", "paymentFlow", "disablePaymentRetry",
    "prefillUserLoginDetails",
}  # fmt: skip
PAY_REQUIRED = {"merchantOrderId", "amount", "paymentFlow"}
FLOW_FIELDS = {"type", "message", "merchantUrls", "paymentModeConfig"}
REFUND_FIELDS = {"merchantRefundId", "originalMerchantOrderId", "amount"}
NO_REFUND = (404, {"code": "X"})


@dataclass
class Sent:
    """One request as it was sent."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes

    @property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.raw)
        return content


def sent(proxy: SpoilingProxy) -> list[Sent]:
    """Read what came, without the requests for tokens."""
    return [one for one in map(_parsed, proxy.requests) if one.path != "/phonepe/v1/oauth/token"]


def _parsed(request: bytes) -> Sent:
    head, _, body = request.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    method, target, _ = line.split(" ")
    parts = urllib.parse.urlsplit(target)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Sent(method, parts.path, dict(urllib.parse.parse_qsl(parts.query)), headers, body)


@pytest.fixture
def proxy() -> Iterator[SpoilingProxy]:
    with SpoilingProxy(upstream_port=9).running() as running:
        yield running


@pytest.fixture
def phonepe(proxy: SpoilingProxy) -> Iterator[Asking]:
    settings = settings_for(proxy.url, client_secret="s&=ü", client_version="7")
    gateway = PhonePeGateway.from_settings(settings, connect_seconds=20)
    yield Asking(gateway)
    gateway.close()


def answers(proxy: SpoilingProxy, *pairs: tuple[int, object]) -> None:
    proxy.faults.extend(says(status, body=json.dumps(body), content_type="application/json") for status, body in pairs)


def test_the_token_is_asked_for_by_a_form(proxy: SpoilingProxy, phonepe: Asking) -> None:
    answers(proxy, (200, ISSUED), (200, CREATED))
    phonepe.charge()
    login = _parsed(proxy.requests[0])
    assert (login.method, login.path, login.query) == ("POST", "/phonepe/v1/oauth/token", {})
    assert login.headers["content-type"] == "application/x-www-form-urlencoded"
    form = urllib.parse.parse_qs(login.raw.decode(), strict_parsing=True)
    assert form.keys() == TOKEN_FIELDS
    assert (form["grant_type"], form["client_secret"]) == (["client_credentials"], ["s&=ü"])
    assert (form["client_id"], form["client_version"]) == (["PAYWINDOW"], ["7"])
    assert "authorization" not in login.headers


def test_an_order_says_what_is_documented_and_always_the_same(proxy: SpoilingProxy, phonepe: Asking) -> None:
    answers(proxy, (200, ISSUED), (200, CREATED), (200, CREATED))
    phonepe.charge()
    phonepe.charge()
    first, second = sent(proxy)
    assert first.raw == second.raw
    assert (first.method, first.path, first.query) == ("POST", "/phonepe/checkout/v2/pay", {})
    assert first.headers["authorization"] == f"O-Bearer {ISSUED['access_token']}"
    assert first.headers["content-type"] == "application/json"
    assert PAY_REQUIRED <= first.content.keys() <= PAY_FIELDS
    assert first.content["paymentFlow"].keys() <= FLOW_FIELDS
    assert first.content == {
        "merchantOrderId": ORDER,
        "amount": AMOUNT_MINOR,
        "expireAfter": 900,
        "paymentFlow": {"type": "PG_CHECKOUT", "merchantUrls": {"redirectUrl": RETURN_URL}},
    }
    assert 300 <= first.content["expireAfter"] <= 3600


def test_an_order_without_a_window_or_a_way_back_leaves_them_out(proxy: SpoilingProxy, phonepe: Asking) -> None:
    answers(proxy, (200, ISSUED), (200, CREATED))
    whole = charge_request()
    bare = type(whole)(whole.idempotency_key, whole.reference, whole.amount_minor, whole.currency, payment_token="")
    phonepe.charge(bare)
    (only,) = sent(proxy)
    assert only.content == {"merchantOrderId": ORDER, "amount": AMOUNT_MINOR, "paymentFlow": {"type": "PG_CHECKOUT"}}


def test_a_look_up_and_a_void_ask_for_the_order_and_nothing_else(proxy: SpoilingProxy, phonepe: Asking) -> None:
    answers(proxy, (200, ISSUED), (200, PAID), (200, PAID))
    phonepe.look_up()
    phonepe.void()
    for one in sent(proxy):
        assert (one.method, one.path) == ("GET", f"/phonepe/checkout/v2/order/{ORDER}/status")
        assert one.query == {"details": "true"}
        assert one.raw == b""


def test_a_refund_is_looked_for_before_it_is_asked_for(proxy: SpoilingProxy, phonepe: Asking) -> None:
    answers(proxy, (200, ISSUED), (200, PAID), NO_REFUND, (200, REFUND_MADE), (200, REFUNDED))
    phonepe.refund()
    order, before, made, after = sent(proxy)
    status_path = f"/phonepe/payments/v2/refund/{REFUND}/status"
    assert [one.path for one in (order, before, after)] == [
        f"/phonepe/checkout/v2/order/{ORDER}/status", status_path, status_path,
    ]  # fmt: skip
    assert (made.method, made.path) == ("POST", "/phonepe/payments/v2/refund")
    assert made.content.keys() == REFUND_FIELDS
    assert made.content == {
        "merchantRefundId": REFUND,
        "originalMerchantOrderId": ORDER,
        "amount": AMOUNT_MINOR,
    }


def test_a_refund_that_exists_is_not_asked_for_again(proxy: SpoilingProxy, phonepe: Asking) -> None:
    answers(proxy, (200, ISSUED), (200, PAID), (200, {**REFUNDED, "state": "PENDING"}))
    assert isinstance(phonepe.refund(), InDoubt)
    assert {one.method for one in sent(proxy)} == {"GET"}


@pytest.mark.parametrize("status", [500, 401, 302, 400, 409, 417])
def test_a_refund_that_may_exist_is_not_asked_for(proxy: SpoilingProxy, phonepe: Asking, status: int) -> None:
    answers(proxy, (200, ISSUED), (200, PAID), (status, {"code": "X"}), (200, ISSUED), (status, {"code": "X"}))
    assert isinstance(phonepe.refund(), InDoubt)
    assert {one.method for one in sent(proxy)} == {"GET"}


@pytest.mark.parametrize("second", [(500, {"code": "X"}), (429, {}), (400, {"code": "X"})])
def test_a_refund_that_was_made_stays_one_however_the_question_after_it_ends(
    proxy: SpoilingProxy, phonepe: Asking, second: tuple[int, object]
) -> None:
    answers(proxy, (200, ISSUED), (200, PAID), NO_REFUND, (200, REFUND_MADE), second)
    assert phonepe.refund() == InDoubt(FailureCode.GATEWAY_ERROR, "the refund is PENDING", ORDER)


def test_ids_that_phonepe_does_not_take_lead_nowhere(proxy: SpoilingProxy, phonepe: Asking) -> None:
    assert isinstance(phonepe.refund(act_request(key="cmp:1")), Declined)
    assert isinstance(phonepe.refund(act_request(key="../pay")), Declined)
    assert proxy.requests == []
    answers(proxy, (200, ISSUED), (400, {"code": "X"}))
    phonepe.void(act_request(reference="../../v1/oauth?x=#"))
    (only,) = sent(proxy)
    assert only.path == "/phonepe/checkout/v2/order/..%2F..%2Fv1%2Foauth%3Fx%3D%23/status"


# Tokens


def test_a_token_is_fetched_once_and_used_for_all(proxy: SpoilingProxy, phonepe: Asking) -> None:
    answers(proxy, (200, ISSUED), *[(200, PAID)] * 3)
    for _ in range(3):
        phonepe.look_up()
    assert len(proxy.requests) == 4


def test_a_token_that_is_not_taken_any_more_is_fetched_anew_and_the_request_sent_again_once(
    proxy: SpoilingProxy, phonepe: Asking
) -> None:
    renewed = {**ISSUED, "access_token": "new"}
    answers(proxy, (200, ISSUED), (401, NOT_LET_IN), (200, renewed), (200, CREATED))
    assert isinstance(phonepe.charge(), Pending)
    first, second = sent(proxy)
    assert first.raw == second.raw
    assert [one.headers["authorization"] for one in (first, second)] == ["O-Bearer eyJ.a.b", "O-Bearer new"]

    answers(proxy, (401, NOT_LET_IN), (200, ISSUED), (401, NOT_LET_IN))
    refused = phonepe.charge()
    assert isinstance(refused, Declined)
    assert (refused.code.value, refused.gateway_code) == ("configuration", "AUTHORIZATION_FAILED")
    assert len(sent(proxy)) == 4


def test_nothing_of_a_secret_is_in_a_header_or_an_address(proxy: SpoilingProxy, phonepe: Asking) -> None:
    answers(proxy, (200, ISSUED), (200, CREATED))
    phonepe.charge()
    basic = base64.b64encode(b"PAYWINDOW:s&=\xc3\xbc")
    for request in proxy.requests:
        head = request.partition(b"\r\n\r\n")[0]
        assert b"s&=" not in head
        assert basic not in head
