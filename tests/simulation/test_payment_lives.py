"""Random lives of payments against a real gateway: whatever happens in whatever order, the books agree in the end.

Every call is split into its beginning, its making and its record, so that workers die or sleep between any two of
them, wake up after others have taken over, and meet a gateway that loses answers. A seed makes a life repeatable.
"""

import random
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db.models import F
from pytest_django import Settings

from payments import clocks, lifecycle
from payments.domain.errors import PaymentError
from payments.domain.outcomes import Outcome
from payments.lifecycle.calls import Call, make_call
from payments.lifecycle.compensate import _record as record_compensation
from payments.lifecycle.compensate import _take as take_compensation
from payments.lifecycle.resolve import take_for_asking
from payments.models import Compensation, GatewayCall, Order, PaymentAttempt, StockItem
from tests import doubts, factories
from tests.contract.sandbox_server import SandboxProcess

pytestmark = pytest.mark.django_db(transaction=True)

FAULTS = ("reset_before", "reset_after", "error_before", "error_after", "unavailable", "garbage", "rate_limited")
TOKENS = ("tok_visa",) * 4 + ("tok_hosted", "tok_declined", "tok_pending")
ORDERS, EVENTS = 3, 150


@dataclass
class Worker:
    """A process in the middle of a call: it has begun it, made it, or died."""

    call: Call
    outcome: Outcome | None = None


@dataclass
class World:
    rng: random.Random
    sandbox: SandboxProcess
    staff: User
    workers: list[Worker] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    # What can happen.

    def claim(self) -> None:
        self._take(lifecycle.claim_attempt(attempt_id=self._attempt().id))

    def ask(self) -> None:
        attempt = self._attempt()
        doubts.make_due(attempt)
        self._take(take_for_asking(attempt_id=attempt.id))

    def give_back(self) -> None:
        rows = list(Compensation.objects.filter(due_at__isnull=False).order_by("id"))
        if rows:
            row = self.rng.choice(rows)
            Compensation.objects.filter(id=row.id).update(due_at=row.created_at)
            self._take(take_compensation(compensation_id=row.id))

    def make(self) -> None:
        unmade = [worker for worker in self.workers if worker.outcome is None]
        if not unmade:
            return
        worker = unmade[-1] if self.rng.random() < 0.6 else self.rng.choice(unmade)  # The others sleep on.
        if self.rng.random() < 0.4:
            fault = self.rng.choice((*FAULTS, "declined") if worker.call.operation == "capture" else FAULTS)
            names = {"look_up": "lookup", "cancel_key": "cancel"}
            self.sandbox.behave(fault, operation=names.get(worker.call.operation, worker.call.operation), times=1)
        now = clocks.boottime_seconds()  # However long it slept, it believes that it has just looked at the clock.
        worker.outcome = make_call(replace(worker.call, checked_at_boottime=now, ends_at_boottime=now + 5))
        self.sandbox.behave_normally()
        self.told.append(f"  made {worker.call.operation} of {worker.call.fence}: {worker.outcome}")

    def record(self) -> None:
        made = [worker for worker in self.workers if worker.outcome is not None]
        if not made:
            return
        worker = made[-1] if self.rng.random() < 0.6 else self.rng.choice(made)
        self.workers.remove(worker)
        assert worker.outcome is not None
        if worker.call.compensation_id is None:
            following = lifecycle.record_outcome(call=worker.call, outcome=worker.outcome).following
        else:
            following = record_compensation(worker.call, outcome=worker.outcome).following
        if following is not None:
            self.workers.append(Worker(following))

    def die(self) -> None:
        if self.workers:
            self.workers.remove(self.rng.choice(self.workers))

    def pass_time(self) -> None:
        attempt = self._attempt()
        left = (attempt.expires_at - clocks.database_now()).total_seconds()
        later = [seconds for seconds in (60.0, -1.0, -31.0, -331.0) if seconds < left - 5]
        if later:
            factories.age_attempt(attempt.id, seconds_left=later[0])

    def sweep(self) -> None:
        lifecycle.sweep_expired()

    def retry(self) -> None:
        order = self.rng.choice(list(Order.objects.order_by("order_id")))
        try:
            attempt = lifecycle.retry_order(order_id=order.order_id, customer_id=order.customer_id).attempt
            factories.submit(attempt, token=self.rng.choice(TOKENS))
        except PaymentError as refused:
            self.told.append(f"  {refused.detail}")

    def decide_on_the_hosted_page(self) -> None:
        pending = [charge["id"] for charge in self.sandbox.ledger()["charges"] if charge["status"] == "pending"]
        if pending:
            self.sandbox.settle(self.rng.choice(pending), self.rng.choice(("pay", "pay", "decline", "cancel")))

    def pass_a_day(self) -> None:
        if self.rng.random() < 0.2:
            earlier = timedelta(hours=25)
            attempts = PaymentAttempt.objects.filter(id=self._attempt().id, unresolved_since__isnull=False)
            attempts.update(unresolved_since=F("unresolved_since") - earlier)

    def review(self) -> None:
        for attempt in PaymentAttempt.objects.filter(state="needs_review"):
            lifecycle.decide_review(attempt_id=attempt.id, verdict="failed", staff_id=self.staff.id, reason="guess")

    def _attempt(self) -> PaymentAttempt:
        return self.rng.choice(list(PaymentAttempt.objects.order_by("id")))

    def _take(self, taken: object) -> None:
        if isinstance(taken, Call):
            self.workers.append(Worker(taken))

    # A life, and its end.

    def live(self) -> None:
        acts = [
            *[self.claim] * 3,
            *[self.ask] * 4,
            *[self.give_back] * 2,
            *[self.make] * 6,
            *[self.record] * 4,
            self.die,
            *[self.pass_time] * 2,
            self.sweep,
            self.retry,
            self.decide_on_the_hosted_page,
            self.pass_a_day,
            self.review,
        ]
        for _ in range(EVENTS):
            act = self.rng.choice(acts)
            self.told.append(act.__name__)
            act()

    def end(self) -> None:
        """Let everybody finish what they hold, close every window, and go on until nothing is owed."""
        for _ in range(200):
            self.make()
            self.record()
        for attempt in PaymentAttempt.objects.exclude(state__in=["succeeded", "failed", "expired"]):
            factories.age_attempt(attempt.id, seconds_left=-331)
        for round_ in range(8):
            lifecycle.sweep_expired()
            for attempt in PaymentAttempt.objects.filter(state__in=["charging", "confirming", "in_doubt"]):
                doubts.resolve(attempt)
            self.review()
            self._settle_what_goes_back(hours=7 if round_ > 2 else 0)
            if round_ > 4:
                self.sandbox.forget_keys()
        for order in Order.objects.filter(status="under_paying"):
            factories.age_attempt(order.attempts.latest("number").id, seconds_left=-331)
        lifecycle.sweep_expired()

    def _settle_what_goes_back(self, *, hours: float) -> None:
        """Run every compensation, `hours` later: an error that was saved stands until the gateway forgets the key."""
        for row in Compensation.objects.filter(due_at__isnull=False):
            doubts.age_compensation(row, hours=hours)
            doubts.give_back(row)
        for row in Compensation.objects.filter(state="needs_review"):
            staff_id = self.staff.id
            lifecycle.decide_compensation(compensation_id=row.id, verdict="again", staff_id=staff_id, reason="again")

    def check(self, item: StockItem) -> None:
        ledger = self.sandbox.ledger()
        assert {row.state for row in PaymentAttempt.objects.all()} <= {"succeeded", "failed", "expired"}
        assert {row.state for row in Compensation.objects.all()} <= {"done"}
        assert {charge["status"] for charge in ledger["charges"]} <= {"captured", "refunded", "voided", "declined"}
        sold = 0
        for order in Order.objects.all():
            references = {attempt.public_id for attempt in order.attempts.all()}
            charges = [charge for charge in ledger["charges"] if charge["reference"] in references]
            kept = sum(charge["amount_captured_minor"] - charge["amount_refunded_minor"] for charge in charges)
            is_kept = order.payment_status == "paid"
            assert kept == (order.total_minor if is_kept else 0), (order, order.payment_status, charges)
            assert order.attempts.filter(state="succeeded").count() == (1 if order.status == "paid" else 0)
            assert order.status in {"paid", "cancelled"}
            sold += order.status == "paid"
        assert factories.stock_of(item) == (100 - sold, 0, sold)
        for call in GatewayCall.objects.filter(operation__in=["authorize", "charge"], compensation=None):
            assert call.idempotency_key == call.attempt.public_id
            hashes = call.attempt.gateway_calls.filter(operation__in=["authorize", "charge"])
            assert len(set(hashes.values_list("request_hash", flat=True))) == 1
        for attempt in PaymentAttempt.objects.all():
            factories.steps(attempt)
        for row in Compensation.objects.all():
            doubts.compensation_steps(row)


@pytest.mark.parametrize("seed", range(8))
def test_the_books_agree_at_the_end_of_every_life(
    item: StockItem, sandbox: SandboxProcess, staff: User, settings: Settings, seed: int
) -> None:
    rng = random.Random(seed)  # noqa: S311 - a repeatable life, not a secret
    settings.PAYMENT_METHODS = {"card": {"gateway": "sandbox", "authorizes_first": seed % 2 > 0}}
    world = World(rng, sandbox, staff)
    for _ in range(ORDERS):
        attempt = factories.place_order(customer=factories.make_user(), item=item)
        factories.submit(attempt, token=rng.choice(TOKENS))
    try:
        world.live()
        world.end()
        world.check(item)
    except BaseException:
        print("\n".join(world.told))
        raise
