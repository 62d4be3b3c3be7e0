"""What is particular to Stripe, end to end: pages that are sessions, look-ups through lists, keys, two calls in one."""

import concurrent.futures
from collections.abc import Callable

import pytest

from payments.domain.failures import FailureCode as C
from payments.domain.outcomes import (
    Authorized,
    Captured,
    Declined,
    InDoubt,
    NeverSent,
    NotFound,
    Pending,
    Several,
    Undoing,
    Undone,
)
from payments.gateways.sdk import SdkTransport
from payments.gateways.stripe import adapter
from payments.gateways.stripe.adapter import StripeGateway
from payments.gateways.transport import CallResult
from tests.contract.recording import Recorder
from tests.contract.sandbox_server import SandboxProcess
from tests.contract.stripe.asking import (
    PATIENT_SECONDS,
    RETURN_URL,
    acting,
    asking,
    charging,
    hosted,
    id_of,
    in_a_while,
    ledger_id,
)

D = PATIENT_SECONDS


def open_page(gateway: StripeGateway, *, capture: bool = False) -> str:
    page = hosted(expires_at_unix=in_a_while())
    ask = gateway.charge if capture else gateway.authorize
    return id_of(ask(page, deadline_seconds=D))


# Pages


def test_a_page_is_one_charge_under_the_sessions_id_from_beginning_to_end(
    gateway: StripeGateway, sandbox: SandboxProcess
) -> None:
    page = gateway.authorize(hosted(expires_at_unix=in_a_while()), deadline_seconds=D)
    session = id_of(page)
    assert page == Pending(session, f"{sandbox.url}/pay/{ledger_id(session)}")
    for question in (asking(), asking(charge_reference=session)):
        assert gateway.look_up(question, deadline_seconds=D) == page
    sandbox.settle(ledger_id(session), "pay")
    for question in (asking(), asking(charge_reference=session), asking(charge=hosted(expires_at_unix=1))):
        assert gateway.look_up(question, deadline_seconds=D) == Authorized(session)
    assert gateway.capture(acting(session), deadline_seconds=D) == Captured(session)
    part = acting(session, idempotency_key="part", amount_minor=250)
    assert gateway.refund(part, deadline_seconds=D) == Captured(session, refunded_minor=250)
    rest = acting(session, idempotency_key="rest", amount_minor=1000)
    assert gateway.refund(rest, deadline_seconds=D) == Undone(Undoing.REFUNDED, session)
    assert gateway.look_up(asking(), deadline_seconds=D) == Undone(Undoing.REFUNDED, session)
    assert sandbox.operations() == [("authorize", 1250), ("capture", 1250), ("refund", 250), ("refund", 1000)]


def test_an_unpaid_page_is_ended_so_that_nobody_can_pay_there(gateway: StripeGateway, sandbox: SandboxProcess) -> None:
    session = open_page(gateway)
    assert gateway.void(acting(session), deadline_seconds=D) == Undone(Undoing.VOIDED, session)
    assert gateway.void(acting(session), deadline_seconds=D) == Undone(Undoing.EXPIRED, session)
    assert gateway.look_up(asking(), deadline_seconds=D) == Undone(Undoing.EXPIRED, session)
    assert sandbox.ledger()["charges"][0]["status"] == "voided"
    assert sandbox.operations() == []


def test_a_void_of_a_page_that_was_paid_lets_go_of_the_money(gateway: StripeGateway, sandbox: SandboxProcess) -> None:
    session = open_page(gateway)
    sandbox.settle(ledger_id(session), "pay")
    for _ in range(2):
        assert gateway.void(acting(session), deadline_seconds=D) == Undone(Undoing.VOIDED, session)
    assert sandbox.operations() == [("authorize", 1250), ("void", 1250)]


def test_a_page_that_was_paid_while_it_was_to_be_ended_is_let_go_of_by_the_same_void(
    gateway: StripeGateway, sandbox: SandboxProcess
) -> None:
    session = open_page(gateway)
    sandbox.behave("error_before", operation="void", times=1)
    assert isinstance(gateway.void(acting(session), deadline_seconds=D), InDoubt)
    sandbox.settle(ledger_id(session), "pay")
    assert gateway.void(acting(session), deadline_seconds=D) == Undone(Undoing.VOIDED, session)
    assert sandbox.operations() == [("authorize", 1250), ("void", 1250)]


def test_a_void_of_a_page_that_took_the_money_is_refused(gateway: StripeGateway, sandbox: SandboxProcess) -> None:
    session = open_page(gateway, capture=True)
    sandbox.settle(ledger_id(session), "pay")
    refused = gateway.void(acting(session), deadline_seconds=D)
    assert refused == Declined(C.ALREADY_DONE, "payment_intent_unexpected_state", session)
    assert sandbox.operations() == [("charge", 1250)]


def test_nothing_is_taken_or_given_back_of_a_page_that_nobody_paid_on(
    gateway: StripeGateway, sandbox: SandboxProcess
) -> None:
    session = open_page(gateway)
    refused = Declined(C.ALREADY_DONE, "checkout_session_open", session)
    assert gateway.capture(acting(session), deadline_seconds=D) == refused
    assert gateway.refund(acting(session), deadline_seconds=D) == refused
    assert sandbox.operations() == []


def test_a_page_without_a_way_back_is_refused_by_the_gateway(gateway: StripeGateway) -> None:
    page = hosted(expires_at_unix=in_a_while(), return_url="")
    assert gateway.charge(page, deadline_seconds=D) == Declined(C.INVALID_REQUEST, "parameter_missing", None)


def test_a_page_may_not_outlive_what_the_gateway_allows(gateway: StripeGateway) -> None:
    longest = StripeGateway.capabilities.longest_window_seconds
    assert longest is not None
    fits = hosted(expires_at_unix=in_a_while() - 900 + longest)
    assert isinstance(gateway.charge(fits, deadline_seconds=D), Pending)
    for key, off_seconds in (("long", 2 * 3600), ("over", -longest - 3600)):
        page = hosted(expires_at_unix=fits.expires_at_unix + off_seconds, idempotency_key=key)
        refused = gateway.charge(page, deadline_seconds=D)
        assert refused == Declined(C.INVALID_REQUEST, "invalid_request_error", None)


# Customers who have to confirm


def test_who_has_a_way_back_is_sent_to_the_bank(gateway: StripeGateway, sandbox: SandboxProcess) -> None:
    sent = gateway.authorize(charging(payment_token="tok_hosted", return_url=RETURN_URL), deadline_seconds=D)
    intent = id_of(sent)
    assert sent == Pending(intent, f"{sandbox.url}/pay/{ledger_id(intent)}")
    sandbox.settle(ledger_id(intent), "pay")
    assert gateway.look_up(asking(), deadline_seconds=D) == Authorized(intent)


def test_who_has_none_is_declined_there_and_then(gateway: StripeGateway, sandbox: SandboxProcess) -> None:
    declined = gateway.authorize(charging(payment_token="tok_hosted"), deadline_seconds=D)
    assert isinstance(declined, Declined)
    assert (declined.code, declined.gateway_code) == (C.AUTHENTICATION_REQUIRED, "authentication_required")
    assert gateway.look_up(asking(), deadline_seconds=D) == declined
    assert sandbox.ledger()["charges"][0]["status"] == "declined"


# Look-ups


@pytest.mark.parametrize("how_often", [0, 1, 3])
def test_a_look_up_finds_all_under_the_reference_and_nothing_else(
    gateway: StripeGateway, how_often: int, sandbox: SandboxProcess
) -> None:
    made = [
        id_of(gateway.charge(charging(idempotency_key=f"k{number}"), deadline_seconds=D)) for number in range(how_often)
    ]
    gateway.charge(charging(idempotency_key="other", reference="pay_other"), deadline_seconds=D)
    seen = gateway.look_up(asking(opened_at_unix=in_a_while() - 900), deadline_seconds=D)
    newest_first = tuple(Captured(charge) for charge in reversed(made))
    expected = {0: NotFound(), 1: Captured(made[0]) if made else None, 3: Several(newest_first)}
    assert seen == expected[how_often]


def test_what_was_made_before_the_attempt_began_is_not_gone_through(gateway: StripeGateway) -> None:
    gateway.charge(charging(), deadline_seconds=D)
    gateway.charge(hosted(expires_at_unix=in_a_while(), idempotency_key="page"), deadline_seconds=D)
    assert isinstance(gateway.look_up(asking(), deadline_seconds=D), Several)
    for charge in (None, charging(), hosted(expires_at_unix=1)):
        later = asking(opened_at_unix=in_a_while(), charge=charge)
        assert gateway.look_up(later, deadline_seconds=D) == NotFound()


def test_a_look_up_goes_through_page_after_page(
    gateway: StripeGateway, monkeypatch: pytest.MonkeyPatch, sandbox: SandboxProcess
) -> None:
    monkeypatch.setattr(adapter, "_PER_PAGE", 2)
    ours = id_of(gateway.charge(charging(), deadline_seconds=D))
    page = id_of(
        gateway.charge(
            hosted(expires_at_unix=in_a_while(), idempotency_key="page", reference="page"), deadline_seconds=D
        )
    )
    for number in range(6):
        gateway.charge(charging(idempotency_key=f"k{number}", reference=f"other{number}"), deadline_seconds=D)
        other = hosted(expires_at_unix=in_a_while(), idempotency_key=f"p{number}", reference=f"page{number}")
        gateway.charge(other, deadline_seconds=D)
    with Recorder(upstream=sandbox.url, prefix="/stripe") as recorder:
        watched = StripeGateway.from_settings(
            {"url": f"{recorder.url}/stripe", "api_key": "sk_sandbox"}, connect_seconds=D
        )
        assert watched.look_up(asking(charge=charging()), deadline_seconds=D) == Captured(ours)
        lists = ["GET /v1/payment_intents"] * 4
        assert recorder.paths == [*lists, f"GET /v1/payment_intents/{ours}"]
        recorder.exchanges.clear()
        seen = watched.look_up(asking(reference="page", charge=hosted(expires_at_unix=1)), deadline_seconds=D)
        assert id_of(seen) == page
        lists = ["GET /v1/checkout/sessions"] * 4
        assert recorder.paths == [*lists, f"GET /v1/checkout/sessions/{page}"]
        watched.close()


def test_too_many_to_go_through_are_searched(
    gateway: StripeGateway, monkeypatch: pytest.MonkeyPatch, sandbox: SandboxProcess
) -> None:
    monkeypatch.setattr(adapter, "_PER_PAGE", 2)
    monkeypatch.setattr(adapter, "_PAGES", 2)
    reference = 'pay_"1"\\'
    ours = id_of(gateway.charge(charging(reference=reference), deadline_seconds=D))
    for number in range(4):
        gateway.charge(charging(idempotency_key=f"k{number}", reference=f"other{number}"), deadline_seconds=D)
    assert gateway.look_up(asking(reference=reference, charge=charging()), deadline_seconds=D) == Captured(ours)
    assert gateway.look_up(asking(reference="none", charge=charging()), deadline_seconds=D) == NotFound()


def test_a_search_that_finds_more_than_it_shows_is_a_doubt(
    gateway: StripeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "_PER_PAGE", 1)
    monkeypatch.setattr(adapter, "_PAGES", 1)
    for number in range(2):
        gateway.charge(charging(idempotency_key=f"k{number}"), deadline_seconds=D)
    assert isinstance(gateway.look_up(asking(charge=charging()), deadline_seconds=D), InDoubt)


def test_too_many_sessions_to_go_through_are_a_doubt(gateway: StripeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_PER_PAGE", 1)
    monkeypatch.setattr(adapter, "_PAGES", 2)
    for number in range(3):
        page = hosted(expires_at_unix=in_a_while(), idempotency_key=f"p{number}", reference=f"page{number}")
        gateway.charge(page, deadline_seconds=D)
    asked = asking(reference="page0", charge=hosted(expires_at_unix=1))
    assert isinstance(gateway.look_up(asked, deadline_seconds=D), InDoubt)


def test_an_unknown_id_is_a_doubt_and_not_an_absence(gateway: StripeGateway) -> None:
    for charge in ("pi_unknown", "cs_test_unknown"):
        assert isinstance(gateway.look_up(asking(charge_reference=charge), deadline_seconds=D), InDoubt)


def test_another_amount_under_our_reference_is_a_doubt(gateway: StripeGateway) -> None:
    gateway.charge(charging(amount_minor=1300), deadline_seconds=D)
    assert isinstance(gateway.look_up(asking(), deadline_seconds=D), InDoubt)


# Keys


def test_a_key_with_another_request_is_a_mismatch(gateway: StripeGateway, sandbox: SandboxProcess) -> None:
    gateway.charge(charging(), deadline_seconds=D)
    for again in (charging(amount_minor=1300), charging(return_url=RETURN_URL), hosted(expires_at_unix=in_a_while())):
        outcome = gateway.charge(again, deadline_seconds=D)
        assert isinstance(outcome, InDoubt)
        assert outcome.code is C.KEY_MISMATCH
    assert sandbox.operations() == [("charge", 1250)]


def test_a_key_that_is_in_use_is_a_doubt(
    gateway: StripeGateway, sandbox: SandboxProcess, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    sandbox.behave("hang_before")
    first = pool.submit(gateway.charge, charging(), deadline_seconds=D)
    sandbox.wait_until_held(1)
    second = gateway.charge(charging(), deadline_seconds=D)
    assert isinstance(second, InDoubt)
    assert second.code is C.KEY_IN_FLIGHT
    sandbox.release()
    assert isinstance(first.result(), Captured)
    assert sandbox.operations() == [("charge", 1250)]


@pytest.mark.parametrize(("behaviour", "moved"), [("error_after", [("charge", 1250)]), ("error_before", [])])
def test_a_500_is_replayed_and_proves_nothing(
    gateway: StripeGateway, sandbox: SandboxProcess, behaviour: str, moved: list[tuple[str, int]]
) -> None:
    sandbox.behave(behaviour, times=1)
    for _ in range(2):
        assert isinstance(gateway.charge(charging(), deadline_seconds=D), InDoubt)
    assert sandbox.operations() == moved
    seen = gateway.look_up(asking(), deadline_seconds=D)
    assert isinstance(seen, Captured if moved else NotFound)


def test_the_gateway_has_no_cancel_by_key(gateway: StripeGateway) -> None:
    assert not gateway.capabilities.cancels_keys
    with pytest.raises(NotImplementedError):
        gateway.cancel_key(asking(), deadline_seconds=D)


# One deadline for two calls


def test_a_second_call_gets_what_the_first_left(
    gateway: StripeGateway, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_page(gateway)
    sandbox.settle(ledger_id(session), "pay")
    sandbox.behave("slow:0.3", operation="lookup")
    given: list[float] = []
    ask = SdkTransport.ask

    def watched(sdk: SdkTransport, use_sdk: Callable[[], object], *, deadline_seconds: float) -> CallResult:
        given.append(deadline_seconds)
        return ask(sdk, use_sdk, deadline_seconds=deadline_seconds)

    monkeypatch.setattr(SdkTransport, "ask", watched)
    assert gateway.capture(acting(session), deadline_seconds=D) == Captured(session)
    first, second = given
    assert first <= D
    assert second <= first - 0.3


def test_nothing_is_done_when_the_first_call_took_all_the_time(gateway: StripeGateway, sandbox: SandboxProcess) -> None:
    session = open_page(gateway)
    sandbox.settle(ledger_id(session), "pay")
    sandbox.behave("slow:5", operation="lookup")
    assert isinstance(gateway.capture(acting(session), deadline_seconds=0.3), InDoubt)
    assert isinstance(gateway.look_up(asking(charge_reference=session), deadline_seconds=0), NeverSent)
    assert [row for row in sandbox.ledger()["requests"] if row["operation"] == "capture"] == []


@pytest.mark.parametrize("operation", ["capture", "void", "refund"])
def test_an_act_whose_answer_is_lost_is_done_once(
    gateway: StripeGateway, sandbox: SandboxProcess, operation: str
) -> None:
    ask = gateway.charge if operation == "refund" else gateway.authorize
    charge = id_of(ask(charging(), deadline_seconds=D))
    sandbox.behave("reset_after", operation=operation, times=1)
    act = {"capture": gateway.capture, "void": gateway.void, "refund": gateway.refund}[operation]
    assert isinstance(act(acting(charge), deadline_seconds=D), InDoubt)
    done = act(acting(charge), deadline_seconds=D)
    assert isinstance(done, Captured | Undone)
    assert gateway.look_up(asking(charge_reference=charge), deadline_seconds=D) == done
    assert sandbox.operations()[1:] == [(operation, 1250)]


def test_a_declined_act_leaves_the_charge_as_it_was(gateway: StripeGateway, sandbox: SandboxProcess) -> None:
    charge = id_of(gateway.authorize(charging(), deadline_seconds=D))
    sandbox.behave("insufficient_funds", operation="capture", times=1)
    assert gateway.capture(acting(charge), deadline_seconds=D) == Declined(
        C.INSUFFICIENT_FUNDS, "insufficient_funds", charge
    )
    assert gateway.look_up(asking(), deadline_seconds=D) == Authorized(charge)
    gateway.capture(acting(charge, idempotency_key="again"), deadline_seconds=D)
    sandbox.behave("expired_card", operation="refund", times=1)
    refund = acting(charge, idempotency_key="back")
    assert gateway.refund(refund, deadline_seconds=D) == Declined(C.DECLINED, "expired_or_canceled_card", charge)
    assert gateway.look_up(asking(), deadline_seconds=D) == Captured(charge)


def test_a_wrong_key_is_a_matter_of_configuration(sandbox: SandboxProcess) -> None:
    settings = {"url": f"{sandbox.url}/stripe", "api_key": "sk_wrong"}
    stranger = StripeGateway.from_settings(settings, connect_seconds=D)
    assert stranger.charge(charging(), deadline_seconds=D) == Declined(C.CONFIGURATION, "invalid_request_error", None)
    outcome = stranger.look_up(asking(), deadline_seconds=D)
    assert isinstance(outcome, InDoubt)
    assert outcome.code is C.CONFIGURATION
    stranger.close()
    assert sandbox.operations() == []
