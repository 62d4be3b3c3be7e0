"""What the sandbox gateway can answer, and each answer's reader, for the tests of what is believed of it."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from payments.domain.failures import FailureCode
from payments.domain.outcomes import (
    Authorized,
    Captured,
    Declined,
    InDoubt,
    Operation,
    Outcome,
    Pending,
    Undoing,
    Undone,
)
from payments.gateways.protocol import ActRequest, ChargeRequest, Question
from payments.gateways.sandbox.answers import read_act, read_cancel, read_creation, read_look_up
from payments.gateways.transport import Answer

C = FailureCode
REQUEST = ChargeRequest(
    idempotency_key="pay_1", reference="pay_1", amount_minor=1250, currency="USD", payment_token="tok_visa"
)
QUESTION = Question(idempotency_key="pay_1", reference="pay_1", amount_minor=1250, currency="USD")
ACT = ActRequest(idempotency_key="act_1", charge_reference="ch_1", amount_minor=1250, currency="USD")
PARTIAL = ActRequest(idempotency_key="act_2", charge_reference="ch_1", amount_minor=300, currency="USD")

CAPTURED: dict[str, object] = {
    "id": "ch_1",
    "reference": "pay_1",
    "status": "captured",
    "amount_minor": 1250,
    "amount_captured_minor": 1250,
    "amount_refunded_minor": 0,
    "currency": "USD",
    "decline_code": None,
    "redirect_url": None,
}
AMOUNTS = ("amount_minor", "amount_captured_minor", "amount_refunded_minor")
REFUNDED = CAPTURED | {"status": "refunded", "amount_refunded_minor": 1250}
UNTAKEN = CAPTURED | {"amount_captured_minor": 0}
AUTHORIZED, VOIDED, EXPIRED = (UNTAKEN | {"status": status} for status in ("authorized", "voided", "expired"))
PENDING = UNTAKEN | {"status": "pending"}
DECLINED = UNTAKEN | {"status": "declined", "decline_code": "expired_card"}

SEEN: list[tuple[dict[str, object], Outcome]] = [
    (CAPTURED, Captured("ch_1")),
    (CAPTURED | {"amount_refunded_minor": 1249}, Captured("ch_1", refunded_minor=1249)),
    (REFUNDED, Undone(Undoing.REFUNDED, "ch_1")),
    (AUTHORIZED, Authorized("ch_1")),
    (PENDING, Pending("ch_1", None)),
    (PENDING | {"redirect_url": "http://x/pay"}, Pending("ch_1", "http://x/pay")),
    (PENDING | {"redirect_url": "https://x/pay"}, Pending("ch_1", "https://x/pay")),
    (DECLINED, Declined(C.EXPIRED_CARD, "expired_card", "ch_1")),
    (VOIDED, Undone(Undoing.VOIDED, "ch_1")),
    (EXPIRED, Undone(Undoing.EXPIRED, "ch_1")),
]
# Charges that are not ours, or that cannot be.
UNBELIEVABLE: list[object] = [
    *(CAPTURED | {"id": wrong} for wrong in (None, 7, "", "ch\x00_1", "ch_\ud800", "c" * 256)),
    *(CAPTURED | {"amount_minor": wrong} for wrong in (1, 1250.0, "1250", None)),
    *(CAPTURED | {"currency": wrong} for wrong in ("EUR", None)),
    *(CAPTURED | {"status": wrong} for wrong in (None, "", "settled", ["captured"])),
    *(CAPTURED | {"amount_captured_minor": wrong} for wrong in (0, 1249, 1251, 1250.0, None)),
    *(CAPTURED | {"amount_refunded_minor": wrong} for wrong in (-1, 1250, 1251, False, None)),
    *(REFUNDED | {"amount_refunded_minor": wrong} for wrong in (0, 1249, 1251)),
    REFUNDED | {"amount_captured_minor": 300, "amount_refunded_minor": 300},
    *(claim | {"amount_captured_minor": 1250} for claim in (AUTHORIZED, PENDING, DECLINED, VOIDED, EXPIRED)),
    *(claim | {"amount_refunded_minor": 1} for claim in (AUTHORIZED, PENDING, DECLINED, VOIDED, EXPIRED)),
    *(PENDING | {"redirect_url": wrong} for wrong in (7, "", "javascript:alert(1)", "https://x/\n", "https://" * 300)),
    {},
    [],
    None,
    "ch_1",
]

Read = Callable[[Answer], Outcome]
CREATION: Read = partial(read_creation, request=REQUEST)
CAPTURE: Read = partial(read_act, operation=Operation.CAPTURE, request=ACT)
VOID: Read = partial(read_act, operation=Operation.VOID, request=ACT)
REFUND: Read = partial(read_act, operation=Operation.REFUND, request=PARTIAL)
LOOK_UP: Read = partial(read_look_up, question=QUESTION)
CANCEL: Read = partial(read_cancel, question=QUESTION)
MOVES = {"creation": CREATION, "capture": CAPTURE, "void": VOID, "refund": REFUND}
ACTS = {"capture": CAPTURE, "void": VOID, "refund": REFUND}
QUESTIONS = {"look_up": LOOK_UP, "cancel": CANCEL}
EVERYTHING = MOVES | QUESTIONS


def say(read: Read, status: int, content: Any) -> Outcome:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read(Answer(status=status, headers={}, body=body))


def error(code: object, **more: object) -> dict[str, object]:
    return {"error": {"code": code, "message": "What a person reads.", **more}}


def assert_doubt(outcome: Outcome, code: FailureCode = C.GATEWAY_ERROR) -> None:
    assert isinstance(outcome, InDoubt), outcome
    assert outcome.code == code
