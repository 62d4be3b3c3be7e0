/*
 * Nothing here changes what can happen. It takes away differences that can no longer matter, so that the search meets
 * each situation once; -DUNREDUCED leaves it out.
 */

#if defined(UNREDUCED) || defined(MUTANT_NO_FENCE) || defined(MUTANT_NO_STALE_CHECK) \
	|| defined(MUTANT_DOUBT_UNDOES_SUCCESS)
#define KEEP_ALL
#endif

#ifndef KEEP_ALL

byte place;  /* In the row of workers, within one step. */

/* Neither may it send, nor does it matter that it did not. */
#define CANNOT_SEND(n) (job[n].stage == written && !job[n].fresh && !(job[n].current && ( \
	(job[n].call == first && STATE(job[n].attempt) == charging) || \
	(job[n].call == void && attempt[job[n].attempt].voiding == calling) || \
	(job[n].call == refund && IS_UNSENT(attempt[job[n].attempt].refunding)))))

/* On an attempt that has ended, reduce() would do nothing about it, now or ever. */
#define IS_OLD_NEWS(a, seen) (IS_TERMINAL(a) && !(HAS_ENDED_UNPAID(a) && ( \
	(seen == Captured && attempt[a].refunding == not_owed) || \
	((seen == Authorized || seen == Pending || seen == InDoubt) && attempt[a].voiding == not_owed))))

#define HAS_NOTHING_TO_SAY(n) (job[n].stage == answered && ( \
	(!job[n].current && (job[n].seen == NotFound || job[n].seen == NeverSent)) || \
	(!job[n].current && !IS_OF_ATTEMPT(job[n].call) \
		&& (job[n].seen == InDoubt || job[n].seen == Authorized || job[n].seen == Pending)) || \
	(IS_OF_ATTEMPT(job[n].call) && IS_OLD_NEWS(job[n].attempt, job[n].seen)) || \
	(IS_OF_VOID(job[n].call) && !IS_CALLED(attempt[job[n].attempt].voiding)) || \
	(IS_OF_REFUND(job[n].call) && !IS_CALLED(attempt[job[n].attempt].refunding))))

/* Idle workers are all alike: the calls of those behind move up. */
inline drop_job(n) {
	place = n;
	do
	:: place < WORKERS - 1 ->
		job[place].stage = job[place + 1].stage;
		job[place].call = job[place + 1].call;
		job[place].seen = job[place + 1].seen;
		job[place].attempt = job[place + 1].attempt;
		job[place].current = job[place + 1].current;
		job[place].fresh = job[place + 1].fresh;
		place++
	:: else -> break
	od;
	clear_job(WORKERS - 1)
}

inline drop_useless_jobs() {
	w = WORKERS;
	do
	:: w > 0 ->
		w--;
		if
		:: CANNOT_SEND(w) || HAS_NOTHING_TO_SAY(w) -> drop_job(w)
		:: else
		fi
	:: else -> break
	od;
	w = WORKERS
}

/* What is on its way and would do nothing is as good as lost. */
inline drop_useless_requests(a) {
	charge[a].has_event = charge[a].has_event && !(IS_TERMINAL(a) && (STATE(a) == succeeded || IS_FINAL(a)
		|| (STATUS(a) == captured && attempt[a].refunding != not_owed)
		|| (IS_UNDECIDED(a) && attempt[a].voiding != not_owed)));
	charge[a].late_first = charge[a].late_first && charge[a].saved == Nothing && !charge[a].barred;
	charge[a].late_capture = charge[a].late_capture && STATUS(a) == authorized && charge[a].saved_capture == Nothing;
	charge[a].late_cancel = charge[a].late_cancel && !IS_FINAL(a) && !charge[a].barred;
	charge[a].late_void = charge[a].late_void && (IS_UNDECIDED(a) || (STATUS(a) == no_charge && !charge[a].barred));
	charge[a].late_refund = charge[a].late_refund && !charge[a].saved_refund && HOLDS_MONEY(a)
}

/* The clock of an attempt that has ended stands still, and so does what we know of its key. */
inline stop_clock(a) {
	if
	:: IS_TERMINAL(a) ->
		attempt[a].forgotten = 0;
		attempt[a].cancelling = 0;
		TIME(a) = (STATE(a) == failed && a == LAST -> TIME(a) : IN_WINDOW)
	:: else
	fi
}

#else

#define drop_job(n) clear_job(n)
#define drop_useless_jobs() skip
#define drop_useless_requests(a) skip
#define stop_clock(a) skip

#endif
