"""Whatever shape an answer or an event of Square has: no reader of it raises."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.domain.outcomes import Captured, Declined, InDoubt, Undone
from payments.gateways.square import answers, hearing, pages
from payments.gateways.transport import Answer
from tests.contract.square.asking import PAYMENT_ID, charge_request

LOCATION, TOTAL = "LSANDBOX", {"amount": 1250, "currency": "USD"}
PAGE = pages.Page(order_id="ORDER", link_id="LINK")
ASKED = answers.asked_by(charge_request(), location_id=LOCATION)
ASKED_OF_A_REFUND = {"payment_id": "P", "amount_money": TOTAL}

ERROR = {"category": "PAYMENT_METHOD_ERROR", "code": "GENERIC_DECLINE"}
PAYMENT: dict[str, Any] = {
    "id": "P",
    **ASKED,
    "approved_money": TOTAL,
    "status": "COMPLETED",
    "delayed_until": "2021-10-20T21:14:29.577Z",
    "card_details": {"errors": [ERROR], "card_payment_timeline": {"voided_at": "2021-10-20T21:14:29.577Z"}},
    "refunded_money": {"amount": 250, "currency": "USD"},
    "refund_ids": ["R"],
}
LINK = {"id": "LINK", "order_id": "ORDER", "url": "https://square.link/u/X", "payment_note": PAYMENT_ID}
GOOD: dict[str, Any] = {
    "payment": PAYMENT,
    "refund": {"id": "R", "payment_id": "P", "status": "COMPLETED", "amount_money": TOTAL},
    "payment_link": LINK,
    "related_resources": {"orders": [{"id": "ORDER", "total_money": TOTAL}]},
    "order": {"id": "ORDER", "location_id": LOCATION, "state": "OPEN", "tenders": [{"id": "P"}]},
    "payments": [PAYMENT],
    "cursor": "next",
    "errors": [ERROR],
}
EVENT: dict[str, Any] = {
    "merchant_id": "M",
    "type": "payment.updated",
    "event_id": "E",
    "created_at": "2026-11-22T00:00:00.250Z",
    "data": {"object": {"payment": PAYMENT}},
}

Reader = Callable[[Answer], object]
READERS: dict[str, Reader] = {
    "creation": lambda answer: answers.read_creation(answer, asked=ASKED),
    "act": lambda answer: answers.read_act(answer, asked={"id": "P", "total_money": TOTAL}),
    "payment": lambda answer: answers.read_payment(json.loads(answer.body), asked=ASKED),
    "refund_ids": lambda answer: answers.refund_ids(json.loads(answer.body)),
    "add_refunds": lambda answer: answers.add_refunds(Captured("P"), payment=inside(answer), returned_minor=1),
    "refund": lambda answer: answers.read_refund(answer, asked={"id": "R", "payment_id": "P"}),
    "refund_begun": lambda answer: answers.read_refund_begun(answer, asked=ASKED_OF_A_REFUND, reference="P"),
    "page": lambda answer: answers.read_page(answer, of="payments"),
    "refusal": lambda answer: answers.read_refusal(answer, reference="P"),
    "link": lambda answer: pages.read_link(json.loads(answer.body), payment_note=PAYMENT_ID),
    "link_creation": lambda answer: pages.read_link_creation(answer, request=charge_request("")),
    "order": lambda answer: pages.read_order(answer, page=PAGE, asked={"location_id": LOCATION}),
    "unpaid": lambda answer: pages.read_unpaid(json.loads(answer.body), page=PAGE),
    "tenders": lambda answer: pages.read_tenders([], page=PAGE, state=json.loads(answer.body)),
    "event": lambda answer: hear(answer.body),
}
STRANGE: list[object] = [
    *(None, True, 5, -1, 1.5, 10**30, "", "\ud800", "x" * 300),
    *([], [[]], [5], [None], {}, {"id": []}),
]
STATUSES = [200, 400, 404, 408, 409, 429, 500]

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.sampled_from(["P", "R", ""])
)
shapes = st.recursive(
    scalars,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=6,
)


def inside(answer: Answer) -> dict[str, Any]:
    read = json.loads(answer.body)
    return read if isinstance(read, dict) else {}


def hear(body: bytes) -> object:
    return hearing._read_content(body, merchant_id="", unix_seconds=1)  # The signature says nothing of the shape.


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in an answer where something else may stand."""
    named = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, part in named for place in places(part, (*path, name)))]


def put(value: Any, path: tuple[str | int, ...], strange: object) -> Any:
    """Return `value` with something strange at one place."""
    if not path:
        return strange
    changed: Any = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = put(value[path[0]], path[1:], strange)
    return changed


def answer(content: object, status: int = 200) -> Answer:
    return Answer(status=status, headers={}, body=json.dumps(content).encode())


def read_all(content: object, status: int) -> None:
    for reader in READERS.values():
        reader(answer(content, status))


@given(place=st.sampled_from(places(GOOD)), strange=shapes, status=st.sampled_from(STATUSES), with_errors=st.booleans())
def test_something_strange_in_an_answer_raises_nothing(
    place: tuple[str | int, ...], strange: object, status: int, with_errors: bool
) -> None:
    good = GOOD if with_errors or place[:1] == ("errors",) else {k: v for k, v in GOOD.items() if k != "errors"}
    read_all(put(good, place, strange), status)


@given(strange=shapes, status=st.sampled_from(STATUSES))
def test_an_answer_that_is_strange_as_a_whole_raises_nothing(strange: object, status: int) -> None:
    read_all(strange, status)


@given(place=st.sampled_from(places(PAYMENT)), strange=shapes)
def test_something_strange_in_a_payment_raises_nothing(place: tuple[str | int, ...], strange: object) -> None:
    read_all(put(PAYMENT, place, strange), 200)


@given(place=st.sampled_from(places(EVENT)), strange=shapes)
def test_something_strange_in_an_event_raises_nothing(place: tuple[str | int, ...], strange: object) -> None:
    hear(json.dumps(put(EVENT, place, strange)).encode())


@given(place=st.sampled_from(places(EVENT["data"])), strange=shapes)
def test_something_strange_in_an_event_of_a_refund_raises_nothing(
    place: tuple[str | int, ...], strange: object
) -> None:
    refund = put({"object": {"refund": GOOD["refund"]}}, (), strange) if not place else {"object": {"refund": strange}}
    hear(json.dumps({**EVENT, "data": refund}).encode())


@pytest.mark.parametrize("place", [place for place in places(GOOD) if place])
def test_each_shape_at_each_place_raises_nothing(place: tuple[str | int, ...]) -> None:
    for strange in STRANGE:
        for status in (200, 400):
            read_all(put(GOOD, place, strange), status)


def test_the_good_answer_is_read() -> None:
    """Were it not, nothing behind its first check would have been tried."""
    good = {name: value for name, value in GOOD.items() if name != "errors"}
    assert answers.read_payment(PAYMENT, asked=ASKED) == Captured("P")
    assert READERS["refund"](answer(good)) == TOTAL["amount"]
    assert READERS["refund_begun"](answer(good)) == "R"
    assert READERS["page"](answer(good)) == ([PAYMENT], "next")
    assert READERS["order"](answer(good)) == ["P"]
    assert not isinstance(READERS["link_creation"](answer(good)), InDoubt | Declined | Undone)
