"""How soon whoever waits for a payment should ask again: often while something happens, seldom while nothing does."""

import math

from payments.domain.states import AttemptState

# Nothing changes before the customer acts or the deadline comes, and both are seen by whoever counts down.
OPEN_SECONDS = 5
# A charge takes some seconds.
PROCESSING_SECONDS = 1
# The customer is at the gateway's page or the bank's.
CONFIRMING_SECONDS = 2
# The gateway is asked after five seconds, and then ever more seldom.
DOUBT_SECONDS = 5
# A person looks at it.
REVIEW_SECONDS = 60


def retry_after_seconds(state: AttemptState, *, is_ended: bool, left_seconds: float) -> int | None:
    """Say in how many seconds an attempt that reads as `state` is worth another question; None for never again.

    `is_ended` tells whether the row itself has come to its end: past its deadline an attempt reads as expired before
    the sweep has ended it. `left_seconds` is what is left of its window.
    """
    match state:
        case _ if is_ended:
            return None
        case AttemptState.OPEN:
            return max(1, min(OPEN_SECONDS, math.ceil(left_seconds)))
        case AttemptState.CONFIRMING:
            return CONFIRMING_SECONDS
        case AttemptState.IN_DOUBT:
            return DOUBT_SECONDS
        case AttemptState.NEEDS_REVIEW:
            return REVIEW_SECONDS
        case AttemptState.QUEUED | AttemptState.CHARGING | AttemptState.EXPIRED:
            return PROCESSING_SECONDS
        case AttemptState.SUCCEEDED | AttemptState.FAILED | AttemptState.CANCELLED:
            message = f"{state} is an end"
            raise ValueError(message)
