"""Asks Square's face through our adapter, for one payment of 12.50 USD unless told otherwise."""

import time

from payments.domain.outcomes import Outcome
from payments.gateways.protocol import ActRequest, ChargeRequest, Question
from payments.gateways.square.adapter import SquareGateway

PAYMENT_ID = "pay_0123456789abcdef0123456789abcdef"
AMOUNT_MINOR = 1250
PATIENT_SECONDS = 20.0


class Asking:
    """The adapter, with what one payment says."""

    def __init__(self, gateway: SquareGateway) -> None:
        self.gateway = gateway
        self.opened_at_unix = time.time_ns() // 1_000_000_000

    def authorize(self, token: str = "tok_ok", *, deadline_seconds: float = PATIENT_SECONDS) -> Outcome:
        return self.gateway.authorize(charge_request(token), deadline_seconds=deadline_seconds)

    def charge(self, token: str = "tok_ok", *, deadline_seconds: float = PATIENT_SECONDS) -> Outcome:
        return self.gateway.charge(charge_request(token), deadline_seconds=deadline_seconds)

    def capture(self, charge: str) -> Outcome:
        return self.gateway.capture(act_request(charge, key=f"{PAYMENT_ID}:capture"), deadline_seconds=PATIENT_SECONDS)

    def void(self, charge: str, *, deadline_seconds: float = PATIENT_SECONDS) -> Outcome:
        return self.gateway.void(act_request(charge), deadline_seconds=deadline_seconds)

    def refund(self, charge: str, *, key: str = "cmp_1", amount_minor: int = AMOUNT_MINOR) -> Outcome:
        request = act_request(charge, key=key, amount_minor=amount_minor)
        return self.gateway.refund(request, deadline_seconds=PATIENT_SECONDS)

    def look_up(self, charge: str = "", *, token: str = "tok_ok") -> Outcome:
        asked = self.question(charge, token=token)
        return self.gateway.look_up(asked, deadline_seconds=PATIENT_SECONDS)

    def question(self, charge: str = "", *, token: str = "tok_ok") -> Question:
        return Question(
            idempotency_key=PAYMENT_ID,
            reference=PAYMENT_ID,
            amount_minor=AMOUNT_MINOR,
            currency="USD",
            charge_reference=charge,
            opened_at_unix=self.opened_at_unix,
            charge=charge_request(token),
        )


def charge_request(
    token: str = "tok_ok",
    *,
    key: str = PAYMENT_ID,
    reference: str = PAYMENT_ID,
    amount_minor: int = AMOUNT_MINOR,
    currency: str = "USD",
    window_seconds: int = 900,
) -> ChargeRequest:
    return ChargeRequest(
        idempotency_key=key,
        reference=reference,
        amount_minor=amount_minor,
        currency=currency,
        payment_token=token,
        return_url="" if token else "https://shop.example/back",
        window_seconds=window_seconds,
        expires_at_unix=1_800_000_000,
    )


def act_request(charge: str, *, key: str = "cmp_1", amount_minor: int = AMOUNT_MINOR) -> ActRequest:
    return ActRequest(idempotency_key=key, charge_reference=charge, amount_minor=amount_minor, currency="USD")
