/*
 * The payment protocol: one order of one customer, its attempts, the gateway, and everybody who acts on them.
 *
 * README.md says what this holds, what it leaves out and how it maps to the code. Every `atomic` is one transaction
 * under the order's lock, or one thing that happens at the gateway or on the way to it. Between two of them anything
 * may come, and anybody may stop, for good or for a while.
 *
 * A scenario turns features on: AUTHORISE (authorise, then capture), CANCELS_KEYS (the gateway can cancel a call by its
 * key), NO_REPLAYS (it can only be asked), PENDINGS (charges that confirm later), SAVED_ERRORS (a 500 that is replayed),
 * FORGETS (keys are forgotten), QUIET (a horizon after which nothing is on its way any more), SHORT_HORIZON (it was too
 * short), REVIEWS (asking ends, a person decides), STAFF (refunds of half the amount), SLOW_WEBHOOKS (what a webhook's
 * worker saw may be old when it is reduced). A mutant breaks one rule: MUTANT_...
 */

#ifndef ATTEMPTS
#define ATTEMPTS 1
#endif
#ifndef WORKERS
#define WORKERS 2
#endif

#include "rows.pml"
#include "gateway.pml"
#include "reduce.pml"
#include "compensate.pml"
#include "properties.pml"
#include "reductions.pml"
#include "actors.pml"
#include "world.pml"

init {
	atomic {
		attempt[0].state = open;
		attempts_made = 1;
		run Customer();
		run Worker(0);
		run Worker(1);
#if WORKERS > 2
		run Worker(2);
#endif
		run Sweep();
		run Time();
		run Network();
		run Webhook();
#ifdef REVIEWS
		run Person();
#endif
		run Auditor()
	}
}
