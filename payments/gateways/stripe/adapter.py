"""Speaks to Stripe. What is said is worded in wording.py, what is answered is read in answers.py."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Self
from urllib.parse import urlsplit

import stripe
from stripe.params import PaymentIntentListParams
from stripe.params.checkout import SessionListParams

from payments.domain.failures import FailureCode
from payments.domain.outcomes import ChargeSeen, Declined, NotFound, Outcome, Several, Undoing, Undone
from payments.gateways import reading
from payments.gateways.deadline import Deadline
from payments.gateways.protocol import ActRequest, Capabilities, ChargeRequest, Event, NotGenuine, Question, listed
from payments.gateways.sdk import SdkTransport
from payments.gateways.stripe import answers, wording
from payments.gateways.stripe.client import connect
from payments.gateways.stripe.hearing import read_event
from payments.gateways.stripe.intents import Session
from payments.gateways.transport import CallResult, Transport

_URL: Final = "https://api.stripe.com"

# docs.stripe.com/api/idempotent_requests: keys are removed when they are at least 24 hours old. A repeat may be on its
# way for the whole horizon, and our clocks and Stripe's need not agree.
_KEY_LIFE_SECONDS: Final = 20 * 3600
# Stripe does not say how late a request may still be executed; no call of its API runs for minutes. What a search finds
# may be an hour behind (docs.stripe.com/search), and "not found" has to be true by then.
_HORIZON_SECONDS: Final = 2 * 3600

# A look-up without the charge's id goes through the lists of what was made since the attempt began, newest first. So
# many pages are read within one call; a page of that size is about a quarter of what the transport takes.
_PAGES: Final = 20
_PER_PAGE: Final = 100
_CLOCKS_MAY_DISAGREE_SECONDS: Final = 300  # Ours, by which the attempt began, and Stripe's, by which a charge did.
_MOST_CHARGES: Final = 10  # Under one reference; each is a request.


class StripeGateway:
    """Stripe, over its official SDK."""

    capabilities: Capabilities = Capabilities(
        authorizes=True,
        cancels_keys=False,
        key_life_seconds=_KEY_LIFE_SECONDS,
        horizon_seconds=_HORIZON_SECONDS,
        longest_window_seconds=wording.LONGEST_WINDOW_SECONDS,
        takes_window=True,
    )

    def __init__(self, *, client: stripe.StripeClient, sdk: SdkTransport, webhook_secrets: Sequence[str] = ()) -> None:
        self._sdk = sdk
        self._webhook_secrets = tuple(webhook_secrets)
        self._intents = client.v1.payment_intents
        self._sessions = client.v1.checkout.sessions
        self._refunds = client.v1.refunds

    @classmethod
    def from_settings(cls, settings: Mapping[str, str], *, connect_seconds: float) -> Self:
        """Make the gateway: `api_key`; `webhook_secrets`, separated by commas; `url`, unless it is Stripe's own."""
        url = (settings.get("url") or _URL).rstrip("/")
        parts = urlsplit(url)
        # The SDK says the whole path, also of a Stripe that is mounted somewhere.
        origin = f"{parts.scheme}://{parts.netloc}"
        sdk = SdkTransport(Transport(base_url=origin, headers={}, connect_seconds=connect_seconds))
        return cls(
            client=connect(api_key=settings["api_key"], url=url, sdk=sdk),
            sdk=sdk,
            webhook_secrets=listed(settings.get("webhook_secrets", "")),
        )

    def authorize(self, request: ChargeRequest, *, deadline_seconds: float) -> Outcome:
        """Hold the money."""
        return self._create(request, capture=False, deadline_seconds=deadline_seconds)

    def charge(self, request: ChargeRequest, *, deadline_seconds: float) -> Outcome:
        """Hold and take the money in one call."""
        return self._create(request, capture=True, deadline_seconds=deadline_seconds)

    def capture(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Take what is held, all of it."""

        def capture(intent: str) -> object:
            return self._intents.capture(
                intent,
                {"amount_to_capture": request.amount_minor, "expand": ["latest_charge"]},
                {"idempotency_key": request.idempotency_key},
            )

        return self._act(request, capture, answers.read_capture, deadline=Deadline(deadline_seconds))

    def void(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Let go of what is held or pending. A session that nobody paid on is ended, so that nobody can."""
        deadline = Deadline(deadline_seconds)
        if _is_session(request.charge_reference):
            session = self._session(request, deadline=deadline)
            if not isinstance(session, Session):
                return session
            if session.status == "expired":
                return Undone(how=Undoing.EXPIRED, reference=session.id)
            if session.status == "open":
                return self._expire(request, deadline=deadline)
            return self._cancel(request, session.intent_id, deadline=deadline)
        return self._cancel(request, request.charge_reference, deadline=deadline)

    def refund(self, request: ActRequest, *, deadline_seconds: float) -> Outcome:
        """Give `amount_minor` back."""

        def refund(intent: str) -> object:
            return self._refunds.create(
                wording.refund_params(request, intent=intent),
                {"idempotency_key": request.idempotency_key},
            )

        return self._act(request, refund, answers.read_refund, deadline=Deadline(deadline_seconds))

    def look_up(self, question: Question, *, deadline_seconds: float) -> Outcome:
        """Ask for the charge by its id, or else for all charges under our reference."""
        deadline = Deadline(deadline_seconds)
        found: tuple[str, ...] | Outcome = (question.charge_reference,)
        if not question.charge_reference:
            found = self._find(question, deadline=deadline)
        if not isinstance(found, tuple):
            return found
        if len(found) > _MOST_CHARGES:
            return reading.doubt(f"{len(found)} charges under one reference")
        seen: list[ChargeSeen] = []
        for charge in found:
            outcome = self._retrieve(question, charge, deadline=deadline)
            if not isinstance(outcome, ChargeSeen):
                return outcome
            seen.append(outcome)
        match seen:
            case []:
                return NotFound()
            case [only]:
                return only
            case _:
                return Several(charges=tuple(seen))

    def cancel_key(self, question: Question, *, deadline_seconds: float) -> Outcome:
        """Undo and bar nothing: Stripe cannot."""
        raise NotImplementedError

    def check(self, *, deadline_seconds: float) -> Outcome:
        """Ask for the latest intent, whosever it is."""
        result = self._sdk.ask(lambda: self._intents.list({"limit": 1}), deadline_seconds=deadline_seconds)
        page = reading.read(result, partial(answers.read_page, is_ours=lambda _: False, since=0))
        return NotFound() if isinstance(page, answers.Page) else page

    def read_event(self, *, headers: Mapping[str, str], body: bytes, unix_seconds: int) -> Event | NotGenuine:
        """Verify and read an event."""
        return read_event(headers=headers, body=body, secrets=self._webhook_secrets, unix_seconds=unix_seconds)

    def close(self) -> None:
        """Let go of every connection."""
        self._sdk.close()

    # Requests.

    def _ask(self, use_sdk: Callable[[], object], *, deadline: Deadline) -> CallResult:
        return self._sdk.ask(use_sdk, deadline_seconds=deadline.left_seconds)

    def _create(self, request: ChargeRequest, *, capture: bool, deadline_seconds: float) -> Outcome:
        deadline = Deadline(deadline_seconds)
        key: stripe.RequestOptions = {"idempotency_key": request.idempotency_key}
        if request.is_hosted:
            session = wording.session_params(request, capture=capture)
            result = self._ask(lambda: self._sessions.create(session, key), deadline=deadline)
            return reading.read(result, partial(answers.read_session_creation, request=request))
        charge = wording.charge_params(request, capture=capture)
        result = self._ask(lambda: self._intents.create(charge, key), deadline=deadline)
        return reading.read(result, partial(answers.read_creation, request=request))

    def _act(
        self, request: ActRequest, act: Callable[[str], object], reader: Callable[..., Outcome], *, deadline: Deadline
    ) -> Outcome:
        """Do `act` to the charge's intent, which a session has to be asked for."""
        intent = request.charge_reference
        if _is_session(intent):
            session = self._session(request, deadline=deadline)
            if not isinstance(session, Session):
                return session
            if session.status != "complete" or not session.intent_id:
                return Declined(FailureCode.ALREADY_DONE, f"checkout_session_{session.status}", session.id)
            intent = session.intent_id
        result = self._ask(lambda: act(intent), deadline=deadline)
        return reading.read(result, partial(reader, request=request, intent=intent))

    def _session(self, request: ActRequest, *, deadline: Deadline) -> Session | Outcome:
        result = self._ask(lambda: self._sessions.retrieve(request.charge_reference), deadline=deadline)
        return reading.read(result, partial(answers.read_session_to_act_on, request=request))

    def _cancel(self, request: ActRequest, intent: str, *, deadline: Deadline) -> Outcome:
        if not intent:
            return reading.doubt("a complete checkout session without a payment intent")
        key: stripe.RequestOptions = {"idempotency_key": request.idempotency_key}
        result = self._ask(lambda: self._intents.cancel(intent, {}, key), deadline=deadline)
        return reading.read(result, partial(answers.read_cancel, request=request, intent=intent))

    def _expire(self, request: ActRequest, *, deadline: Deadline) -> Outcome:
        # The same void may have to cancel the intent the next time: another request, and so another key.
        key: stripe.RequestOptions = {"idempotency_key": f"{request.idempotency_key}:expire"}
        result = self._ask(lambda: self._sessions.expire(request.charge_reference, {}, key), deadline=deadline)
        return reading.read(result, partial(answers.read_expiry, request=request))

    # Questions.

    def _retrieve(self, question: Question, charge: str, *, deadline: Deadline) -> Outcome:
        def retrieve() -> object:
            if _is_session(charge):
                return self._sessions.retrieve(charge, {"expand": ["payment_intent.latest_charge.refunds"]})
            return self._intents.retrieve(charge, {"expand": ["latest_charge.refunds"]})

        return reading.read(
            self._ask(retrieve, deadline=deadline), partial(answers.read_charge, question=question, charge=charge)
        )

    def _find(self, question: Question, *, deadline: Deadline) -> tuple[str, ...] | Outcome:
        """Return the ids of all charges under our reference, as intents and as sessions or as what the charge was."""
        found: tuple[str, ...] = ()
        for is_hosted, find in ((False, self._find_intents), (True, self._find_sessions)):
            if question.charge is None or question.charge.is_hosted is is_hosted:
                more = find(question, deadline=deadline)
                if not isinstance(more, tuple):
                    return more
                found += more
        return found

    def _find_intents(self, question: Question, *, deadline: Deadline) -> tuple[str, ...] | Outcome:
        since, is_ours = _since(question), answers.is_intent_of(question.reference)

        def list_page(after: str) -> object:
            params: PaymentIntentListParams = {"limit": _PER_PAGE, "created": {"gte": since}}
            if after:
                params["starting_after"] = after
            return self._intents.list(params)

        found = self._walk(list_page, is_ours, since=since, deadline=deadline)
        if found is not None:
            return found
        # Too many to go through: search, which sees what is an hour old for certain.
        query = wording.search_query(question.reference)
        result = self._ask(lambda: self._intents.search({"query": query, "limit": _PER_PAGE}), deadline=deadline)
        page = reading.read(result, partial(answers.read_page, is_ours=is_ours, since=0))
        if not isinstance(page, answers.Page):
            return page
        return reading.doubt("the search finds too many") if page.last else page.ours

    def _find_sessions(self, question: Question, *, deadline: Deadline) -> tuple[str, ...] | Outcome:
        def list_page(after: str) -> object:
            params: SessionListParams = {"limit": _PER_PAGE}
            if after:
                params["starting_after"] = after
            return self._sessions.list(params)

        is_ours = answers.is_session_of(question.reference)
        found = self._walk(list_page, is_ours, since=_since(question), deadline=deadline)
        return reading.doubt("there are too many checkout sessions to go through") if found is None else found

    def _walk(
        self,
        list_page: Callable[[str], object],
        is_ours: Callable[[Mapping[str, Any]], bool],
        *,
        since: int,
        deadline: Deadline,
    ) -> tuple[str, ...] | Outcome | None:
        """Go through a list; None when it goes on after as many pages as may be read."""
        found: tuple[str, ...] = ()
        after = ""
        for _ in range(_PAGES):
            result = self._ask(partial(list_page, after), deadline=deadline)
            page = reading.read(result, partial(answers.read_page, is_ours=is_ours, since=since))
            if not isinstance(page, answers.Page):
                return page
            found += page.ours
            after = page.last
            if not after:
                return found
        return None


def _is_session(charge_reference: str) -> bool:
    return charge_reference.startswith("cs_")


def _since(question: Question) -> int:
    return max(0, question.opened_at_unix - _CLOCKS_MAY_DISAGREE_SECONDS)
