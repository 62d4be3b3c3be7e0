"""Asks for one payment of 12.50 USD, with what a test says differently."""

from typing import Any

from payments.domain.outcomes import Authorized, Captured, Outcome, Pending
from payments.gateways.protocol import ActRequest, ChargeRequest, Question
from payments.gateways.sandbox.clock import read_clock

AMOUNT_MINOR = 1250
PAYMENT = "pay_" + "0123456789abcdef" * 2
KEY = PAYMENT
RETURN_URL = "https://shop.example/back?order=7"
PATIENT_SECONDS = 20.0


def charging(**more: Any) -> ChargeRequest:
    said: dict[str, Any] = {
        "idempotency_key": KEY,
        "reference": PAYMENT,
        "amount_minor": AMOUNT_MINOR,
        "currency": "USD",
        "payment_token": "tok_ok",
    }
    return ChargeRequest(**{**said, **more})


def hosted(*, expires_at_unix: int, **more: Any) -> ChargeRequest:
    said = {"payment_token": "", "return_url": RETURN_URL, "window_seconds": 900, "expires_at_unix": expires_at_unix}
    return charging(**{**said, **more})


def acting(charge: str, **more: Any) -> ActRequest:
    said: dict[str, Any] = {
        "idempotency_key": f"{KEY}:act",
        "charge_reference": charge,
        "amount_minor": AMOUNT_MINOR,
        "currency": "USD",
    }
    return ActRequest(**{**said, **more})


def asking(**more: Any) -> Question:
    said: dict[str, Any] = {
        "idempotency_key": KEY,
        "reference": PAYMENT,
        "amount_minor": AMOUNT_MINOR,
        "currency": "USD",
    }
    return Question(**{**said, **more})


def id_of(outcome: Outcome) -> str:
    """Return the gateway's id of a charge that stands."""
    assert isinstance(outcome, Captured | Authorized | Pending), outcome
    return outcome.reference


def in_a_while() -> int:
    """Return when a window of 15 minutes ends that begins now, by the gateway's clock."""
    return int(read_clock().timestamp()) + 900


def ledger_id(charge: str) -> str:
    """Return the sandbox's own id of what its Stripe face calls `charge`."""
    return "ch_" + charge.rpartition("_")[2]
