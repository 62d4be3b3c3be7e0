/* Who acts on the rows: the customer, the workers, the sweep, a person. */

inline commit(a) {
	audit(a);
	stop_clock(a);
	drop_useless_requests(a);
	drop_useless_jobs()
}

proctype Customer() {
end:
	do
	/* lifecycle/submit.py */
	:: atomic {
		STATE(LAST) == open && TIME(LAST) == IN_WINDOW ->
		move(LAST, queued)
	}
	:: atomic {
		STATE(LAST) == open || STATE(LAST) == queued ->
		move(LAST, cancelled);
		close_order()
	}
#if ATTEMPTS > 1
	/* lifecycle/retry.py: a new attempt, a new key, a full window. */
	:: atomic {
		STATE(LAST) == failed && order_status == under_paying && stock == held && attempts_made < ATTEMPTS ->
		attempts_made++;
		STATE(LAST) = open;
		stop_clock(LAST - 1)
	}
#endif
#ifdef STAFF
	/* A refund of half the amount, by a staff member. */
	:: atomic {
		STATE(LAST) == succeeded && attempt[LAST].refunding == not_owed ->
		attempt[LAST].by_staff = 1;
		attempt[LAST].refunding = owed
	}
#endif
	od
}

#ifdef MUTANT_NO_CLAIM_CHECK
#define MAY_CLAIM(a) true
#else
#define MAY_CLAIM(a) (TIME(a) == IN_WINDOW)
#endif

/* lifecycle/claim.py: under the lock, by a clock that is read after it. What was never sent has no key to remember. */
inline claim(a) {
	if
	:: MAY_CLAIM(a) ->
#ifndef MUTANT_CLAIM_AFTER_CALL
		move(a, charging);
#endif
		attempt[a].forgotten = 0;
		next_call = first
	:: !MAY_CLAIM(a) -> expire_attempt(a)
	fi
}

/* lifecycle/resolve.py */
inline take_doubt(a) {
	if
	:: STATE(a) == charging -> move(a, in_doubt)  /* worker_lost */
	:: else
	fi;
	next_call = lookup
}

/*
 * A job may be delivered any number of times, and a lease may lapse at any moment: whoever holds it may be asleep.
 * Idle workers are all alike, so each acts only while those before it are busy.
 */
#define MAY_TAKE(me) (job[me].stage == idle && (me == 0 || job[me - 1].stage != idle))
#define HAS_WORK(a) (STATE(a) == queued || IS_UNRESOLVED(a) || IS_OPEN(attempt[a].voiding) \
	|| IS_OPEN(attempt[a].refunding))

inline take_work(a) {
	if
	:: STATE(a) == queued -> claim(a)
	:: IS_UNRESOLVED(a) -> take_doubt(a)
	:: IS_OPEN(attempt[a].voiding) -> take_void(a)
	:: IS_OPEN(attempt[a].refunding) -> take_refund(a)
	fi
}

inline load_job() {
	what = job[me].call;
	saw = job[me].seen;
	whose = job[me].attempt
}

/* lifecycle/record.py, and the last transactions of resolve.py and compensate.py. */
inline record() {
	if
	:: IS_OF_ATTEMPT(what) -> reduce(whose, saw, what, job[me].current, job[me].fresh)
	:: IS_OF_VOID(what) -> record_void(whose, saw, what, job[me].current, job[me].fresh)
	:: IS_OF_REFUND(what) -> record_refund(whose, saw, job[me].current, job[me].fresh)
	fi
}

/*
 * The next call is written ahead, or the job is over. Taking a doubt and asking are one step here: what the gateway
 * says does not depend on our rows, nor what we write on what happens there meanwhile.
 */
inline begin_or_end() {
	if
	:: next_call == no_call -> drop_job(me)
	:: else ->
		write_ahead(me, whose, next_call);
		if
		:: IS_ASKING(next_call) ->
			ask(next_call, whose);
			answer_with(answer)
		:: else
		fi
	fi
}

inline leave() {
	what = no_call;
	saw = Nothing;
	whose = 0;
	next_call = no_call;
	answer = Nothing
}

#ifdef MUTANT_NO_STALE_CHECK
#define MAY_SEND(me) true
#else
#define MAY_SEND(me) job[me].fresh
#endif

inline answer_with(it) {
	job[me].seen = it;
	job[me].stage = answered
}

proctype Worker(byte me) {
	mtype:calls what = no_call;
	mtype:observations saw = Nothing;
	byte whose;
end:
	do
	:: atomic {
		if
		:: MAY_TAKE(me) && HAS_WORK(0) ->
			take_work(0);
			begin_or_end()
#if ATTEMPTS > 1
		:: MAY_TAKE(me) && HAS_WORK(1) ->
			whose = 1;
			take_work(1);
			begin_or_end()
#endif
		/* It cannot be sent: the clock was read too long ago, or the connection is refused. */
		:: job[me].stage == written ->
			answer_with(NeverSent)
		:: job[me].stage == written && MAY_SEND(me) ->
			assert(IS_IN_TIME(job[me].call, job[me].attempt));  /* property: in time */
			job[me].stage = sent;
			job[me].fresh = 0
		/* The gateway executes it. The answer waits for this worker, however long it sleeps. */
		:: job[me].stage == sent ->
			load_job();
			execute(what, whose);
			answer_with(answer)
		/* No answer in time, whether it will be executed or not. */
		:: job[me].stage == sent ->
			load_job();
			leave_on_its_way(what, whose);
			answer_with(InDoubt)
		:: job[me].stage == answered ->
			load_job();
			record();
			begin_or_end()
		/* Killed. Earlier it would be the same as here, with an answer of NeverSent or InDoubt that nobody hears. */
		:: job[me].stage == answered ->
			drop_job(me)
		fi;
		commit(whose);
		leave()
	}
	od
}

#ifdef MUTANT_SWEEP_CHARGING
#define IS_SWEPT(a) (STATE(a) == open || STATE(a) == queued || STATE(a) == charging)
#else
#define IS_SWEPT(a) (STATE(a) == open || STATE(a) == queued)
#endif

proctype Sweep() {
end:
	do
	:: atomic {
		if
		/* lifecycle/expire.py */
		:: IS_SWEPT(LAST) && TIME(LAST) != IN_WINDOW ->
			expire_attempt(LAST)
		:: STATE(LAST) == failed && order_status == under_paying && TIME(LAST) != IN_WINDOW ->
			close_order()
#ifdef REVIEWS
		/* After 24 h the stock goes back while the attempt stays in doubt. */
		:: (IS_UNRESOLVED(LAST) || STATE(LAST) == needs_review) && TIME(LAST) == TOO_LATE && stock == held ->
			stock = released
#endif
		fi;
		commit(LAST)
	}
	od
}

#ifdef REVIEWS
proctype Person() {
end:
	do
	:: atomic {
		if
		/* After 24 h of doubt asking ends. */
		:: IS_UNRESOLVED(LAST) && attempt[LAST].quiet ->
			if
			:: STATE(LAST) != in_doubt -> move(LAST, in_doubt)
			:: else
			fi;
			move(LAST, needs_review)
		:: attempt[LAST].voiding == doubtful ->
			attempt[LAST].voiding = in_review
		:: attempt[LAST].refunding == doubtful ->
			attempt[LAST].refunding = in_review
		/* A person looks into the gateway's books and decides, with a reason. */
		:: STATE(LAST) == needs_review && STATUS(LAST) == captured && order_status == under_paying && stock == held ->
			succeed(LAST)
		:: STATE(LAST) == needs_review ->
			move(LAST, failed)
#ifndef MUTANT_REVIEW_LEAVES_MONEY
			;
			owe(attempt[LAST].voiding)  /* By key: make sure that nothing remains. */
#endif
		fi;
		commit(LAST)
	}
	od
}
#endif
