"""The life of one request, whatever the dialect: arrive, wait, execute, wait, be answered. Or go wrong.

arrive --- written to the ledger, before anything else
  key ---- replayed, in use, mismatched, cancelled: answered here
  before - hang_before, reset_before, error_before, unavailable, rate_limited
  execute  the ledger commits after a share of the latency
  after -- hang_after, reset_after, error_after, slow_drip, garbage; else the answer
"""

import asyncio
import dataclasses
import logging
import random
import time
from collections.abc import Callable, Mapping

from aiohttp import web

from payments.gateways.sandbox import delivery
from payments.gateways.sandbox.behaviours import (
    CREATES,
    OK,
    Behaviour,
    Kind,
    Operation,
    Switches,
    behaviour_of_payment,
)
from payments.gateways.sandbox.clock import read_clock, stamp
from payments.gateways.sandbox.engine import EmptiedError, Engine, Ticket
from payments.gateways.sandbox.records import Act, Answer, Create, Outcome, Refused, Settlement
from payments.gateways.sandbox.settings import Settings

log = logging.getLogger("sandbox")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wordings:
    """How a face says the things that are not an outcome of the engine."""

    outcome: Callable[[Outcome], Answer]
    error: Callable[[int, str, str], Answer]  # status, code, message


@dataclasses.dataclass(slots=True, kw_only=True)
class Call:
    """One request on its way through. `read` is set for what needs no key: a lookup or a cancel."""

    operation: Operation
    wordings: Wordings
    dialect: str
    key: str | None = None
    fingerprint: str = ""
    reference: str | None = None
    charge_id: str | None = None
    body_hash: str | None = None
    command: Create | Act | None = None
    read: Callable[[], Answer] | None = None
    request_id: int = 0
    started_seconds: float = 0.0
    behaviour: Behaviour | None = None


class Gauge:
    """How many requests are on their way, and the most there ever were."""

    def __init__(self) -> None:
        self.count = 0
        self.peak = 0

    def up(self) -> None:
        """Count one more."""
        self.count += 1
        self.peak = max(self.peak, self.count)

    def down(self) -> None:
        """Count one less."""
        self.count -= 1


class Flow:
    """Takes calls through their life. One per process; faces share it."""

    def __init__(self, *, engine: Engine, settings: Settings, seed: int | None) -> None:
        self.engine = engine
        self.settings = settings
        self.switches = Switches(rng=random.Random(seed))  # noqa: S311  # faults, not secrets
        self.holds = delivery.Holds()
        self.gauge = Gauge()
        self._latency_rng = random.Random(seed)  # noqa: S311  # latencies, not secrets
        self._running: set[asyncio.Task[Answer | Refused]] = set()

    # Arrival and end: every request leaves both marks, even one that is refused at the door.

    def arrive(self, call: Call) -> None:
        """Write the request down before anything is done about it."""
        call.started_seconds = time.monotonic()
        call.request_id = self.engine.ledger.log_arrival(
            operation=call.operation,
            charge_id=call.charge_id,
            reference=call.reference,
            key=call.key,
            body_hash=call.body_hash,
            now=stamp(read_clock()),
        )

    def end(self, call: Call, *, ended: str, status: int | None = None) -> None:
        """Write down how it ended, and log one line."""
        behaviour = None if call.behaviour is None else call.behaviour.name
        self.engine.ledger.log_end(call.request_id, status=status, ended=ended, behaviour=behaviour)
        log.info(
            "request",
            extra={
                "fields": {
                    "dialect": call.dialect,
                    "operation": call.operation,
                    "key": call.key,
                    "reference": call.reference,
                    "charge_id": call.charge_id,
                    "outcome": ended,
                    "status": status,
                    "behaviour": behaviour,
                    "seconds": round(time.monotonic() - call.started_seconds, 4),
                }
            },
        )

    def answer(
        self, call: Call, answer: Answer, *, ended: str = "answered", headers: Mapping[str, str] | None = None
    ) -> web.Response:
        """Answer and note it."""
        self.end(call, ended=ended, status=answer.status)
        return delivery.respond(answer, headers=headers)

    def refuse(self, call: Call, refused: Refused) -> web.Response:
        """Answer with what the engine refused."""
        return self.answer(call, call.wordings.outcome(refused), ended="refused")

    def empty(self) -> None:
        """Throw the books away and begin anew: switches off, held requests dropped, marks forgotten."""
        self.engine.empty()
        self.switches.clear()
        self.gauge.peak = self.gauge.count
        self.holds.release()  # Of an earlier epoch now: they execute nothing and end as a reset.

    # The life between.

    async def run(self, request: web.Request, call: Call) -> web.StreamResponse:
        """Take a call that has arrived and is well formed to its end."""
        if call.key is None or call.command is None:
            if call.read is None:
                raise ValueError("a call has either a key and a command, or something to read")
            return await self._run_unkeyed(request, call, call.read)
        if self.engine.is_running(call.key):
            # A client that hung up and retries at once must not meet its own abandoned request.
            self.holds.look()
            for _ in range(3):  # One turn wakes the abandoned request, which then ends without pausing.
                await asyncio.sleep(0)
        opening = self.engine.open(key=call.key, fingerprint=call.fingerprint)
        if isinstance(opening, Refused):
            return self.refuse(call, opening)
        if isinstance(opening, Answer):
            return await self._replay(request, call, opening)
        ticket = Ticket(
            key=call.key,
            fingerprint=call.fingerprint,
            request_id=call.request_id,
            epoch=self.engine.epoch,
        )
        call.behaviour = self._choose(call)
        try:
            return await self._run_keyed(request, call, call.command, call.behaviour, ticket)
        except EmptiedError:
            self.end(call, ended="emptied")
            return delivery.reset(request)
        finally:
            self.engine.close(key=ticket.key, epoch=ticket.epoch)

    async def _run_keyed(
        self, request: web.Request, call: Call, command: Create | Act, behaviour: Behaviour, ticket: Ticket
    ) -> web.StreamResponse:
        latency_seconds = behaviour.seconds
        if latency_seconds is None:
            latency_seconds = self.settings.profile.sample_seconds(self._latency_rng)
        before_seconds = latency_seconds * self.settings.execute_at_fraction
        if behaviour.kind is Kind.BEFORE:
            early = await self._strike_before(request, call, behaviour, wait_seconds=before_seconds, ticket=ticket)
            if early is not None:
                return early
        answer = await self._execute_shielded(call, command, behaviour, ticket, wait_seconds=before_seconds)
        if isinstance(answer, Refused):
            return self.refuse(call, answer)
        if latency_seconds > before_seconds:
            await asyncio.sleep(latency_seconds - before_seconds)
        return await self._deliver(request, call, answer, behaviour)

    async def _execute_shielded(
        self, call: Call, command: Create | Act, behaviour: Behaviour, ticket: Ticket, *, wait_seconds: float
    ) -> Answer | Refused:
        if wait_seconds <= 0:
            return self._execute(call, command, behaviour, ticket)  # No await: nothing can come in between.

        async def wait_and_execute() -> Answer | Refused:
            await asyncio.sleep(wait_seconds)
            return self._execute(call, command, behaviour, ticket)

        # A task of its own: whatever becomes of the connection's handler, an accepted request is executed.
        task = asyncio.create_task(wait_and_execute())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    def _execute(self, call: Call, command: Create | Act, behaviour: Behaviour, ticket: Ticket) -> Answer | Refused:
        instead = _server_error(call) if behaviour.name == "error_after" else None
        fitted = self._fitted(command, behaviour)
        return self.engine.execute(fitted, ticket=ticket, word=call.wordings.outcome, instead=instead)

    def _fitted(self, command: Create | Act, behaviour: Behaviour) -> Create | Act:
        """Tell the engine what the issuer will do, if the behaviour says so."""
        if behaviour.kind is Kind.DECLINE:
            return dataclasses.replace(command, decline_code=behaviour.decline_code)
        if behaviour.kind is not Kind.PENDING or (isinstance(command, Act) and command.operation not in CREATES):
            return command
        if isinstance(command, Create):
            command = dataclasses.replace(command, hosted=behaviour.name == "hosted")
        elif behaviour.name == "hosted":  # An order has its page already; the customer has to go there.
            return dataclasses.replace(command, decline_code="authentication_required")
        delayed = behaviour.name.startswith("pending_then_")
        return dataclasses.replace(
            command,
            pending=True,
            settles_in_seconds=self.settings.settle_delay_seconds if delayed else None,
            settles_as=_SETTLEMENTS.get(behaviour.name),
        )

    def _choose(self, call: Call) -> Behaviour:
        switched = self.switches.choose(call.operation)
        if switched is not None:
            return switched
        match call.command:
            case Create(payment_token=token, amount_minor=amount_minor) if token:
                return behaviour_of_payment(token=token, amount_minor=amount_minor)
            case Act(payment_token=str(token), charge_id=charge_id):
                order = self.engine.ledger.charge(charge_id)
                return OK if order is None else behaviour_of_payment(token=token, amount_minor=order.amount_minor)
            case _:
                return OK

    async def _replay(self, request: web.Request, call: Call, saved: Answer) -> web.StreamResponse:
        behaviour = self.switches.choose(call.operation, replaying=True)
        call.behaviour = behaviour
        if behaviour is not None:
            early = await self._strike_before(request, call, behaviour, wait_seconds=0.0, ticket=None)
            if early is not None:
                return early
        return self.answer(call, saved, ended="replayed", headers={"Idempotent-Replayed": "true"})

    async def _run_unkeyed(self, request: web.Request, call: Call, read: Callable[[], Answer]) -> web.StreamResponse:
        behaviour = self.switches.choose(call.operation) or OK
        call.behaviour = behaviour
        if behaviour.seconds:
            await asyncio.sleep(behaviour.seconds)
        if behaviour.kind is Kind.BEFORE:
            early = await self._strike_before(request, call, behaviour, wait_seconds=0.0, ticket=None)
            if early is not None:
                return early
        answer = read()
        if behaviour.name == "error_after":
            answer = _server_error(call)
        return await self._deliver(request, call, answer, behaviour)

    async def _strike_before(
        self,
        request: web.Request,
        call: Call,
        behaviour: Behaviour,
        *,
        wait_seconds: float,
        ticket: Ticket | None,
    ) -> web.StreamResponse | None:
        """Fail without executing. None means: it was held, then released, and goes on as a normal request."""
        error = call.wordings.error
        match behaviour.name:
            case "unavailable":
                return self.answer(call, error(503, "unavailable", "The gateway is not available."))
            case "rate_limited":
                limited = error(429, "rate_limited", "Too many requests.")
                return self.answer(call, limited, headers={"Retry-After": "1"})
            case "hang_before":
                if await self.holds.hold(request):
                    return None
                self.end(call, ended="client_left")
                return delivery.reset(request)
            case _:
                pass  # The other two look like work at first.
        if wait_seconds > 0:
            await asyncio.sleep(wait_seconds)
        if behaviour.name == "reset_before":
            self.end(call, ended="reset")
            return delivery.reset(request)
        failed: Answer | Refused = _server_error(call)
        if ticket is not None and isinstance(failed, Answer):
            failed = self.engine.save_unexecuted(failed, ticket=ticket)
        return self.refuse(call, failed) if isinstance(failed, Refused) else self.answer(call, failed)

    async def _deliver(
        self, request: web.Request, call: Call, answer: Answer, behaviour: Behaviour
    ) -> web.StreamResponse:
        match behaviour.name:
            case "reset_after":
                self.end(call, ended="reset")
                return delivery.reset(request)
            case "garbage":
                self.end(call, ended="garbage", status=200)
                return delivery.respond_garbage()
            case "hang_after":
                if not await self.holds.hold(request):
                    self.end(call, ended="client_left")
                    return delivery.reset(request)
            case "slow_drip":
                response, whole = await delivery.drip(
                    request, answer, holds=self.holds, interval_seconds=self.settings.drip_interval_seconds
                )
                self.end(call, ended="answered" if whole else "client_left", status=answer.status)
                return response
            case _:
                pass
        return self.answer(call, answer, ended="client_left" if delivery.has_left(request) else "answered")


_SETTLEMENTS = {"pending_then_captured": Settlement.PAY, "pending_then_declined": Settlement.DECLINE}


def _server_error(call: Call) -> Answer:
    return call.wordings.error(500, "internal_error", "Something went wrong on our side.")
