"""Every limit of Paywindow in one place: the unit in the name, the reason in the comment.

`manage.py check` refuses to start when they do not fit together (payments/checks.py).
"""

from project.settings import environment

# How long a customer has, from opening the attempt. Seed documents say 5 and 15; the product settled on 15. The
# database and `check` refuse anything outside 5 minutes to 24 hours.
ORDER_PAYMENT_TIMEOUT_MINUTES = environment.integer("ORDER_PAYMENT_TIMEOUT_MINUTES", 15)

# What a customer can pay with. `window_minutes` overrides the default above for one method.
PAYMENT_METHODS: dict[str, dict[str, object]] = {
    "card": {"gateway": "sandbox"},
}

# ISO 4217 codes that orders may be in; their minor units are in payments/domain/money.py.
PAYMENT_CURRENCIES = ["USD", "EUR", "GBP", "INR", "JPY"]

# One gateway call in all, on the monotonic clock: 2.5 times the slowest p99 that was measured (PayPal, 12.4 s).
PAYMENT_GATEWAY_TOTAL_SECONDS = environment.integer("PAYMENT_GATEWAY_TOTAL_SECONDS", 30)

# The part of it that may pass before there is a connection. A host that does not answer in 5 s will not in 30.
PAYMENT_GATEWAY_CONNECT_SECONDS = 5

# How long a claim belongs to its worker. Longer than the whole call, so that a living worker never loses it.
PAYMENT_LEASE_SECONDS = PAYMENT_GATEWAY_TOTAL_SECONDS + 15

# A queued attempt that nobody claimed in this time gets its job published again. Twice the worst publish-to-claim
# delay of a healthy system; sending a job twice is harmless, sending it late is not.
PAYMENT_REDISPATCH_SECONDS = 10

# How long a gateway may take to tell about a payment that it confirms later: webhooks come within 30 to 60 s.
PAYMENT_WEBHOOK_WAIT_SECONDS = 60

# How soon somebody asks what became of a call that ended without an answer.
PAYMENT_RESOLVE_AFTER_SECONDS = 5

# Rows that one sweep transaction takes: large enough to amortise its six statements, small enough to hold its locks
# for some tens of milliseconds.
PAYMENT_SWEEP_BATCH_ROWS = 1000

# Batches that one run takes before it ends and lets the next one go on.
PAYMENT_SWEEP_BATCHES_PER_RUN = 100

PAYMENT_GATEWAYS: dict[str, dict[str, str]] = {
    "sandbox": {
        "url": environment.text("SANDBOX_URL", "http://127.0.0.1:8100"),
        "api_key": environment.text("SANDBOX_API_KEY", "sk_sandbox"),
    },
}

# The shop at /shop/, which signs visitors in as throw-away customers; users with a known password; tokens from the
# command line. Never in production.
PAYMENT_DEMO = environment.flag("PAYWINDOW_DEMO", default=False)
