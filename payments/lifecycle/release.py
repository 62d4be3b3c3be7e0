"""Release: nobody knows what became of a payment, and its stock was held for a day after the window. It goes back.

The attempt stays in doubt, and is asked about as before. Should its money turn up after all, it cannot pay the order
any more, and is given back (payments/domain/late.py).
"""

from itertools import islice

import structlog

from payments import clocks, due, guard, locks
from payments.domain.clock import Ruling
from payments.domain.states import UNRESOLVED, AttemptState
from payments.domain.window import LONGEST_HOLD_AFTER_WINDOW
from payments.due import Due
from payments.lifecycle.expiry_failures import note_failure, reason_of
from payments.lifecycle.stock import release_stock
from payments.lifecycle.sweep import latest
from payments.lifecycle.transition import move_attempt
from payments.models import ExpiryFailure, Order, PaymentAttempt
from payments.transactions import after_commit, concerns_rows, is_lock_conflict, transaction

log = structlog.get_logger(__name__)

ORDERS_PER_READ = 100
ORDERS_PER_RUN = 1000  # The clocks may hold some of them, which must not hide the others.


def release_stock_in_doubt(*, actor: str) -> int:
    """Give back the stock of every order whose payment has been unresolved for a day; returns of how many."""
    found = due.read_all(due.HELD_TOO_LONG, now=latest(clocks.read()), limit=ORDERS_PER_READ)
    return sum(_release_or_note(candidate, actor=actor) for candidate in islice(found, ORDERS_PER_RUN))


def _release_or_note(candidate: Due, *, actor: str) -> bool:
    try:
        return _release(candidate, actor=actor)
    except Exception as error:
        if is_lock_conflict(error):
            return False  # The next run finds it again.
        if not concerns_rows(error):
            raise
        note_failure(candidate, why=reason_of(error))
        return False


def _release(candidate: Due, *, actor: str) -> bool:
    with transaction():
        locks.wait_shortly()
        if not locks.lock_orders(order_ids=[candidate.order_id]):
            return False
        reading = clocks.read()
        attempt = PaymentAttempt.objects.get(id=candidate.attempt_id)
        until = attempt.expires_at + LONGEST_HOLD_AFTER_WINDOW
        judgement = guard.judge(attempt, reading=reading, until=until)
        if attempt.state not in UNRESOLVED or judgement.ruling is not Ruling.EXPIRE:
            return False
        waiting = Order.objects.filter(id=candidate.order_id, stock_given_back_at=None)
        if not waiting.update(stock_given_back_at=reading.now):
            return False
        move_attempt(
            attempt,
            to=AttemptState(attempt.state),
            now=reading.now,
            actor=actor,
            reason="stock_given_back",
            due_at=attempt.due_at,
            evidence={"until": until.isoformat(), "clocks": judgement.as_evidence()},
        )
        ExpiryFailure.objects.filter(order_id=candidate.order_id).update(resolved_at=reading.now)
        release_stock(order_id=candidate.order_id, now=reading.now)
        after_commit(
            lambda: log.warning(
                "stock_given_back", order_id=candidate.order_number, payment_id=attempt.public_id, state=attempt.state
            )
        )
    return True
