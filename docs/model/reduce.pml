/*
 * payments/domain/reduce.py and lifecycle/record.py: from one observation and the situation to what follows.
 * `next_call` is the call that the same transaction begins, written ahead.
 */

mtype:calls next_call = no_call;

#ifdef MUTANT_CANCEL_REVOCABLE
#define IS_GIVEN_UP(a) false
#else
#define IS_GIVEN_UP(a) attempt[a].cancelling
#endif

#define CAN_STILL_PAY(a) (order_status == under_paying && stock == held && TIME(a) < TOO_LATE && !IS_GIVEN_UP(a))

#ifdef MUTANT_NO_CAPTURE_CHECK
#define MAY_CAPTURE(a) (!IS_GIVEN_UP(a))
#else
#define MAY_CAPTURE(a) (TIME(a) < IN_ALLOWANCE && !IS_GIVEN_UP(a))
#endif

#define MAY_CONFIRM(a) (TIME(a) == IN_WINDOW && !IS_GIVEN_UP(a))

/* A replay moves money: in the window, and while the gateway takes it for the same request. */
#if defined(NO_REPLAYS)
#define MAY_REPLAY(a) false
#elif defined(MUTANT_REPLAY_AFTER_EXPIRY)
#define MAY_REPLAY(a) (!attempt[a].forgotten && !attempt[a].cancelling)
#elif defined(MUTANT_REPLAY_FORGOTTEN_KEY)
#define MAY_REPLAY(a) (TIME(a) == IN_WINDOW && !attempt[a].cancelling)
#else
#define MAY_REPLAY(a) (TIME(a) == IN_WINDOW && !attempt[a].forgotten && !attempt[a].cancelling)
#endif

inline reduce_captured(a) {
	if
	:: (IS_UNRESOLVED(a) || STATE(a) == needs_review) && CAN_STILL_PAY(a) -> succeed(a)
	:: IS_UNRESOLVED(a) && !CAN_STILL_PAY(a) ->
		end_unpaid(a);
#ifndef MUTANT_LATE_SUCCESS_DROPPED
		owe(attempt[a].refunding)
#endif
#ifdef MUTANT_SECOND_SUCCESS_KEPT
	:: HAS_ENDED_UNPAID(a) && order_status != paid -> owe(attempt[a].refunding)
#else
	:: HAS_ENDED_UNPAID(a) -> owe(attempt[a].refunding)
#endif
	:: else  /* It succeeded with this charge; or a person decides. */
	fi
}

inline reduce_authorized(a) {
	if
	:: IS_UNRESOLVED(a) && MAY_CAPTURE(a) -> next_call = capture
	:: IS_UNRESOLVED(a) && !MAY_CAPTURE(a) ->
		end_unpaid(a);
		owe(attempt[a].voiding)
	:: HAS_ENDED_UNPAID(a) -> owe(attempt[a].voiding)
	:: else
	fi
}

inline reduce_pending(a) {
	if
	:: (STATE(a) == charging || STATE(a) == in_doubt) && MAY_CONFIRM(a) -> move(a, confirming)
	:: IS_UNRESOLVED(a) && !MAY_CONFIRM(a) ->
		end_unpaid(a);
		owe(attempt[a].voiding)
	:: HAS_ENDED_UNPAID(a) -> owe(attempt[a].voiding)
	:: else
	fi
}

/* A declined capture leaves the hold behind. */
inline reduce_declined(a, what) {
	if
	:: IS_UNRESOLVED(a) ->
		move(a, failed);
#ifndef MUTANT_DECLINED_CAPTURE_KEEPS_HOLD
		if
		:: what == capture -> owe(attempt[a].voiding)
		:: else
		fi
#endif
	:: else
	fi
}

/* No answer is no permission to charge again. On an attempt that has ended: make sure that nothing remains. */
inline reduce_in_doubt(a) {
	if
#ifdef MUTANT_TIMEOUT_IS_FAILURE
	:: STATE(a) == charging -> end_unpaid(a)
#else
	:: STATE(a) == charging -> move(a, in_doubt)
#endif
	:: HAS_ENDED_UNPAID(a) -> owe(attempt[a].voiding)
#ifdef MUTANT_DOUBT_UNDOES_SUCCESS
	:: STATE(a) == succeeded -> owe(attempt[a].voiding)
#endif
	:: else
	fi
}

/* Nothing was there when we asked. It may come yet, unless the key is barred or the horizon was over. */
inline reduce_not_found(a, is_fresh) {
	if
#ifdef MUTANT_NOT_FOUND_IS_FAILURE
	:: IS_UNRESOLVED(a) -> end_unpaid(a)
#else
	:: IS_UNRESOLVED(a) && MAY_REPLAY(a) -> next_call = replay
#ifdef CANCELS_KEYS
	:: IS_UNRESOLVED(a) && !MAY_REPLAY(a) ->
		attempt[a].cancelling = 1;
		next_call = cancel_key
#else
#ifdef MUTANT_HORIZON_IGNORED
	:: IS_UNRESOLVED(a) && !MAY_REPLAY(a) -> end_unpaid(a)
#else
	:: IS_UNRESOLVED(a) && !MAY_REPLAY(a) && attempt[a].quiet && is_fresh -> end_unpaid(a)
#endif
#endif
#endif
	:: else
	fi
}

inline reduce_never_sent(a, what) {
	if
	:: what == first && STATE(a) == charging -> move(a, queued)
	:: else
	fi
}

inline reduce(a, seen, what, is_current, is_fresh) {
	if
#ifdef MUTANT_NO_FENCE
	:: seen == NeverSent -> STATE(a) = queued
	:: seen == InDoubt -> STATE(a) = in_doubt
#else
	:: seen == NeverSent && is_current -> reduce_never_sent(a, what)
	:: seen == InDoubt -> reduce_in_doubt(a)
#endif
	:: seen == Captured -> reduce_captured(a)
	:: seen == Authorized -> reduce_authorized(a)
	:: seen == Pending -> reduce_pending(a)
	:: seen == Declined -> reduce_declined(a, what)
	:: seen == NotFound && is_current -> reduce_not_found(a, is_fresh)
	:: seen == Undone && IS_UNRESOLVED(a) -> end_unpaid(a)
	:: else
	fi
}
