"""Every limit of Paywindow in one place: the unit in the name, the reason in the comment.

`manage.py check` refuses to start when they do not fit together (payments/checks.py).
"""

from project.settings import environment

# How long a customer has, from opening the attempt. The database and `check` refuse
# anything outside 5 minutes to 24 hours.
ORDER_PAYMENT_TIMEOUT_MINUTES = environment.integer("ORDER_PAYMENT_TIMEOUT_MINUTES", 15)

# What a customer can pay with. For one method, `window_minutes`, `grace_seconds`, `late_allowance_seconds` and
# `reminder_lead_minutes` override the defaults here, and its policy in the admin overrides both (docs/policies.md);
# `authorizes_first: False` charges in one call although the gateway could hold the money first, `hosted: True` sends
# customers to the gateway's own page instead of taking a payment token, and `currencies` are those that it is paid in.
PAYMENT_METHODS: dict[str, dict[str, object]] = {
    "card": {"gateway": "sandbox"},
}

# ISO 4217 codes that orders may be in; their minor units are in payments/domain/money.py.
PAYMENT_CURRENCIES = ["USD", "EUR", "GBP", "INR", "JPY"]

# One gateway call in all, on the monotonic clock: 2.5 times the slowest p99 that was measured (PayPal, 12.4 s).
PAYMENT_GATEWAY_TOTAL_SECONDS = environment.integer("PAYMENT_GATEWAY_TOTAL_SECONDS", 30)

# The part of it that may pass before there is a connection. A host that does not answer in 5 s will not in 30.
PAYMENT_GATEWAY_CONNECT_SECONDS = environment.integer("PAYMENT_GATEWAY_CONNECT_SECONDS", 5)

# After so long a customer who waits is told that the payment is still being processed.
PAYMENT_FEEDBACK_SECONDS = PAYMENT_GATEWAY_TOTAL_SECONDS / 2

# After the window closed: how long what was authorised inside it may still be captured, and how long the answer to a
# call that began inside it may take. 0 is strict. Nothing ever begins here.
PAYMENT_GRACE_SECONDS = environment.integer("PAYMENT_GRACE_SECONDS", PAYMENT_GATEWAY_TOTAL_SECONDS)

# After the grace: how long money that is only now seen may still pay its order. Later it is given back by itself. As
# long as a customer may be expected to wait for "we are finding out".
PAYMENT_LATE_ALLOWANCE_SECONDS = environment.integer("PAYMENT_LATE_ALLOWANCE_SECONDS", 300)

# What recording an answer may take after the call is over: a wait for a lock, the longest
# one as shipped (PAYMENT_LOCK_WAIT_SECONDS).
PAYMENT_LEASE_MARGIN_SECONDS = environment.integer("PAYMENT_LEASE_MARGIN_SECONDS", 10)

# How long a claim belongs to its worker. Longer than the whole call, so that a living worker never loses it.
PAYMENT_LEASE_SECONDS = PAYMENT_GATEWAY_TOTAL_SECONDS + PAYMENT_LEASE_MARGIN_SECONDS + 2

# A claim whose worker took longer than this from its look at the clock to the first byte is given back unsent.
PAYMENT_STALE_CHECK_SECONDS = 2

# A queued attempt that nobody claimed in this time gets its job published again. Twice the worst publish-to-claim
# delay of a healthy system; sending a job twice is harmless, sending it late is not.
PAYMENT_REDISPATCH_SECONDS = environment.integer("PAYMENT_REDISPATCH_SECONDS", 10)

# When nobody swept or rescued for so long, the workers do it themselves: a few of beat's periods.
PAYMENT_WATCHDOG_PATIENCE_SECONDS = 5

# How long a gateway may take to tell about a payment that it confirms later: webhooks come within 30 to 60 s.
PAYMENT_WEBHOOK_WAIT_SECONDS = 60

# How soon somebody asks what became of a call that ended without an answer; every further question waits twice as long,
# up to the longest wait. Asking ends after a day: what no gateway knew for so long, a person has to find out.
PAYMENT_RESOLVE_AFTER_SECONDS = environment.integer("PAYMENT_RESOLVE_AFTER_SECONDS", 5)
PAYMENT_RESOLVE_LONGEST_WAIT_SECONDS = 3600
PAYMENT_RESOLVE_GIVE_UP_SECONDS = environment.integer("PAYMENT_RESOLVE_GIVE_UP_SECONDS", 24 * 3600)

# How soon after its deadline an attempt is promised to be terminal, and how often the sweep therefore runs: half of it
# is left for the message, the queue and the sweep itself.
PAYMENT_EXPIRY_OBJECTIVE_SECONDS = 1
PAYMENT_SWEEP_PERIOD_SECONDS = 0.5

# Rows that one sweep transaction takes: large enough to amortise its six statements, small enough to hold its locks
# for some tens of milliseconds.
PAYMENT_SWEEP_BATCH_ROWS = 1000

# Threads of one run when more is due than a batch: one waits for the database while another judges and logs.
PAYMENT_SWEEP_THREADS = environment.integer("PAYMENT_SWEEP_THREADS", 4)

# Batches that one run takes before it ends and lets the next one go on.
PAYMENT_SWEEP_BATCHES_PER_RUN = 100

# Jobs that a process holds for its publishing thread: some seconds' worth, in less than a megabyte. What does not fit
# is published from its row.
PAYMENT_PUBLISH_QUEUE_JOBS = 1000

# How long the broker may let the publishing thread wait, each time. A broker takes a job in a millisecond or two; one
# that writes its data to disk stands still for some hundred.
PAYMENT_PUBLISH_TIMEOUT_SECONDS = 2

# How long nothing is published after a failure, so that jobs do not queue up behind its timeouts. Half of the time
# after which the row is looked at again.
PAYMENT_PUBLISH_PAUSE_SECONDS = PAYMENT_REDISPATCH_SECONDS / 2

# How much longer than a whole gateway call the in-flight gate answers a second click by itself: the way from the
# click to the call, which is the commit, the job and the claim.
PAYMENT_GATE_MARGIN_SECONDS = 5

# How long Redis may take for the gate, and for the rate limits, each time. It answers in a tenth of a millisecond; the
# database decides without it.
PAYMENT_GATE_TIMEOUT_MILLISECONDS = 100

# How long the gate stands open, and nothing is limited, after a failure, so that a Redis that hangs costs one request
# in a while its timeout and not every request.
PAYMENT_GATE_PAUSE_SECONDS = 5

# How long a request with an idempotency key may take before a repeat of it does the work itself: more than any
# transaction, less than a customer's patience. A request that is slower than that changes nothing any more.
PAYMENT_IDEMPOTENCY_LEASE_SECONDS = 30

# How long an answer is kept under its idempotency key: as long as the longest window, so that a client that repeats
# a request of today gets the answer of today.
PAYMENT_IDEMPOTENCY_KEEP_HOURS = 24

# How long payments stay in the database after their order closed: a year and a month, so that a customer's dispute or
# refund, which card networks allow for up to a year, and the yearly audit still find them there.
PAYMENT_ARCHIVE_AFTER_DAYS = environment.integer("PAYMENT_ARCHIVE_AFTER_DAYS", 400)

# Which clocks are independent witnesses (docs/clocks.md). Two that run on one machine, or are set by one faulty time
# server, are wrong together; so by default Redis and the hosts' wall clocks testify to nothing.
PAYMENT_CLOCK_HOST_IS_APART = environment.flag("PAYMENT_CLOCK_HOST_IS_APART", default=False)
PAYMENT_CLOCK_REDIS_IS_APART = environment.flag("PAYMENT_CLOCK_REDIS_IS_APART", default=False)

# How often each process compares the database's clock with its own boot clock: one query of a millisecond.
PAYMENT_CLOCK_LOOK_SECONDS = environment.integer("PAYMENT_CLOCK_LOOK_SECONDS", 5)

# How soon an attempt that the clocks contradict each other about is judged again, and after how long a person is
# called: a clock that is set right or wrong by a time server settles within seconds.
PAYMENT_CLOCK_HOLD_SECONDS = 2
PAYMENT_CLOCK_HOLD_ALERT_SECONDS = 60

# A lock is held for milliseconds: who waits so long waits for a session that stands still.
PAYMENT_LOCK_WAIT_SECONDS = environment.integer("PAYMENT_LOCK_WAIT_SECONDS", 10)

# How long a transaction may take, on this machine's monotonic clock (payments/deadlines.py). After the database's clock
# was set back, its own timeouts do not fire until it has caught up. More than any wait for a lock.
PAYMENT_TRANSACTION_SECONDS = environment.integer("PAYMENT_TRANSACTION_SECONDS", 20)

# "webhook_secrets" verify what a gateway sends word of (docs/webhooks.md). Several, separated by commas, let one take
# the place of another without losing an event. Without any, none is taken.
PAYMENT_GATEWAYS: dict[str, dict[str, str]] = {
    "sandbox": {
        "url": environment.text("SANDBOX_URL", "http://127.0.0.1:8100"),
        "api_key": environment.text("SANDBOX_API_KEY", "sk_sandbox"),
        "webhook_secrets": environment.text("SANDBOX_WEBHOOK_SECRET", "whsec_sandbox"),
    },
    # Without an API key the gateway is off. The URL is for a stand-in, such as the sandbox's `/stripe`.
    "stripe": {
        "url": environment.text("STRIPE_URL", "https://api.stripe.com"),
        "api_key": environment.text("STRIPE_API_KEY", ""),
        "webhook_secrets": environment.text("STRIPE_WEBHOOK_SECRET", ""),
    },
    # Off without an access token. `notification_url` is signed: it has to be, letter for letter, what Square was told.
    "square": {
        "url": environment.text("SQUARE_URL", ""),
        "access_token": environment.text("SQUARE_ACCESS_TOKEN", ""),
        "location_id": environment.text("SQUARE_LOCATION_ID", ""),
        "merchant_id": environment.text("SQUARE_MERCHANT_ID", ""),
        "notification_url": environment.text("SQUARE_NOTIFICATION_URL", ""),
        "webhook_secrets": environment.text("SQUARE_WEBHOOK_SECRETS", ""),
    },
    # For PhonePe's own sandbox both addresses are https://api-preprod.phonepe.com/apis/pg-sandbox. Its events are not
    # signed: they carry a hash of "username:password", which is what its secrets are here.
    "phonepe": {
        "url": environment.text("PHONEPE_URL", "https://api.phonepe.com/apis/pg"),
        "token_url": environment.text("PHONEPE_TOKEN_URL", "https://api.phonepe.com/apis/identity-manager"),
        "client_id": environment.text("PHONEPE_CLIENT_ID", ""),
        "client_version": environment.text("PHONEPE_CLIENT_VERSION", ""),
        "client_secret": environment.text("PHONEPE_CLIENT_SECRET", ""),
        "merchant_id": environment.text("PHONEPE_MERCHANT_ID", ""),
        "webhook_secrets": environment.text("PHONEPE_WEBHOOK_CREDENTIALS", ""),
    },
    # Off without a client id. Its events are signed for the ids of our webhooks, separated by commas.
    "paypal": {
        "url": environment.text("PAYPAL_URL", "https://api-m.paypal.com"),
        "client_id": environment.text("PAYPAL_CLIENT_ID", ""),
        "client_secret": environment.text("PAYPAL_CLIENT_SECRET", ""),
        "webhook_secrets": environment.text("PAYPAL_WEBHOOK_IDS", ""),
        "webhook_verification": environment.text("PAYPAL_WEBHOOK_VERIFICATION", "certificate"),
    },
}

# A function of the host in this project, "package.module.function", that is called with every announcement
# (docs/announcements.md). Empty: none.
PAYMENT_ANNOUNCEMENT_HOOK = environment.text("PAYMENT_ANNOUNCEMENT_HOOK", "")

# Receivers of announcements over HTTP, by name. The variables describe the usual case, one receiver; write the mapping
# out for several. Secrets are separated by commas, the newest first.
_WEBHOOK: dict[str, object] = {
    "url": environment.text("PAYMENT_ANNOUNCEMENT_WEBHOOK_URL", ""),
    "secrets": environment.names("PAYMENT_ANNOUNCEMENT_WEBHOOK_SECRETS"),
}
PAYMENT_ANNOUNCEMENT_WEBHOOKS: dict[str, dict[str, object]] = {"shop": _WEBHOOK} if any(_WEBHOOK.values()) else {}

# One delivery in all, and the part of it until there is a connection. Standard Webhooks recommends 15 to 30 s; a
# receiver that needs longer than 15 should answer first and work afterwards.
PAYMENT_ANNOUNCEMENT_TOTAL_SECONDS = 15
PAYMENT_ANNOUNCEMENT_CONNECT_SECONDS = 5

# How long a delivery belongs to its worker: the whole call, and a lock wait at its worst when it is recorded.
PAYMENT_ANNOUNCEMENT_LEASE_SECONDS = PAYMENT_ANNOUNCEMENT_TOTAL_SECONDS + 15

# A delivery that failed is tried again after the first wait, and every further one waits twice as long, up to the
# longest. The first bridges a restart of the receiver; with the longest, one that was away for hours has everything
# within the hour.
PAYMENT_ANNOUNCEMENT_FIRST_WAIT_SECONDS = 5
PAYMENT_ANNOUNCEMENT_LONGEST_WAIT_SECONDS = 3600

# Counted from the first try: a receiver that broke on a Friday evening can be repaired on Monday.
PAYMENT_ANNOUNCEMENT_GIVE_UP_SECONDS = 3 * 24 * 3600

# How long one run of the task goes on with one destination before it turns to the next; beat starts another run anyway.
PAYMENT_ANNOUNCEMENT_RUN_SECONDS = 5

# How long before its end a customer who has not submitted anything is reminded (docs/reminders.md): long enough to find
# the card, late enough that most have paid. 0: never. A window that is shorter than the usual one has less.
PAYMENT_REMINDER_LEAD_MINUTES = environment.integer(
    "PAYMENT_REMINDER_LEAD_MINUTES", min(5, ORDER_PAYMENT_TIMEOUT_MINUTES // 3)
)

# Whether reminders go out by e-mail, over EMAIL_BACKEND; and the class of the host that sends an SMS,
# "package.module.Class" (payments/messaging/sms.py). Empty: no SMS.
PAYMENT_REMINDER_EMAIL = environment.flag("PAYMENT_REMINDER_EMAIL", default=True)
PAYMENT_SMS_SENDER = environment.text("PAYMENT_SMS_SENDER", "payments.messaging.sms.ConsoleSmsSender")

# Where customers reach Paywindow, for the link that stops the reminders; and the page where they pay.
PAYMENT_PUBLIC_URL = environment.text("PAYMENT_PUBLIC_URL", "http://127.0.0.1:8000")
PAYMENT_PAGE_URL = environment.text("PAYMENT_PAGE_URL", f"{PAYMENT_PUBLIC_URL}/shop/pay/{{payment_id}}/")

# Kinds of orders beside the ordinary one, whose customers the shop wants back on its own pages after a hosted payment
# page (docs/returns.md): "success_url" and "failure_url", with {order_id} and {payment_id} in them, or neither of the
# two. From the environment as JSON.
PAYMENT_ORDER_KINDS = environment.mapping("PAYMENT_ORDER_KINDS")

# The only targets of these: origins, such as https://www.example.com, separated by commas. Nothing that a request says
# is ever a target.
PAYMENT_RETURN_ORIGINS = environment.names("PAYMENT_RETURN_ORIGINS")

# Whether a target may be this machine, without TLS: for a shop that is being developed. Never in production.
PAYMENT_RETURN_TO_LOCALHOST = True

# One message in all: a connection, a greeting, TLS, and the few answers to one mail. Nobody waits longer for it.
PAYMENT_REMINDER_TOTAL_SECONDS = 20

# How long a message belongs to its sender: the whole of it, and recording it at its worst.
PAYMENT_REMINDER_LEASE_SECONDS = PAYMENT_REMINDER_TOTAL_SECONDS + PAYMENT_TRANSACTION_SECONDS + 5

# A message that was provably not sent is sent again after so long, until the window is over.
PAYMENT_REMINDER_RETRY_SECONDS = 20

# How long one run of the task goes on with one channel; a process has one run at a time.
PAYMENT_REMINDER_RUN_SECONDS = 30

# The shop at /shop/, which signs visitors in as throw-away customers; users with a known password; tokens from the
# command line. Never in production.
PAYMENT_DEMO = environment.flag("PAYWINDOW_DEMO", default=False)

# What the demo shop offers besides, of gateways that have their key. `make run` gives one to all of them, for faces of
# the sandbox.
_DEMO_METHODS: dict[str, tuple[str, dict[str, object]]] = {
    "stripe": ("STRIPE_API_KEY", {"gateway": "stripe"}),
    "stripe_page": ("STRIPE_API_KEY", {"gateway": "stripe", "hosted": True}),
    "paypal": ("PAYPAL_CLIENT_ID", {"gateway": "paypal", "hosted": True, "currencies": ["USD", "EUR", "GBP", "JPY"]}),
    "square": ("SQUARE_ACCESS_TOKEN", {"gateway": "square", "currencies": ["USD"]}),
    "square_page": ("SQUARE_ACCESS_TOKEN", {"gateway": "square", "hosted": True, "currencies": ["USD"]}),
    "phonepe": ("PHONEPE_CLIENT_ID", {"gateway": "phonepe", "hosted": True, "currencies": ["INR"]}),
}
if PAYMENT_DEMO:
    PAYMENT_METHODS |= {name: method for name, (key, method) in _DEMO_METHODS.items() if environment.text(key, "")}
