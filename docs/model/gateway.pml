/* The gateway: what it holds for each attempt's reference, and what executing a call once does there. */

#define TOTAL 2  /* The order's total, in halves. */

mtype:statuses = { no_charge, pending, authorized, captured, declined, voided, refunded };

typedef Charge {
	mtype:statuses status = no_charge;
	byte taken;
	byte given_back;
	bit stray;                                 /* A second authorisation. */
	bit barred;                                /* The key was cancelled before anything was executed with it. */
	bit has_event;                             /* A webhook is owed. */
	mtype:observations saved = Nothing;        /* The answer under the attempt's key; InDoubt is a saved 500. */
	mtype:observations saved_capture = Nothing;
	bit saved_refund;
	/* Requests whose sender gave up or died, and that are still on their way. */
	bit late_first, late_capture, late_cancel, late_void, late_refund
};

Charge charge[ATTEMPTS];
mtype:observations answer = Nothing;  /* Within one step. */

#define STATUS(a) charge[a].status
#define IS_UNDECIDED(a) (STATUS(a) == pending || STATUS(a) == authorized)
#define IS_FINAL(a) (STATUS(a) == declined || STATUS(a) == voided || STATUS(a) == refunded)
#define HOLDS_MONEY(a) (charge[a].taken > charge[a].given_back)

#define HAS_SENT(n, a) (job[n].stage == sent && job[n].attempt == a)
#define IS_LATE(a) (charge[a].late_first || charge[a].late_capture || charge[a].late_cancel || charge[a].late_void \
	|| charge[a].late_refund)
#if WORKERS > 2
#define IS_ON_ITS_WAY(a) (IS_LATE(a) || HAS_SENT(0, a) || HAS_SENT(1, a) || HAS_SENT(2, a))
#else
#define IS_ON_ITS_WAY(a) (IS_LATE(a) || HAS_SENT(0, a) || HAS_SENT(1, a))
#endif

inline become(a, to) {
	STATUS(a) = to;
	charge[a].has_event = 1
}

/* A lookup by our reference. */
inline look_up(a) {
	if
	:: STATUS(a) == no_charge -> answer = NotFound
	:: STATUS(a) == pending -> answer = Pending
	:: STATUS(a) == authorized -> answer = Authorized
	:: STATUS(a) == captured -> answer = Captured
	:: STATUS(a) == declined -> answer = Declined
	:: STATUS(a) == voided || STATUS(a) == refunded -> answer = Undone
	fi
}

/* Is our refund among the charge's? Else the charge as it stands. */
inline ask(what, a) {
	if
	:: what == ask_refund && charge[a].given_back > 0 -> answer = Undone
	:: else -> look_up(a)
	fi
}

inline take_money(a) {
	become(a, captured);
	charge[a].taken = charge[a].taken + TOTAL;
	answer = Captured
}

/* Charge, or authorise where it can. A gateway that knows neither key nor charge any more does it twice. */
inline make_charge(a) {
	if
#ifdef AUTHORISE
	:: STATUS(a) == no_charge ->
		become(a, authorized);
		answer = Authorized
	:: STATUS(a) != no_charge ->
		charge[a].stray = 1;
		answer = Authorized
#else
	:: take_money(a)
#endif
	:: STATUS(a) == no_charge ->
		become(a, declined);
		answer = Declined
#ifdef PENDINGS
	:: STATUS(a) == no_charge ->
		become(a, pending);
		answer = Pending
#endif
	fi
}

#ifdef MUTANT_NEW_KEY
#define IS_KNOWN(a, what) (charge[a].saved != Nothing && what == first)
#else
#define IS_KNOWN(a, what) (charge[a].saved != Nothing)
#endif

/* One key, one charge, as long as the gateway remembers the key. */
inline execute_charge(a, what) {
	if
	:: charge[a].barred -> answer = Undone
	:: !charge[a].barred && IS_KNOWN(a, what) -> answer = charge[a].saved
	:: !charge[a].barred && (!IS_KNOWN(a, what) || attempt[a].forgotten) ->
		make_charge(a);
		charge[a].saved = answer
#ifdef SAVED_ERRORS
	:: !charge[a].barred && charge[a].saved == Nothing ->
		answer = InDoubt;
		charge[a].saved = InDoubt
	:: !charge[a].barred && charge[a].saved == Nothing ->
		make_charge(a);
		answer = InDoubt;
		charge[a].saved = InDoubt
#endif
	fi
}

/* The same capture again is the same capture. There is none of what is not authorised (any more): 409. */
inline execute_capture(a) {
	if
	:: charge[a].saved_capture != Nothing -> answer = charge[a].saved_capture
	:: charge[a].saved_capture == Nothing && STATUS(a) == authorized ->
		if
		:: take_money(a)
		:: answer = Declined
#ifdef SAVED_ERRORS
		:: answer = InDoubt
		:: take_money(a); answer = InDoubt
#endif
		fi;
		charge[a].saved_capture = answer
	:: charge[a].saved_capture == Nothing && STATUS(a) != authorized -> answer = InDoubt
	fi
}

inline bar_key(a) {
	charge[a].barred = 1;
	answer = Undone
}

inline let_go(a) {
	become(a, voided);
	answer = Undone
}

/* Undo what the key made, or bar it for ever. */
inline execute_cancel(a) {
	if
	:: STATUS(a) == no_charge -> bar_key(a)
	:: IS_UNDECIDED(a) -> let_go(a)
	:: STATUS(a) == captured ->
		become(a, refunded);
		charge[a].given_back = charge[a].taken;
		answer = Undone
	:: IS_FINAL(a) -> look_up(a)
	fi
}

/* By reference; by key where no charge is known and the gateway can do that. */
inline execute_void(a) {
	if
	:: IS_UNDECIDED(a) -> let_go(a)
#ifdef CANCELS_KEYS
	:: STATUS(a) == no_charge -> bar_key(a)
#else
	:: STATUS(a) == no_charge -> look_up(a)
#endif
	:: STATUS(a) == captured || IS_FINAL(a) -> look_up(a)
	fi
}

/* One refund for one key, and never more than is left. */
inline execute_refund(a) {
	if
	:: charge[a].saved_refund -> answer = Undone
	:: !charge[a].saved_refund && !HOLDS_MONEY(a) -> answer = InDoubt
	:: !charge[a].saved_refund && HOLDS_MONEY(a) ->
		charge[a].given_back = (attempt[a].by_staff -> charge[a].given_back + TOTAL / 2 : charge[a].taken);
		if
		:: !HOLDS_MONEY(a) -> become(a, refunded)
		:: else
		fi;
#ifndef MUTANT_REFUND_WITHOUT_KEY
		charge[a].saved_refund = 1;
#endif
		answer = Undone
	fi
}

inline execute(what, a) {
	if
	:: what == first || what == replay -> execute_charge(a, what)
#ifdef AUTHORISE
	:: what == capture -> execute_capture(a)
#endif
#ifdef CANCELS_KEYS
	:: what == cancel_key -> execute_cancel(a)
#endif
	:: what == void -> execute_void(a)
	:: what == refund -> execute_refund(a)
	fi
}

/* The caller gives up, or dies: what it sent is on its way still. */
inline leave_on_its_way(what, a) {
	if
	:: what == first || what == replay -> charge[a].late_first = 1
#ifdef AUTHORISE
	:: what == capture -> charge[a].late_capture = 1
#endif
#ifdef CANCELS_KEYS
	:: what == cancel_key -> charge[a].late_cancel = 1
#endif
	:: what == void -> charge[a].late_void = 1
	:: what == refund -> charge[a].late_refund = 1
	fi
}

/* It arrives, perhaps not for the last time, or never. */
inline execute_late(a) {
	if
	:: charge[a].late_first -> execute_charge(a, first)
	:: charge[a].late_first -> charge[a].late_first = 0
#ifdef AUTHORISE
	:: charge[a].late_capture -> execute_capture(a)
	:: charge[a].late_capture -> charge[a].late_capture = 0
#endif
#ifdef CANCELS_KEYS
	:: charge[a].late_cancel -> execute_cancel(a)
	:: charge[a].late_cancel -> charge[a].late_cancel = 0
#endif
	:: charge[a].late_void -> execute_void(a)
	:: charge[a].late_void -> charge[a].late_void = 0
	:: charge[a].late_refund -> execute_refund(a)
	:: charge[a].late_refund -> charge[a].late_refund = 0
	fi
}
