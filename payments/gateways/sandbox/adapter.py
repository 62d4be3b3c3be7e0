"""Speaks to the sandbox gateway, as the other adapters speak to theirs. What it answers is read in answers.py."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Self
from urllib.parse import quote

from payments.domain.hashing import canonical_bytes
from payments.domain.outcomes import Operation, Outcome
from payments.gateways import reading
from payments.gateways.protocol import (
    NOBODYS,
    ActRequest,
    Capabilities,
    ChargeRequest,
    Event,
    NotGenuine,
    Question,
    listed,
)
from payments.gateways.sandbox.answers import Act, read_act, read_cancel, read_creation, read_look_up
from payments.gateways.sandbox.hearing import read_event
from payments.gateways.transport import Answer, Transport

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
        webhook_secrets: Sequence[str] = (),
        shortest_window_seconds: int | None = None,
        longest_window_seconds: int | None = None,
    ) -> None:
        self._transport = transport
        self._webhook_secrets = tuple(webhook_secrets)
        # The sandbox takes any window; it can be told to stand in for a gateway that does not.
        self.capabilities = replace(
            type(self).capabilities,
            shortest_window_seconds=shortest_window_seconds,
            longest_window_seconds=longest_window_seconds,
        )

    @classmethod
    def from_settings(cls, settings: Mapping[str, str], *, connect_seconds: float) -> Self:
        """Make it of its entry in PAYMENT_GATEWAYS."""
        shortest, longest = settings.get("shortest_window_seconds"), settings.get("longest_window_seconds")
        return cls(
            transport=Transport(
                base_url=settings["url"],
                headers={"Authorization": f"Bearer {settings['api_key']}"},
                connect_seconds=connect_seconds,
            ),
            webhook_secrets=listed(settings.get("webhook_secrets", "")),
            shortest_window_seconds=None if shortest is None else int(shortest),
            longest_window_seconds=None if longest is None else int(longest),
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

    def check(self, *, deadline_seconds: float) -> Outcome:
        """Look for a payment that nobody made."""
        return self.look_up(NOBODYS, deadline_seconds=deadline_seconds)

    def read_event(self, *, headers: Mapping[str, str], body: bytes, unix_seconds: int) -> Event | NotGenuine:
        """Verify and read an event."""
        return read_event(headers=headers, body=body, secrets=self._webhook_secrets, unix_seconds=unix_seconds)

    def close(self) -> None:
        """Let go of every connection."""
        self._transport.close()

    def _create(self, request: ChargeRequest, *, capture: bool, deadline_seconds: float) -> Outcome:
        body = {
            "reference": request.reference,
            "amount_minor": request.amount_minor,
            "currency": request.currency,
            "payment_token": "tok_hosted" if request.is_hosted else request.payment_token,
            "capture": capture,
            **({"return_url": request.return_url} if request.return_url else {}),
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
        return reading.read(result, read)
