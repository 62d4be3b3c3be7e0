"""Asks the sandbox's PayPal face through our adapter, for one payment of 12.50 USD unless told otherwise."""

from types import TracebackType
from typing import Self

from payments.domain.outcomes import Authorized, Captured, Declined, InDoubt, Outcome, Pending, Undone
from payments.gateways.paypal.adapter import PayPalGateway
from payments.gateways.protocol import ActRequest, ChargeRequest, Question
from payments.gateways.sandbox.clock import read_clock
from tests.contract.paypal.bench import make

AMOUNT_MINOR = 1250
KEY = "pay_0123456789abcdef0123456789abcdef"
REFERENCE = KEY
PATIENT_SECONDS = 20.0


class Paying:
    """The adapter with its connections; leave it to close them."""

    def __init__(self, *, url: str, **settings: str) -> None:
        self.gateway: PayPalGateway = make(url, **settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gateway.close()

    def authorize(self, request: ChargeRequest | None = None, *, seconds: float = PATIENT_SECONDS) -> Outcome:
        return self.gateway.authorize(request or charge_request(), deadline_seconds=seconds)

    def charge(self, request: ChargeRequest | None = None, *, seconds: float = PATIENT_SECONDS) -> Outcome:
        return self.gateway.charge(request or charge_request(), deadline_seconds=seconds)

    def capture(self, order: str, *, key: str = f"{KEY}:capture", amount_minor: int = AMOUNT_MINOR) -> Outcome:
        return self.gateway.capture(act(order, key=key, amount_minor=amount_minor), deadline_seconds=PATIENT_SECONDS)

    def void(self, order: str, *, key: str = f"{KEY}:void") -> Outcome:
        return self.gateway.void(act(order, key=key), deadline_seconds=PATIENT_SECONDS)

    def refund(self, order: str, *, key: str = f"{KEY}:refund", amount_minor: int = AMOUNT_MINOR) -> Outcome:
        return self.gateway.refund(act(order, key=key, amount_minor=amount_minor), deadline_seconds=PATIENT_SECONDS)

    def look_up(self, order: str = "", *, charge: ChargeRequest | None = None, opened_at: int | None = None) -> Outcome:
        asked = question(order, charge=charge or charge_request(), opened_at=opened_at)
        return self.gateway.look_up(asked, deadline_seconds=PATIENT_SECONDS)


def charge_request(
    *, token: str = "tok_ok", amount_minor: int = AMOUNT_MINOR, currency: str = "USD", key: str = KEY
) -> ChargeRequest:
    return ChargeRequest(
        idempotency_key=key,
        reference=REFERENCE,
        amount_minor=amount_minor,
        currency=currency,
        payment_token=token,
        return_url="" if token else "https://shop.example/return",
    )


def act(order: str, *, key: str, amount_minor: int = AMOUNT_MINOR) -> ActRequest:
    return ActRequest(idempotency_key=key, charge_reference=order, amount_minor=amount_minor, currency="USD")


def question(order: str = "", *, charge: ChargeRequest | None, opened_at: int | None = None) -> Question:
    return Question(
        idempotency_key=KEY,
        reference=REFERENCE,
        amount_minor=AMOUNT_MINOR if charge is None else charge.amount_minor,
        currency="USD" if charge is None else charge.currency,
        charge_reference=order,
        opened_at_unix=seconds_ago(0) if opened_at is None else opened_at,
        charge=charge,
    )


def order_of(outcome: Outcome) -> str:
    """Return the order's id, whatever became of it."""
    assert isinstance(outcome, Captured | Authorized | Pending | Declined | Undone | InDoubt), outcome
    assert outcome.reference, outcome
    return outcome.reference


def seconds_ago(seconds: int) -> int:
    """Return a time of day in unix seconds."""
    return int(read_clock().timestamp()) - seconds
