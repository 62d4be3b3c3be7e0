"""The life of a payment, in the order in which it happens: this is the table of contents.

    open        an order is placed: attempt 1 with its deadline, the stock held
    remind      its customer hears of it before the window closes, once, unless something was submitted
    submit      the customer pays: the attempt is queued and a job published
    cancel      or the order is given up before anything was charged, and its stock goes back
    claim       a worker takes it, under the lock, if the window is still open
    charge      the gateway is asked, outside every transaction (calls: one call, written down before it is made)
    record      its answer is written down, under the lock again, judged, and followed (settle)
    resolve     or nobody knows what became of it: the gateway is asked, and its answer is evidence
    ask         somebody waits for that, so it is asked soon
    hear        a gateway sends word, and is asked whether it is so
    replay      or somebody has events applied once more
    expire      or the window closes first: attempt, order and stock in one transaction
    sweep       whatever is due ends, a thousand at once; what fails is set apart (expiry_failures)
    cleanup     the same, when a person asks for it, who is told of each row
    release     what is held for a payment that nobody knows the end of goes back after a day
    owe         money that came too late or twice goes back
    compensate  the void or refund is made, under its own key
    retry       after a failure, a new attempt with a new key
    review      what nobody could find out, a person decides; refunds that a person asks for
    announce    what the host must be told is written with what happened
    deliver     and told to it until it has heard
    reconcile   what differs between stock, reservations and orders is put right, where that is provable
    archive     what ended long ago goes into files, and out of the tables
    rescue      whatever is due and has no job is published again
    duties      how often the sweep and the rescue were run, so that somebody notices when they are not

Each act is one transaction that begins with the order's lock (payments/locks.py) and reads the clock after it.
"""

from payments.lifecycle.archive import archive_attempts
from payments.lifecycle.ask import ask_soon
from payments.lifecycle.cancel import cancel_payment
from payments.lifecycle.charge import charge_attempt
from payments.lifecycle.claim import claim_attempt
from payments.lifecycle.cleanup import COUNTED_UP_TO, Backlog, Cleanup, clean_up, read_backlog
from payments.lifecycle.compensate import compensate
from payments.lifecycle.deliver import deliver_due
from payments.lifecycle.duties import DutyName, note_run, note_sweep, perform_deliveries, perform_rescue, perform_sweep
from payments.lifecycle.duties import runs as duty_runs
from payments.lifecycle.expiry_failures import notify_staff
from payments.lifecycle.hear import apply_event, hear_event
from payments.lifecycle.open import RequestedLine, open_order
from payments.lifecycle.reconcile import reconcile_stock
from payments.lifecycle.record import record_outcome
from payments.lifecycle.release import release_stock_in_doubt
from payments.lifecycle.remind import send_due_reminders, stop_reminders
from payments.lifecycle.replay import chosen_events, replay_events
from payments.lifecycle.rescue import publish_owed
from payments.lifecycle.resolve import resolve_attempt
from payments.lifecycle.retry import NoRetry, Retryability, retry_order, retryability
from payments.lifecycle.review import decide_compensation, decide_review, refund_payment
from payments.lifecycle.staff import note_staff_action
from payments.lifecycle.submit import submit_attempt
from payments.lifecycle.sweep import Fate, Row, SweepRun, preview_sweep, sweep_expired

__all__ = [
    "COUNTED_UP_TO",
    "Backlog",
    "Cleanup",
    "DutyName",
    "Fate",
    "NoRetry",
    "RequestedLine",
    "Retryability",
    "Row",
    "SweepRun",
    "apply_event",
    "archive_attempts",
    "ask_soon",
    "cancel_payment",
    "charge_attempt",
    "chosen_events",
    "claim_attempt",
    "clean_up",
    "compensate",
    "decide_compensation",
    "decide_review",
    "deliver_due",
    "duty_runs",
    "hear_event",
    "note_run",
    "note_staff_action",
    "note_sweep",
    "notify_staff",
    "open_order",
    "perform_deliveries",
    "perform_rescue",
    "perform_sweep",
    "preview_sweep",
    "publish_owed",
    "read_backlog",
    "reconcile_stock",
    "record_outcome",
    "refund_payment",
    "release_stock_in_doubt",
    "replay_events",
    "resolve_attempt",
    "retry_order",
    "retryability",
    "send_due_reminders",
    "stop_reminders",
    "submit_attempt",
    "sweep_expired",
]
