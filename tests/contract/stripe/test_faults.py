"""Stripe failing in every way: what the adapter says of the call, and what the next question finds."""

import pytest

from payments.domain.failures import FailureCode as C
from payments.domain.outcomes import Captured, InDoubt, NeverSent, NotFound, Operation, Outcome, Pending
from payments.gateways.protocol import ChargeRequest
from payments.gateways.stripe.adapter import StripeGateway
from tests.contract.sandbox_server import SandboxProcess
from tests.contract.stripe.asking import PATIENT_SECONDS, acting, asking, charging, hosted, id_of, in_a_while
from tests.contract.stripe.bench import make

D = PATIENT_SECONDS
SHORT_SECONDS = 0.4

# How the call ends, and whether the gateway did what it was asked.
FAULTS: dict[str, tuple[type[Outcome], C, bool]] = {
    "hang_before": (InDoubt, C.GATEWAY_TIMEOUT, False),
    "hang_after": (InDoubt, C.GATEWAY_TIMEOUT, True),
    "reset_before": (InDoubt, C.GATEWAY_ERROR, False),
    "reset_after": (InDoubt, C.GATEWAY_ERROR, True),
    "error_before": (InDoubt, C.GATEWAY_ERROR, False),
    "error_after": (InDoubt, C.GATEWAY_ERROR, True),
    "unavailable": (InDoubt, C.GATEWAY_ERROR, False),
    "rate_limited": (NeverSent, C.RATE_LIMITED, False),
    "slow_drip": (InDoubt, C.GATEWAY_TIMEOUT, True),
    "garbage": (InDoubt, C.GATEWAY_ERROR, True),
}
EACH = pytest.mark.parametrize(
    ("behaviour", "ending", "code", "is_done"), [(name, *told) for name, told in FAULTS.items()]
)


def request_of(*, is_hosted: bool) -> ChargeRequest:
    return hosted(expires_at_unix=in_a_while()) if is_hosted else charging()


@EACH
@pytest.mark.parametrize("is_hosted", [False, True])
def test_a_charge_that_went_wrong_is_found_exactly_if_it_was_made(
    gateway: StripeGateway,
    sandbox: SandboxProcess,
    behaviour: str,
    ending: type[InDoubt | NeverSent],
    code: C,
    is_done: bool,
    is_hosted: bool,
) -> None:
    sandbox.behave(behaviour, times=1)
    outcome = gateway.charge(request_of(is_hosted=is_hosted), deadline_seconds=SHORT_SECONDS)
    assert isinstance(outcome, ending)
    assert outcome.code is code
    seen = gateway.look_up(asking(charge=request_of(is_hosted=is_hosted)), deadline_seconds=D)
    assert isinstance(seen, (Pending if is_hosted else Captured) if is_done else NotFound)
    assert sandbox.operations() == ([("charge", 1250)] if is_done and not is_hosted else [])


@EACH
@pytest.mark.parametrize("operation", [Operation.CAPTURE, Operation.VOID, Operation.REFUND])
def test_an_act_that_went_wrong_is_never_called_done(
    gateway: StripeGateway,
    sandbox: SandboxProcess,
    operation: Operation,
    behaviour: str,
    ending: type[InDoubt | NeverSent],
    code: C,
    is_done: bool,
) -> None:
    make_it = gateway.charge if operation is Operation.REFUND else gateway.authorize
    charge = id_of(make_it(charging(), deadline_seconds=D))
    sandbox.behave(behaviour, operation=operation, times=1)
    act = {Operation.CAPTURE: gateway.capture, Operation.VOID: gateway.void, Operation.REFUND: gateway.refund}[
        operation
    ]
    outcome = act(acting(charge), deadline_seconds=SHORT_SECONDS)
    assert isinstance(outcome, ending)
    assert outcome.code is code
    assert sandbox.operations()[1:] == ([(operation, 1250)] if is_done else [])


@pytest.mark.parametrize("behaviour", FAULTS)
@pytest.mark.parametrize("is_known", [False, True])
def test_a_question_that_went_wrong_never_says_that_there_is_nothing(
    gateway: StripeGateway, sandbox: SandboxProcess, behaviour: str, is_known: bool
) -> None:
    charge = id_of(gateway.charge(charging(), deadline_seconds=D))
    sandbox.behave(behaviour, operation="lookup")
    question = asking(charge_reference=charge) if is_known else asking()
    assert isinstance(gateway.look_up(question, deadline_seconds=SHORT_SECONDS), InDoubt | NeverSent)


def test_a_gateway_that_is_not_there_was_never_asked() -> None:
    nobody = make("http://127.0.0.1:9")
    for outcome in (
        nobody.authorize(charging(), deadline_seconds=D),
        nobody.charge(hosted(expires_at_unix=1), deadline_seconds=D),
        nobody.capture(acting("pi_1"), deadline_seconds=D),
        nobody.void(acting("cs_1"), deadline_seconds=D),
        nobody.refund(acting("cs_1"), deadline_seconds=D),
        nobody.look_up(asking(), deadline_seconds=D),
    ):
        assert isinstance(outcome, NeverSent)
        assert outcome.code is C.GATEWAY_UNREACHABLE
    nobody.close()
