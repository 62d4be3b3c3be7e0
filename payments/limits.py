"""How the limits hang together: every relation in one table, each with what breaks without it.

`manage.py check` refuses to start when one does not hold (payments/checks.py), `manage.py verify_timeouts` prints them.
A value that follows from others is derived in project/settings/payments.py, never typed twice.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from payments import config
from payments.domain.states import MAX_ATTEMPTS_PER_ORDER
from payments.domain.window import LONGEST_HOLD_AFTER_WINDOW, MAX_GRACE, MAX_WINDOW, MIN_WINDOW

MINUTE = 60

# One job makes at most so many calls: a look-up, a replay, a capture, and one to spare. What follows is the next job's.
MAX_CALLS_PER_JOB = 4

_COMPARES: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {"<": operator.lt, "<=": operator.le, ">=": operator.ge, "=": operator.eq}
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A duration, by the name of the setting that a person has to change, in the unit that it has there."""

    name: str
    seconds: float
    unit_seconds: int = 1

    def __str__(self) -> str:
        unit = "s" if self.unit_seconds == 1 else "minutes"
        return f"{self.name} ({self.seconds / self.unit_seconds:g} {unit})"


@dataclass(frozen=True, slots=True)
class Relation:
    """What must hold between two quantities, and what breaks when it does not."""

    left: Quantity
    compares: str
    right: Quantity
    otherwise: str

    @property
    def holds(self) -> bool:
        """Tell whether it does."""
        return _COMPARES[self.compares](self.left.seconds, self.right.seconds)

    def __str__(self) -> str:
        return f"{self.left} must be {self.compares} {self.right}: {self.otherwise}"


def relations() -> list[Relation]:
    """Build every relation with the numbers of the settings as they are."""
    return [*_of_methods(), *_of_calls(), *_of_waiting(), *_of_announcements(), *_of_reminders()]


def _of_methods() -> Iterator[Relation]:
    day = Quantity("the longest hold", MAX_WINDOW.total_seconds(), MINUTE)
    shortest = Quantity("the shortest window", MIN_WINDOW.total_seconds(), MINUTE)
    for method in config.payment_methods().values():
        window = Quantity(method.window_setting, method.window.total_seconds(), MINUTE)
        grace = Quantity(method.grace_setting, method.grace_seconds)
        yield Relation(window, ">=", shortest, "a customer needs this long to find a card")
        yield Relation(window, "<=", day, "stock is not held longer than a day")
        yield Relation(grace, ">=", Quantity("zero", 0), "nothing ends before it begins")
        longest_grace = Quantity("the longest grace", MAX_GRACE.total_seconds())
        yield Relation(grace, "<=", longest_grace, "a window that goes on is no window")
        whole_hold = Quantity(
            f"{MAX_ATTEMPTS_PER_ORDER} x ({window.name} + {grace.name})",
            MAX_ATTEMPTS_PER_ORDER * (window.seconds + grace.seconds),
            MINUTE,
        )
        yield Relation(whole_hold, "<=", day, "the last retry would hold the stock longer than a day")
        lead = Quantity(method.reminder_lead_setting, method.reminder_lead.total_seconds(), MINUTE)
        yield Relation(lead, ">=", Quantity("zero", 0, MINUTE), "nobody is reminded of what is over")
        yield Relation(lead, "<", window, "a customer would be reminded of what was only just ordered")
        allowance = Quantity(method.late_allowance_setting, method.late_allowance_seconds)
        yield Relation(allowance, ">=", Quantity("zero", 0), "nothing ends before it begins")
        late = Quantity(f"{grace.name} + {allowance.name}", grace.seconds + allowance.seconds)
        held = Quantity("the longest hold after the window", LONGEST_HOLD_AFTER_WINDOW.total_seconds())
        yield Relation(late, "<=", held, "money would be taken for stock that was given back")


def _of_calls() -> Iterator[Relation]:
    limits, broker = config.limits(), config.broker_limits()
    total = Quantity("PAYMENT_GATEWAY_TOTAL_SECONDS", limits.gateway_total_seconds)
    margin = Quantity("PAYMENT_LEASE_MARGIN_SECONDS", limits.lease_margin_seconds)
    connect = Quantity("PAYMENT_GATEWAY_CONNECT_SECONDS", limits.gateway_connect_seconds)
    lease = Quantity("PAYMENT_LEASE_SECONDS", limits.lease_seconds)
    feedback = Quantity("PAYMENT_FEEDBACK_SECONDS", limits.feedback_seconds)
    call = Quantity(f"{total.name} + {margin.name}", total.seconds + margin.seconds)
    stale = Quantity("PAYMENT_STALE_CHECK_SECONDS", limits.stale_check_seconds)
    yield Relation(connect, "<", total, "nothing would be left of the call for its answer")
    yield Relation(call, "<", lease, "a living worker would lose its claim during the call")
    yield Relation(stale, "<", margin, "a claim given back as stale could have lapsed")
    yield Relation(feedback, "=", Quantity(f"half of {total.name}", total.seconds / 2), "it is derived from it")
    gate = Quantity("the in-flight gate", limits.gate_seconds)
    yield Relation(total, "<", gate, "a second click would pass while the first one is being charged")
    webhook = Quantity("PAYMENT_WEBHOOK_WAIT_SECONDS", limits.webhook_wait_seconds)
    yield Relation(total, "<", webhook, "the gateway would be asked while its own call still runs")
    job = Quantity(f"{MAX_CALLS_PER_JOB} x ({call.name})", MAX_CALLS_PER_JOB * call.seconds)
    for ends_job, otherwise in (
        (broker.visibility_timeout_seconds, "the broker would hand a running job to a second worker"),
        (broker.soft_time_limit_seconds, "Celery would interrupt a call that is in time"),
        (broker.time_limit_seconds, "Celery would kill a worker whose call is in time"),
    ):
        if ends_job is not None:
            limit = Quantity(ends_job.setting, ends_job.seconds)
            yield Relation(lease, "<", limit, otherwise)
            yield Relation(job, "<", limit, otherwise)


def _of_waiting() -> Iterator[Relation]:
    limits = config.limits()
    first = Quantity("PAYMENT_RESOLVE_AFTER_SECONDS", limits.resolve_after_seconds)
    longest = Quantity("PAYMENT_RESOLVE_LONGEST_WAIT_SECONDS", limits.resolve_longest_wait_seconds)
    give_up = Quantity("PAYMENT_RESOLVE_GIVE_UP_SECONDS", limits.resolve_give_up_seconds)
    period = Quantity("PAYMENT_SWEEP_PERIOD_SECONDS", limits.sweep_period_seconds)
    objective = Quantity("PAYMENT_EXPIRY_OBJECTIVE_SECONDS", limits.expiry_objective_seconds)
    yield Relation(Quantity("zero", 0), "<", first, "the gateway would be asked without a pause")
    lock = Quantity("PAYMENT_LOCK_WAIT_SECONDS", limits.lock_wait_seconds)
    transaction = Quantity("PAYMENT_TRANSACTION_SECONDS", config.transaction_seconds())
    lease = Quantity("PAYMENT_LEASE_SECONDS", limits.lease_seconds)
    repeat = Quantity("PAYMENT_IDEMPOTENCY_LEASE_SECONDS", limits.idempotency_lease_seconds)
    yield Relation(lock, "<", transaction, "whoever waits for a lock would be cut off before the database refuses it")
    yield Relation(transaction, "<", lease, "a claim could lapse before it is committed")
    yield Relation(transaction, "<", repeat, "a repeat would do the work anew while the first one still does it")
    yield Relation(first, "<=", longest, "waiting only ever grows")
    yield Relation(longest, "<=", give_up, "a person would be called before the gateway was asked twice")
    yield Relation(period, "<=", objective, "attempts would end later than is promised")


def _of_announcements() -> Iterator[Relation]:
    known = config.announcements()
    connect = Quantity("PAYMENT_ANNOUNCEMENT_CONNECT_SECONDS", known.connect_seconds)
    total = Quantity("PAYMENT_ANNOUNCEMENT_TOTAL_SECONDS", known.total_seconds)
    lease = Quantity("PAYMENT_ANNOUNCEMENT_LEASE_SECONDS", known.lease_seconds)
    first = Quantity("PAYMENT_ANNOUNCEMENT_FIRST_WAIT_SECONDS", known.first_wait_seconds)
    longest = Quantity("PAYMENT_ANNOUNCEMENT_LONGEST_WAIT_SECONDS", known.longest_wait_seconds)
    give_up = Quantity("PAYMENT_ANNOUNCEMENT_GIVE_UP_SECONDS", known.give_up_seconds)
    yield Relation(connect, "<", total, "nothing would be left of the delivery for its answer")
    yield Relation(total, "<", lease, "a living worker would lose its delivery")
    yield Relation(Quantity("zero", 0), "<", first, "a receiver that is away would be told without a pause")
    yield Relation(first, "<=", longest, "waiting only ever grows")
    yield Relation(longest, "<", give_up, "it would be given up before it was tried again")


def _of_reminders() -> Iterator[Relation]:
    known = config.reminders()
    one_wait = Quantity("EMAIL_TIMEOUT", known.email_timeout_seconds)
    total = Quantity("PAYMENT_REMINDER_TOTAL_SECONDS", known.total_seconds)
    lease = Quantity("PAYMENT_REMINDER_LEASE_SECONDS", known.lease_seconds)
    retry = Quantity("PAYMENT_REMINDER_RETRY_SECONDS", known.retry_seconds)
    yield Relation(one_wait, "<", total, "nobody would wait any more when the mail server's refusal comes")
    yield Relation(total, "<", lease, "what is being sent would be taken for lost")
    yield Relation(Quantity("zero", 0), "<", retry, "a mail server that is away would be asked without a pause")
