"""One payment at one gateway, asked through its adapter: what the suite's tests have in common."""

from dataclasses import dataclass, field, replace

from payments import clocks
from payments.domain.outcomes import Authorized, Captured, Outcome, Pending
from payments.gateways.protocol import ActRequest, Capabilities, ChargeRequest, Gateway, Question
from tests.contract.bench import Bench
from tests.contract.sandbox_server import SandboxProcess

AMOUNT_MINOR = 1250
PAYMENT = "pay_0198f0c2e4b27c3a9d1e5f60718293a4"
PATIENT_SECONDS = 20.0
# Long enough for a request to arrive, short enough to hang for.
IMPATIENT_SECONDS = 1.0
WINDOW_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Till:
    """The adapter, the gateway's true books, and the requests of one payment."""

    bench: Bench
    gateway: Gateway
    books: SandboxProcess
    opened_at_unix: int = field(default_factory=lambda: int(clocks.wall_seconds()))  # The sandbox reads the same clock.

    @property
    def can(self) -> Capabilities:
        return self.gateway.capabilities

    def request(self, *, token: str | None = None) -> ChargeRequest:
        """What the payment says: with a card, or on the gateway's page where no token is taken."""
        request = ChargeRequest(
            idempotency_key=PAYMENT,
            reference=PAYMENT,
            amount_minor=AMOUNT_MINOR,
            currency=self.bench.currency,
            payment_token=token if token is not None else "tok_ok" if self.can.takes_tokens else "",
            return_url="https://shop.example/payments/return/?payment=1",
        )
        if not self.can.takes_window:
            return request
        return replace(request, window_seconds=WINDOW_SECONDS, expires_at_unix=self.opened_at_unix + WINDOW_SECONDS)

    def begin(self, request: ChargeRequest, *, deadline_seconds: float = PATIENT_SECONDS) -> Outcome:
        """Hold the money, or take it where it cannot be held."""
        begin = self.gateway.authorize if self.can.authorizes else self.gateway.charge
        return begin(request, deadline_seconds=deadline_seconds)

    def charge(self, request: ChargeRequest, *, deadline_seconds: float = PATIENT_SECONDS) -> Outcome:
        return self.gateway.charge(request, deadline_seconds=deadline_seconds)

    def act_request(self, charge: str, *, key: str, amount_minor: int = AMOUNT_MINOR) -> ActRequest:
        return ActRequest(
            idempotency_key=key, charge_reference=charge, amount_minor=amount_minor, currency=self.bench.currency
        )

    def capture(self, charge: str, *, deadline_seconds: float = PATIENT_SECONDS) -> Outcome:
        request = self.act_request(charge, key=f"{PAYMENT}:capture")
        return self.gateway.capture(request, deadline_seconds=deadline_seconds)

    def void(self, charge: str, *, key: str = "cmp_1", deadline_seconds: float = PATIENT_SECONDS) -> Outcome:
        return self.gateway.void(self.act_request(charge, key=key), deadline_seconds=deadline_seconds)

    def refund(
        self,
        charge: str,
        *,
        key: str = "cmp_1",
        amount_minor: int = AMOUNT_MINOR,
        deadline_seconds: float = PATIENT_SECONDS,
    ) -> Outcome:
        request = self.act_request(charge, key=key, amount_minor=amount_minor)
        return self.gateway.refund(request, deadline_seconds=deadline_seconds)

    def look_up(self, *, charge: str = "", request: ChargeRequest | None = None) -> Outcome:
        """Ask what became of the payment; `charge` is what the gateway calls it, where that is known."""
        said = request or self.request()
        question = Question(
            idempotency_key=said.idempotency_key,
            reference=said.reference,
            amount_minor=said.amount_minor,
            currency=said.currency,
            charge_reference=charge,
            opened_at_unix=self.opened_at_unix,
            charge=said,
        )
        return self.gateway.look_up(question, deadline_seconds=PATIENT_SECONDS)

    def taken(self) -> str:
        """Take the money; returns what the gateway calls the charge."""
        outcome = self.charge(self.request())
        if isinstance(outcome, Pending):
            self.customer(outcome.reference, "pay")
            outcome = self.look_up(charge=outcome.reference)
        assert isinstance(outcome, Captured), outcome
        return outcome.reference

    def held(self) -> str:
        """Hold the money; returns what the gateway calls the charge."""
        outcome = self.gateway.authorize(self.request(), deadline_seconds=PATIENT_SECONDS)
        assert isinstance(outcome, Authorized), outcome
        return outcome.reference

    def customer(self, charge: str, action: str) -> None:
        """Decide the one pending payment as its customer would on the gateway's page."""
        del charge  # The sandbox's own id of it is another one in some dialects.
        (row,) = [row for row in self.books.ledger()["charges"] if row["status"] == "pending"]
        self.books.settle(row["id"], action)

    def moved(self) -> list[tuple[str, int]]:
        """The money that moved, as the gateway's books have it: (operation, amount), oldest first."""
        return self.books.operations()
