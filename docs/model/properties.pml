/* What must hold after every step, and when nothing can go on any more; more stands where it is decided (rows.pml). */

#define IS_IN_REVIEW(a) (STATE(a) == needs_review || attempt[a].voiding == in_review || attempt[a].refunding == in_review)
#define IS_SETTLED(a) (!IS_OPEN(attempt[a].voiding) && !IS_OPEN(attempt[a].refunding))
#define TO_STAY(a) (STATE(a) == succeeded -> TOTAL : 0)
#define OF_STAFF(a) (attempt[a].by_staff -> TOTAL / 2 : 0)

/* With SHORT_HORIZON money may come that we cannot know of before the gateway tells us. */
#ifdef SHORT_HORIZON
#define IS_KNOWN_OF(a) true
#else
#define IS_KNOWN_OF(a) (!HAS_ENDED_UNPAID(a) || !(HOLDS_MONEY(a) || IS_UNDECIDED(a)) || !IS_SETTLED(a) || IS_IN_REVIEW(a))
#endif

/* After every transaction, and after every execution at the gateway. */
inline audit(a) {
	assert(charge[a].taken <= TOTAL && !charge[a].stray);  /* property: charged once */
	assert(charge[a].given_back <= charge[a].taken);  /* property: refunded once */
	assert(!attempt[a].by_staff || charge[a].given_back <= OF_STAFF(a));  /* property: refunded once */
	assert(STATE(a) != succeeded || (STATUS(a) == captured && charge[a].taken == TOTAL
		&& charge[a].given_back <= OF_STAFF(a)));  /* property: success stands */
	assert(IS_KNOWN_OF(a))  /* property: nothing lost */
}

/* When nothing can go on any more. */
inline audit_end(a) {
	assert(IS_TERMINAL(a) || STATE(a) == needs_review);  /* property: comes to rest */
	assert(IS_SETTLED(a));  /* property: comes to rest */
	assert(IS_IN_REVIEW(a) || !IS_UNDECIDED(a));  /* property: no hold left */
	assert(IS_IN_REVIEW(a) || charge[a].taken - charge[a].given_back == TO_STAY(a) - OF_STAFF(a));  /* property: nothing lost */
	standing = standing + (IS_IN_REVIEW(a) -> 0 : charge[a].taken - charge[a].given_back);
	successes = successes + (STATE(a) == succeeded -> 1 : 0)
}

proctype Auditor() {
	byte standing;
	byte successes;
end:
	atomic {
		timeout ->
		audit_end(0);
#if ATTEMPTS > 1
		if
		:: attempts_made > 1 -> audit_end(1)
		:: else
		fi;
#endif
		assert(standing <= TOTAL);  /* property: charged once */
		assert(successes == (order_status == paid -> 1 : 0));  /* property: one success */
		assert((order_status == paid) == (stock == consumed));  /* property: stock once */
		assert(order_status != closed || stock == released);  /* property: stock once */
		assert(order_status != under_paying || STATE(LAST) == needs_review)  /* property: comes to rest */
	}
}
