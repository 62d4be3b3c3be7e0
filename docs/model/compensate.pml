/*
 * lifecycle/compensate.py: a hold or money that must not stay goes back, by calls with a key of their own. `calling` is
 * the first call; while a call is repeated after a doubt, the row stays `doubtful` here, so that a repeat that was never
 * sent does not make it `owed`: the call before it may still be executed.
 */

inline take_void(a) {
	if
	:: attempt[a].voiding == owed ->
		attempt[a].voiding = calling;
		next_call = void
	:: else ->
		attempt[a].voiding = doubtful;
		next_call = ask_void
	fi
}

inline take_refund(a) {
	if
	:: attempt[a].refunding == owed ->
		attempt[a].refunding = calling;
		next_call = refund
	:: else ->
		attempt[a].refunding = doubtful;
		next_call = ask_refund
	fi
}

/* Whoever learns how it ended may say so; that it is open only the latest may say. */
inline record_void(a, seen, what, is_current, is_fresh) {
	if
	:: (seen == Undone || seen == Declined) && IS_CALLED(attempt[a].voiding) -> attempt[a].voiding = done
	:: seen == Captured && IS_CALLED(attempt[a].voiding) ->  /* captured_meanwhile */
		attempt[a].voiding = done;
#ifndef MUTANT_CAPTURED_MEANWHILE_IGNORED
		owe(attempt[a].refunding)
#endif
	:: seen == NeverSent && is_current && attempt[a].voiding == calling -> attempt[a].voiding = owed
	:: seen == InDoubt && is_current && attempt[a].voiding == calling -> attempt[a].voiding = doubtful
	:: (seen == Authorized || seen == Pending) && is_current -> next_call = void
#ifdef CANCELS_KEYS
	:: seen == NotFound && is_current -> next_call = void
#else
	:: seen == NotFound && is_current && what == void -> attempt[a].voiding = doubtful
	:: seen == NotFound && is_current && what == ask_void && attempt[a].quiet && is_fresh -> attempt[a].voiding = done
#endif
	:: else
	fi
}

#ifdef MUTANT_OLD_ANSWER_COUNTS
#define COUNTS(is_fresh) true
#else
#define COUNTS(is_fresh) is_fresh
#endif

#ifdef MUTANT_REPEAT_NEVER_SENT_IS_OWED
#define IS_UNSENT(debt) IS_CALLED(debt)
#else
#define IS_UNSENT(debt) (debt == calling)
#endif

inline record_refund(a, seen, is_current, is_fresh) {
	if
	:: seen == Undone && IS_CALLED(attempt[a].refunding) -> attempt[a].refunding = done
	:: seen == NeverSent && is_current && IS_UNSENT(attempt[a].refunding) -> attempt[a].refunding = owed
	:: seen == InDoubt && is_current && attempt[a].refunding == calling -> attempt[a].refunding = doubtful
	:: seen == Captured && is_current && COUNTS(is_fresh) -> next_call = refund
	:: else
	fi
}
