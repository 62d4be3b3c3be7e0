"""One call to a gateway: written down before it is made, made without holding anything, its ending a value.

Every act that asks a gateway (charge, resolve, compensate) begins its calls in a transaction with `begin_call` and
makes them afterwards with `make_call`. What is not in the table was never sent.
"""

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from django.db.models import QuerySet

from payments import clockevents, clocks, config
from payments.domain.clock import Detection, Reading
from payments.domain.failures import FailureCode
from payments.domain.outcomes import NeverSent, Operation, Outcome
from payments.failpoints import reach
from payments.gateways import registry
from payments.gateways.protocol import ActRequest, ChargeRequest, Gateway, GatewayRequest, Question
from payments.models import Compensation, GatewayCall, PaymentAttempt
from payments.transactions import release_connection, require_transaction

log = structlog.get_logger(__name__)

# A row whose questions break off so often, one after the other, is not going to be asked to an end.
MOST_BROKEN_OFF = 3


@dataclass(frozen=True, slots=True)
class Call:
    """The right and the duty to make one call, as long as nobody takes the row anew."""

    id: UUID
    attempt_id: UUID
    compensation_id: UUID | None
    payment_id: str
    correlation_id: str  # The web request that submitted the payment.
    gateway: str
    operation: Operation
    request: GatewayRequest
    actor: str  # Who makes it, for the history: worker, resolver.
    fence: int
    checked_at_boottime: float  # When the clock was last asked whether it may be made.
    ends_at_boottime: float  # When it must be over.


def begin_call(
    *,
    attempt: PaymentAttempt,
    operation: Operation,
    request: GatewayRequest,
    reading: Reading,
    deadline: timedelta,
    actor: str,
    compensation: Compensation | None = None,
) -> Call:
    """Write a call down under the fence that its row has now. Hold the order's lock; commit before you make it.

    `deadline` is what the whole call may take, from `reading` on.
    """
    require_transaction()
    fence = attempt.fence if compensation is None else compensation.fence
    row = GatewayCall.objects.create(
        attempt=attempt,
        compensation=compensation,
        operation=operation,
        idempotency_key=request.idempotency_key,
        request_hash=request.request_hash,
        fence=fence,
        started_at=reading.now,
        deadline_seconds=deadline.total_seconds(),
    )
    return Call(
        id=row.id,
        attempt_id=attempt.id,
        compensation_id=None if compensation is None else compensation.id,
        payment_id=attempt.public_id,
        correlation_id=attempt.correlation_id,
        gateway=attempt.gateway,
        operation=operation,
        request=request,
        actor=actor,
        fence=fence,
        checked_at_boottime=reading.boottime_seconds,
        ends_at_boottime=reading.boottime_seconds + deadline.total_seconds(),
    )


def checked_again(call: Call, *, reading: Reading) -> Call:
    """Note that the clock was asked once more, at `reading`."""
    return replace(call, checked_at_boottime=reading.boottime_seconds)


def make_call(call: Call) -> Outcome:
    """Ask the gateway, without transaction, lock or database connection.

    A call whose look at the clock has grown stale is not made: the machine slept, or the thread was not run.
    """
    reach(f"{call.operation}.begun")
    release_connection()
    now = clocks.boottime_seconds()
    if now - call.checked_at_boottime > config.limits().stale_check_seconds:
        passed = now - call.checked_at_boottime
        detail = f"{passed:.3f} s passed between the look at the clock and the call"
        clockevents.record(
            kind=Detection.STALE_CHECK, seconds=passed, detail=str(call.operation), attempt_id=call.attempt_id
        )
        outcome: Outcome = NeverSent(code=FailureCode.STALE_CHECK, detail=detail)
    else:
        reach(f"{call.operation}.before_send")
        gateway = registry.gateway(call.gateway)
        outcome = _send(gateway, call, deadline_seconds=call.ends_at_boottime - clocks.boottime_seconds())
    # If the database goes away now, this line still says what became of the money.
    log.info("gateway_answered", operation=call.operation, outcome=type(outcome).__name__, **_spelled(outcome))
    reach(f"{call.operation}.answered")
    return outcome


def _send(gateway: Gateway, call: Call, *, deadline_seconds: float) -> Outcome:
    match call.operation, call.request:
        case Operation.AUTHORIZE, ChargeRequest() as request:
            return gateway.authorize(request, deadline_seconds=deadline_seconds)
        case Operation.CHARGE, ChargeRequest() as request:
            return gateway.charge(request, deadline_seconds=deadline_seconds)
        case Operation.CAPTURE, ActRequest() as request:
            return gateway.capture(request, deadline_seconds=deadline_seconds)
        case Operation.VOID, ActRequest() as request:
            return gateway.void(request, deadline_seconds=deadline_seconds)
        case Operation.REFUND, ActRequest() as request:
            return gateway.refund(request, deadline_seconds=deadline_seconds)
        case Operation.LOOK_UP, Question() as question:
            return gateway.look_up(question, deadline_seconds=deadline_seconds)
        case Operation.CANCEL_KEY, Question() as question:
            return gateway.cancel_key(question, deadline_seconds=deadline_seconds)
        case operation, request:
            message = f"{operation} cannot be asked with a {type(request).__name__}"
            raise TypeError(message)


def _spelled(outcome: Outcome) -> dict[str, object]:
    # `code` and `detail` would be fine as they are; a list of charges is shown as text. Of an address that leads a
    # customer to the gateway's page only the host: whoever has the whole of it can pay there.
    said: dict[str, object] = {name: str(value) for name, value in asdict(outcome).items()}
    if address := said.get("redirect_url"):
        said["redirect_url"] = urlsplit(str(address)).netloc
    return said


def always_breaks_off(calls: QuerySet[GatewayCall]) -> bool:
    """Tell whether the latest of `calls` were all begun and none of them recorded: whoever tries, it breaks off."""
    latest = calls.order_by("-started_at", "-id").values_list("finished_at", flat=True)[:MOST_BROKEN_OFF]
    ends = list(latest)
    return len(ends) == MOST_BROKEN_OFF and not any(ends)


def longest_in_flight(*, gateway: str) -> timedelta:
    """Say how long after a call's beginning what it sent may still be executed at the gateway."""
    limits, capabilities = config.limits(), registry.gateway(gateway).capabilities
    seconds = limits.stale_check_seconds + limits.gateway_total_seconds + capabilities.horizon_seconds
    return timedelta(seconds=seconds)


def is_key_known(*, first: datetime, gateway: str, now: datetime) -> bool:
    """Tell whether the gateway still knows a key, used `first` then, when a call that begins now has ended."""
    life = timedelta(seconds=registry.gateway(gateway).capabilities.key_life_seconds)
    return now + timedelta(seconds=config.limits().gateway_total_seconds) < first + life


def charge_request(attempt: PaymentAttempt) -> ChargeRequest:
    """Build what the attempt says to its gateway: the same at every call, under the one key of the attempt."""
    request = ChargeRequest(
        idempotency_key=attempt.public_id,
        reference=attempt.public_id,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        payment_token=attempt.payment_token,
        return_url=attempt.return_url,  # As it was written down: the settings may have changed since.
    )
    if not registry.gateway(attempt.gateway).capabilities.takes_window:
        return request
    window = attempt.expires_at - attempt.opened_at
    return replace(
        request, window_seconds=int(window.total_seconds()), expires_at_unix=int(attempt.expires_at.timestamp())
    )


def capture_request(attempt: PaymentAttempt, *, reference: str) -> ActRequest:
    """Build the capture of what the attempt has authorised; there is one a charge, whoever begins it."""
    return ActRequest(
        idempotency_key=f"{attempt.public_id}:capture",
        charge_reference=reference,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
    )


def question(attempt: PaymentAttempt, *, charge_reference: str = "") -> Question:
    """Build the question what became of the attempt's charge, or of another one that was made for it."""
    return Question(
        idempotency_key=attempt.public_id,
        reference=attempt.public_id,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        charge_reference=charge_reference or attempt.gateway_reference,
        opened_at_unix=int(attempt.opened_at.timestamp()),
        charge=charge_request(attempt),
    )
