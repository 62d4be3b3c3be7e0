"""The life of a payment, in the order in which it happens: this is the table of contents.

    open      an order is placed: attempt 1 with its deadline, the stock held
    submit    the customer pays: the attempt is queued and a job published
    claim     a worker takes it, under the lock, if the window is still open
    charge    the gateway is asked, outside every transaction
    record    its answer is written down, under the lock again
    expire    or the window closes first: attempt, order and stock in one transaction
    rescue    what was queued and lost by the broker is published again

Each act is one transaction that begins with the order's lock (payments/locks.py) and reads the clock after it.
"""

from payments.lifecycle.charge import charge_attempt
from payments.lifecycle.claim import claim_attempt
from payments.lifecycle.expire import sweep_expired
from payments.lifecycle.open import RequestedLine, open_order
from payments.lifecycle.record import record_outcome
from payments.lifecycle.rescue import publish_owed
from payments.lifecycle.submit import submit_attempt

__all__ = [
    "RequestedLine",
    "charge_attempt",
    "claim_attempt",
    "open_order",
    "publish_owed",
    "record_outcome",
    "submit_attempt",
    "sweep_expired",
]
