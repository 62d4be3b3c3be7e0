"""Asks PhonePe's face through its adapter, for one order of 12.50 rupees unless told otherwise."""

from dataclasses import dataclass

from payments.domain.outcomes import Outcome, Pending
from payments.gateways.phonepe.adapter import PhonePeGateway
from payments.gateways.protocol import ActRequest, ChargeRequest, Question
from tests.contract.sandbox_server import SandboxProcess

AMOUNT_MINOR = 1250
ORDER = "pay_" + 32 * "1"
REFUND = "cmp_" + 32 * "2"
PATIENT_SECONDS = 20.0
RETURN_URL = "https://shop.example/return/"


def charge_request(
    *, reference: str = ORDER, amount_minor: int = AMOUNT_MINOR, token: str = "", currency: str = "INR"
) -> ChargeRequest:
    return ChargeRequest(
        idempotency_key=reference,
        reference=reference,
        amount_minor=amount_minor,
        currency=currency,
        payment_token=token,
        return_url=RETURN_URL,
        window_seconds=900,
        expires_at_unix=1_800_000_000,
    )


def act_request(*, key: str = REFUND, amount_minor: int = AMOUNT_MINOR, reference: str = ORDER) -> ActRequest:
    return ActRequest(idempotency_key=key, charge_reference=reference, amount_minor=amount_minor, currency="INR")


def question(*, reference: str = ORDER, amount_minor: int = AMOUNT_MINOR) -> Question:
    return Question(idempotency_key=reference, reference=reference, amount_minor=amount_minor, currency="INR")


@dataclass
class Asking:
    """The adapter, and how long it may take."""

    gateway: PhonePeGateway
    deadline_seconds: float = PATIENT_SECONDS

    def charge(self, request: ChargeRequest | None = None) -> Outcome:
        return self.gateway.charge(request or charge_request(), deadline_seconds=self.deadline_seconds)

    def void(self, request: ActRequest | None = None) -> Outcome:
        return self.gateway.void(request or act_request(), deadline_seconds=self.deadline_seconds)

    def refund(self, request: ActRequest | None = None) -> Outcome:
        return self.gateway.refund(request or act_request(), deadline_seconds=self.deadline_seconds)

    def look_up(self, asked: Question | None = None) -> Outcome:
        return self.gateway.look_up(asked or question(), deadline_seconds=self.deadline_seconds)

    def pay(self, sandbox: SandboxProcess, *, amount_minor: int = AMOUNT_MINOR, action: str = "pay") -> None:
        """Make the order and settle it on its page."""
        assert isinstance(self.charge(charge_request(amount_minor=amount_minor)), Pending)
        sandbox.settle(charge_id(sandbox), action)


def charge_id(sandbox: SandboxProcess) -> str:
    """Give the sandbox's own id of the one order."""
    (charge,) = sandbox.ledger()["charges"]
    return str(charge["id"])
