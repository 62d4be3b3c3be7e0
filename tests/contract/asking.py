"""Asks the sandbox gateway through our adapter, for one payment of 12.50 USD unless told otherwise."""

from types import TracebackType
from typing import Self

from payments.domain.outcomes import Authorized, Captured, Operation, Outcome, Pending
from payments.gateways.protocol import ActRequest, ChargeRequest, Question
from payments.gateways.sandbox.adapter import SandboxGateway
from payments.gateways.transport import Transport
from tests.contract.sandbox_server import API_KEY

AMOUNT_MINOR = 1250
REFERENCE = "pay_1"
PATIENT_SECONDS = 20.0


class Asking:
    """Our adapter with its connections; leave it to close them."""

    def __init__(self, *, url: str, api_key: str = API_KEY) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        transport = Transport(base_url=url, headers=headers, connect_seconds=PATIENT_SECONDS)
        self.gateway = SandboxGateway(transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gateway.close()

    def authorize(
        self, *, key: str = "k", token: str = "tok_ok", reference: str = REFERENCE, amount_minor: int = AMOUNT_MINOR
    ) -> Outcome:
        request = charge_request(key=key, token=token, reference=reference, amount_minor=amount_minor)
        return self.gateway.authorize(request, deadline_seconds=PATIENT_SECONDS)

    def charge(
        self, *, key: str = "k", token: str = "tok_ok", reference: str = REFERENCE, amount_minor: int = AMOUNT_MINOR
    ) -> Outcome:
        request = charge_request(key=key, token=token, reference=reference, amount_minor=amount_minor)
        return self.gateway.charge(request, deadline_seconds=PATIENT_SECONDS)

    def capture(self, charge: str, *, key: str = "act", amount_minor: int = AMOUNT_MINOR) -> Outcome:
        request = act_request(charge, key=key, amount_minor=amount_minor)
        return self.gateway.capture(request, deadline_seconds=PATIENT_SECONDS)

    def void(self, charge: str, *, key: str = "act", amount_minor: int = AMOUNT_MINOR) -> Outcome:
        request = act_request(charge, key=key, amount_minor=amount_minor)
        return self.gateway.void(request, deadline_seconds=PATIENT_SECONDS)

    def refund(self, charge: str, *, key: str = "act", amount_minor: int = AMOUNT_MINOR) -> Outcome:
        request = act_request(charge, key=key, amount_minor=amount_minor)
        return self.gateway.refund(request, deadline_seconds=PATIENT_SECONDS)

    def look_up(self, *, reference: str = REFERENCE, amount_minor: int = AMOUNT_MINOR) -> Outcome:
        asked = question(reference=reference, amount_minor=amount_minor)
        return self.gateway.look_up(asked, deadline_seconds=PATIENT_SECONDS)

    def cancel_key(self, *, key: str = "k", reference: str = REFERENCE) -> Outcome:
        return self.gateway.cancel_key(question(key=key, reference=reference), deadline_seconds=PATIENT_SECONDS)

    def ask(self, operation: Operation, charge: str, *, deadline_seconds: float = PATIENT_SECONDS) -> Outcome:
        """Do `operation` for the one payment; `charge` is the gateway's id of it, where there is one."""
        match operation:
            case Operation.AUTHORIZE:
                return self.gateway.authorize(charge_request(), deadline_seconds=deadline_seconds)
            case Operation.CHARGE:
                return self.gateway.charge(charge_request(), deadline_seconds=deadline_seconds)
            case Operation.CAPTURE:
                return self.gateway.capture(act_request(charge), deadline_seconds=deadline_seconds)
            case Operation.VOID:
                return self.gateway.void(act_request(charge), deadline_seconds=deadline_seconds)
            case Operation.REFUND:
                return self.gateway.refund(act_request(charge), deadline_seconds=deadline_seconds)
            case Operation.LOOK_UP:
                return self.gateway.look_up(question(), deadline_seconds=deadline_seconds)
            case Operation.CANCEL_KEY:
                return self.gateway.cancel_key(question(), deadline_seconds=deadline_seconds)

    def prepare(self, operation: Operation) -> str:
        """Make the charge that `operation` needs, with the key `k`; return its id, empty if it needs none."""
        match operation:
            case Operation.AUTHORIZE | Operation.CHARGE:
                return ""
            case Operation.CAPTURE | Operation.VOID:
                return reference_of(self.authorize())
            case Operation.REFUND | Operation.LOOK_UP | Operation.CANCEL_KEY:
                return reference_of(self.charge())


def charge_request(
    *, key: str = "k", token: str = "tok_ok", reference: str = REFERENCE, amount_minor: int = AMOUNT_MINOR
) -> ChargeRequest:
    return ChargeRequest(
        idempotency_key=key, reference=reference, amount_minor=amount_minor, currency="USD", payment_token=token
    )


def act_request(charge: str, *, key: str = "act", amount_minor: int = AMOUNT_MINOR) -> ActRequest:
    return ActRequest(idempotency_key=key, charge_reference=charge, amount_minor=amount_minor, currency="USD")


def question(*, key: str = "k", reference: str = REFERENCE, amount_minor: int = AMOUNT_MINOR) -> Question:
    return Question(idempotency_key=key, reference=reference, amount_minor=amount_minor, currency="USD")


def reference_of(outcome: Outcome) -> str:
    """Return the gateway's id of a charge that stands."""
    assert isinstance(outcome, Captured | Authorized | Pending), outcome
    return outcome.reference
