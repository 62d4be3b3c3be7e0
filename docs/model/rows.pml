/* The rows in PostgreSQL, the time they are judged by, and what a worker knows of its call. */

/* payments/domain/states.py */
mtype:states = {
	unopened, open, queued, charging, confirming, in_doubt, needs_review, succeeded, failed, expired, cancelled
};
mtype:orders = { under_paying, paid, closed };
mtype:stocks = { held, consumed, released };

/* A compensation's row. */
mtype:debts = { not_owed, owed, calling, doubtful, done, in_review };

/* What is asked of the gateway; the last four for a compensation. */
mtype:calls = { no_call, first, replay, capture, cancel_key, lookup, void, ask_void, refund, ask_refund };

/* payments/domain/outcomes.py. `Undone` is barred, voided, refunded or expired. */
mtype:observations = { Nothing, Captured, Authorized, Pending, Declined, NeverSent, InDoubt, NotFound, Undone };

/* Where a worker stands with its call. */
mtype:stages = { idle, written, sent, answered };

/* The time of an attempt, by its own deadline. */
#define IN_WINDOW 0
#define IN_GRACE 1      /* At or after expires_at. */
#define IN_ALLOWANCE 2  /* At or after expires_at + grace. */
#define TOO_LATE 3      /* At or after expires_at + grace + the late allowance. */

typedef Attempt {
	mtype:states state = unopened;
	byte time;
	bit forgotten;   /* The gateway may have forgotten the key by now, and we know. */
	bit quiet;       /* The horizon since the last call that moves money is over. */
	bit cancelling;  /* A call that cancels the key was written ahead. */
	mtype:debts voiding = not_owed;
	mtype:debts refunding = not_owed;
	bit by_staff     /* The refund is half the amount of a succeeded attempt. */
};

/* A worker's call. A new claim takes `current` from all others: that is the fence. */
typedef Job {
	mtype:stages stage = idle;
	mtype:calls call = no_call;
	mtype:observations seen = Nothing;
	byte attempt;
	bit current;
	bit fresh        /* No time has passed since it was written; once answered: the answer is not old. */
};

Attempt attempt[ATTEMPTS];
byte attempts_made;
mtype:orders order_status = under_paying;
mtype:stocks stock = held;
Job job[WORKERS];
byte w;  /* Counts workers, within one step. */

#define STATE(a) attempt[a].state
#define TIME(a) attempt[a].time
#define LAST (attempts_made - 1)
#define IS_UNRESOLVED(a) (STATE(a) == charging || STATE(a) == confirming || STATE(a) == in_doubt)
#define HAS_ENDED_UNPAID(a) (STATE(a) == failed || STATE(a) == expired || STATE(a) == cancelled)
#define IS_TERMINAL(a) (STATE(a) == succeeded || HAS_ENDED_UNPAID(a))
#define IS_OPEN(debt) (debt == owed || debt == calling || debt == doubtful)
#define IS_CALLED(debt) (debt == calling || debt == doubtful)

#define IS_OF_ATTEMPT(c) (c == first || c == replay || c == capture || c == cancel_key || c == lookup)
#define IS_OF_VOID(c) (c == void || c == ask_void)
#define IS_OF_REFUND(c) (c == refund || c == ask_refund)
#define IS_ASKING(c) (c == lookup || c == ask_void || c == ask_refund)
#define HAVE_ONE_FENCE(c, d) ((IS_OF_ATTEMPT(c) && IS_OF_ATTEMPT(d)) || (IS_OF_VOID(c) && IS_OF_VOID(d)) \
	|| (IS_OF_REFUND(c) && IS_OF_REFUND(d)))

/* No charge or authorisation at or after expires_at, no capture at or after expires_at + grace. */
#define IS_IN_TIME(c, a) (((c != first && c != replay) || TIME(a) == IN_WINDOW) && (c != capture || TIME(a) < IN_ALLOWANCE))

/* The trigger on the attempts' table: what states.py allows and nothing else. */
#define IS_ALLOWED(from, to) ( \
	(from == open && (to == queued || to == expired || to == cancelled)) || \
	(from == queued && (to == charging || to == expired || to == cancelled)) || \
	(from == charging && (to == succeeded || to == failed || to == confirming || to == in_doubt || to == expired \
		|| to == queued)) || \
	(from == confirming && (to == succeeded || to == failed || to == expired || to == in_doubt)) || \
	(from == in_doubt && (to == succeeded || to == failed || to == expired || to == confirming \
		|| to == needs_review)) || \
	(from == needs_review && (to == succeeded || to == failed)))

inline move(a, to) {
	assert(IS_ALLOWED(STATE(a), to));  /* property: transition */
	STATE(a) = to
}

inline close_order() {
	order_status = closed;
	if
	:: stock == held -> stock = released
	:: else
	fi
}

inline expire_attempt(a) {
	move(a, expired);
	close_order()
}

/* Provably no money stays: failed while the window is open, so that the customer may try again; else expired. */
inline end_unpaid(a) {
	if
	:: TIME(a) == IN_WINDOW -> move(a, failed)
	:: else -> expire_attempt(a)
	fi
}

/* The order is paid and its stock consumed, in the same transaction. */
inline succeed(a) {
	assert(order_status == under_paying);  /* property: one success */
	assert(stock == held);  /* property: stock once */
	move(a, succeeded);
	order_status = paid;
	stock = consumed
}

/* Unique per charge and kind: owed twice is owed once. */
inline owe(debt) {
	if
	:: debt == not_owed -> debt = owed
	:: else
	fi
}

/*
 * A lease is longer than a call may take from its clock reading to its first byte. So whoever has not sent when its
 * lease is taken over is too late to send, and what it asked is no longer an answer to anything.
 */
inline lose_fence(me, a, what) {
	for (w : 0 .. WORKERS - 1) {
		if
		:: w != me && job[w].stage != idle && job[w].attempt == a && HAVE_ONE_FENCE(job[w].call, what) ->
			job[w].current = 0;
			job[w].fresh = 0
		:: else
		fi
	}
}

/* Fence + 1, lease, GatewayCall: committed before the call. */
inline write_ahead(me, a, what) {
	lose_fence(me, a, what);
	assert(IS_IN_TIME(what, a));  /* property: in time */
	job[me].stage = written;
	job[me].call = what;
	job[me].seen = Nothing;
	job[me].attempt = a;
	job[me].current = 1;
	job[me].fresh = 1;
	if
	:: what == first || what == replay || what == capture || what == cancel_key -> attempt[a].quiet = 0
	:: else
	fi
}

inline clear_job(n) {
	job[n].stage = idle;
	job[n].call = no_call;
	job[n].seen = Nothing;
	job[n].attempt = 0;
	job[n].current = 0;
	job[n].fresh = 0
}
