/* What happens by itself: time, the network, webhooks. */

/* Too much time for whoever has not sent yet. */
inline grow_stale(a) {
	for (w : 0 .. WORKERS - 1) {
		if
		:: job[w].stage == written && job[w].attempt == a -> job[w].fresh = 0
		:: else
		fi
	}
}

/* So much time that answers are old as well. */
inline grow_old(a) {
	for (w : 0 .. WORKERS - 1) {
		if
		:: job[w].stage != idle && job[w].attempt == a -> job[w].fresh = 0
		:: else
		fi
	}
}

#define HAS_TIME_LEFT(a) (a < attempts_made && ((!IS_TERMINAL(a) && TIME(a) < TOO_LATE) \
	|| (STATE(a) == failed && a == LAST && TIME(a) == IN_WINDOW)))
#define HAS_HORIZON(a) (!attempt[a].quiet && (IS_UNRESOLVED(a) || IS_OPEN(attempt[a].voiding)))

/* What was sent has arrived, or never will. */
#ifdef SHORT_HORIZON
#define MAY_BE_QUIET(a) HAS_HORIZON(a)
#else
#define MAY_BE_QUIET(a) (HAS_HORIZON(a) && !IS_ON_ITS_WAY(a))
#endif

/* Keys are remembered longer than anything is on its way. */
#define MAY_FORGET(a) (!attempt[a].forgotten && IS_UNRESOLVED(a) && !IS_ON_ITS_WAY(a))
#define MAY_FORGET_REFUND(a) (charge[a].saved_refund && IS_CALLED(attempt[a].refunding) && !IS_ON_ITS_WAY(a))

proctype Time() {
end:
	do
	:: atomic {
		if
		:: HAS_TIME_LEFT(0) ->
			TIME(0)++;
			grow_stale(0)
#if ATTEMPTS > 1
		:: HAS_TIME_LEFT(1) ->
			TIME(1)++;
			grow_stale(1)
#endif
#ifdef QUIET
		:: MAY_BE_QUIET(0) ->
			attempt[0].quiet = 1;
			grow_old(0)
#if ATTEMPTS > 1
		:: MAY_BE_QUIET(1) ->
			attempt[1].quiet = 1;
			grow_old(1)
#endif
#endif
#ifdef FORGETS
		:: MAY_FORGET(0) ->
			attempt[0].forgotten = 1;
			grow_old(0)
#endif
#ifdef STAFF
		:: MAY_FORGET_REFUND(0) ->
			charge[0].saved_refund = 0;
			grow_old(0)
#endif
		fi;
		drop_useless_jobs()
	}
	od
}

/* A pending charge is decided. */
inline decide(a) {
	if
#ifdef AUTHORISE
	:: become(a, authorized)
#else
	:: take_money(a)
#endif
	:: become(a, declined)
	fi
}

proctype Network() {
	byte whose;
end:
	do
	:: atomic {
		if
		:: IS_LATE(0) ->
			execute_late(whose)
#if ATTEMPTS > 1
		:: IS_LATE(1) ->
			whose = 1;
			execute_late(whose)
#endif
#ifdef PENDINGS
		:: STATUS(0) == pending ->
			decide(0)
#endif
#if defined(PENDINGS) || defined(AUTHORISE)
		/* What nobody takes runs out. */
		:: IS_UNDECIDED(0) && (TIME(0) != IN_WINDOW || IS_TERMINAL(0)) ->
			become(0, voided)
#endif
		fi;
		commit(whose);
		whose = 0;
		answer = Nothing
	}
	od
}

/* A webhook's worker fetches the charge as it is now. */
inline fetch(a) {
	whose = a;
	look_up(a);
	saw = answer;
	answer = Nothing;
	/* It comes again, or this was the last time. */
	if
	:: true
	:: charge[a].has_event = 0
	fi
}

inline reduce_event() {
	reduce(whose, saw, lookup, 0, 0);
	commit(whose);
	saw = Nothing;
	whose = 0;
	next_call = no_call  /* A capture is left to the caller or the resolver. */
}

/* An event may be lost, unless nothing else would tell us. */
proctype Webhook() {
	mtype:observations saw = Nothing;
	byte whose;
end:
	do
	:: atomic {
		if
		:: charge[0].has_event && saw == Nothing ->
			fetch(0)
#if ATTEMPTS > 1
		:: charge[1].has_event && saw == Nothing ->
			fetch(1)
#endif
		fi
#ifndef SLOW_WEBHOOKS
		;
		reduce_event()
#endif
	}
#ifdef SLOW_WEBHOOKS
	:: atomic {
		saw != Nothing ->
		reduce_event()
	}
#endif
#ifndef SHORT_HORIZON
	:: atomic { charge[0].has_event -> charge[0].has_event = 0 }
#if ATTEMPTS > 1
	:: atomic { charge[1].has_event -> charge[1].has_event = 0 }
#endif
#endif
	od
}
