"""Speaks to the sandbox gateway, as the other adapters speak to theirs. What it answers is read in answers.py."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from urllib.parse import quote

from payments.domain.failures import FailureCode
from payments.domain.hashing import canonical_bytes
from payments.domain.outcomes import InDoubt, NeverSent, Operation, Outcome
from payments.gateways.protocol import ActRequest, Capabilities, ChargeRequest, Question
from payments.gateways.sandbox.answers import Act, read_act, read_cancel, read_creation, read_look_up
from payments.gateways.transport import Answer, Broken, Refused, Transport

# The slowest behaviour there is (slow_9999.999) executes after 2.8 hours. A held request whose client has left, and
# ours always leaves at its deadline, is never executed at all.
_HORIZON_SECONDS = 3 * 3600
# docs/sandbox.md: keys are kept for 24 hours (`--key-ttl-seconds`). A repeat has to arrive before that, though it may
# be on its way for the whole horizon; one hour more for two clocks that do not agree.
_KEY_LIFE_SECONDS = 24 * 3600 - _HORIZON_SECONDS - 3600


class SandboxGateway:
    """The sandbox gateway of payments/gateways/sandbox/, over real HTTP."""

    capabilities: Capabilities = Capabilities(
        authorizes=True,
        cancels_keys=True,
        key_life_seconds=_KEY_LIFE_SECONDS,
        horizon_seconds=_HORIZON_SECONDS,
    )

    def __init__(
        self,
        *,
        transport: Transport,
        shortest_window_seconds: int | None = None,
        longest_window_seconds: int | None = None,
    ) -> None:
        self._transport = transport
        # The sandbox takes any window; it can be told to stand in for a gateway that does not.
        self.capabilities = replace(
            type(self).capabilities,
            shortest_window_seconds=shortest_window_seconds,
            longest_window_seconds=longest_window_seconds,
        )

    def authorize(self, request: ChargeRequest, *, deadline_seconds: float) -> Outcome:
        """Hold the money."""
        return self._create(request, capture=False, deadline_seconds=deadline_seconds)

    def charge(self, request: ChargeRequest, *, deadline_seconds: float) -> Outcome:
        """Hold and take the money in one call."""
        return self._create(request, capture=True, deadline_seconds=deadline_seconds)

    def capture(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Take what is held, all of it."""
        body = {"amount_minor": request.amount_minor}
        return self._act(Operation.CAPTURE, request, body=body, deadline_seconds=deadline_seconds)

    def void(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Let go of what is held or pending, all of it."""
        return self._act(Operation.VOID, request, body={}, deadline_seconds=deadline_seconds)

    def refund(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Give `amount_minor` back."""
        body = {"amount_minor": request.amount_minor}
        return self._act(Operation.REFUND, request, body=body, deadline_seconds=deadline_seconds)

    def look_up(self, question: Question, *, deadline_seconds: float) -> Outcome:
        """Ask for every charge under our reference, by whatever key it was made."""
        return self._call(
            "GET",
            f"/v1/charges?reference={quote(question.reference, safe='')}",
            read=partial(read_look_up, question=question),
            deadline_seconds=deadline_seconds,
        )

    def cancel_key(self, question: Question, *, deadline_seconds: float) -> Outcome:
        """Undo the charge that the key made, or bar the key for ever if it made none."""
        return self._call(
            "POST",
            f"/v1/idempotency-keys/{quote(question.idempotency_key, safe='')}/cancel",
            read=partial(read_cancel, question=question),
            deadline_seconds=deadline_seconds,
        )

    def close(self) -> None:
        """Let go of every connection."""
        self._transport.close()

    def _create(self, request: ChargeRequest, *, capture: bool, deadline_seconds: float) -> Outcome:
        body = {
            "reference": request.reference,
            "amount_minor": request.amount_minor,
            "currency": request.currency,
            "payment_token": request.payment_token,
            "capture": capture,
        }
        return self._call(
            "POST",
            "/v1/charges",
            body=body,
            key=request.idempotency_key,
            read=partial(read_creation, request=request),
            deadline_seconds=deadline_seconds,
        )

    def _act(
        self, operation: Act, request: ActRequest, *, body: Mapping[str, object], deadline_seconds: float
    ) -> Outcome:
        return self._call(
            "POST",
            f"/v1/charges/{quote(request.charge_reference, safe='')}/{operation}",
            body=body,
            key=request.idempotency_key,
            read=partial(read_act, operation=operation, request=request),
            deadline_seconds=deadline_seconds,
        )

    def _call(
        self,
        method: str,
        path: str,
        *,
        read: Callable[[Answer], Outcome],
        deadline_seconds: float,
        body: Mapping[str, object] | None = None,
        key: str | None = None,
    ) -> Outcome:
        headers = {} if key is None else {"Content-Type": "application/json", "Idempotency-Key": key}
        result = self._transport.call(
            method,
            path,
            body=b"" if body is None else canonical_bytes(body),
            headers=headers,
            deadline_seconds=deadline_seconds,
        )
        match result:
            case Refused(detail=detail):
                return NeverSent(code=FailureCode.GATEWAY_UNREACHABLE, detail=detail)
            case Broken(detail=detail, by_deadline=by_deadline):
                code = FailureCode.GATEWAY_TIMEOUT if by_deadline else FailureCode.GATEWAY_ERROR
                return InDoubt(code=code, detail=detail)
            case Answer() as answer:
                return read(answer)
