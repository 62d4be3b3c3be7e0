"""Of the gateways and what came with them."""

from tests.mutants.mutant import Mutant

GATEWAYS = (
    Mutant(
        "an approved payment is asked for under a forgotten key",
        "payments/domain/reduce.py",
        "if seen.is_approved and s.may_replay and s.is_window_open",
        "if seen.is_approved and s.is_window_open",
        ("tests/unit/test_reduce_rules.py",),
    ),
    Mutant(
        "an SDK may send a second request",
        "payments/gateways/sdk.py",
        "if asking.result is not None:",
        "if False:",
        ("tests/contract/test_sdk.py",),
    ),
    Mutant(
        "a card number is taken for a token",
        "payments/lifecycle/submit.py",
        "if looks_like_card_number(payment_token):",
        "if False:",
        ("tests/integration/test_hosted_methods.py",),
    ),
    Mutant(
        "an event that names no payment of ours finds none by the gateway's id",
        "payments/lifecycle/hear.py",
        'return ours.filter(gateway_reference=row.charge_reference).order_by("-opened_at").first()',
        "return None",
        ("tests/integration/test_replay_events.py",),
    ),
    Mutant(
        "a charge of another payment is believed at Stripe",
        "payments/gateways/stripe/answers.py",
        "return labels.get(REFERENCE) == reference and MADE_BY not in labels",
        "return MADE_BY not in labels",
        ("tests/contract/stripe", "tests/contract/suite"),
    ),
    Mutant(
        "a refund that Square has not completed counts",
        "payments/gateways/square/adapter.py",
        "if returned != request.amount_minor:",
        "if False:",
        ("tests/contract/square",),
    ),
    Mutant(
        "a refund at Stripe that is pending counts",
        "payments/gateways/stripe/intents.py",
        'if status == "succeeded" and is_amount(amount):',
        "if is_amount(amount):",
        ("tests/contract/stripe",),
    ),
    Mutant(
        "a charge that was seen is proven away",
        "payments/domain/reduce.py",
        "if s.is_absence_proven and not is_known:",
        "if s.is_absence_proven:",
        ("tests/unit/test_reduce_rules.py",),
    ),
    Mutant(
        "a refund that failed later is noticed by nobody",
        "payments/lifecycle/reopen.py",
        "if row is not None:",
        "if False:",
        ("tests/integration/test_reopen.py",),
    ),
    Mutant(
        "an answer from before a refund opens it again",
        "payments/lifecycle/reopen.py",
        "closed_at__lt=asked_at,",
        "closed_at__isnull=False,",
        ("tests/integration/test_reopen.py",),
    ),
    Mutant(
        "a refund that failed is asked for again under its old key",
        "payments/lifecycle/compensate.py",
        "if seen_at is None or seen_at < ended_at or",
        "if True or",
        ("tests/integration/test_reopen.py",),
    ),
    Mutant(
        "a replayed event is settled by an answer from before it",
        "payments/lifecycle/hear.py",
        "compensation=None, started_at__gte=row.due_since)",
        "compensation=None, started_at__gte=row.received_at)",
        ("tests/integration/test_replay_events.py",),
    ),
    Mutant(
        "that nothing is found settles word of money",
        "payments/lifecycle/hear.py",
        "_NO_ANSWERS_TO_MONEY if row.tells == Tells.MONEY else _NO_ANSWERS",
        "_NO_ANSWERS",
        ("tests/integration/test_event_questions.py",),
    ),
    Mutant(
        "a charge that lands after it was let go is waited for nowhere",
        "payments/domain/giveback.py",
        "if isinstance(seen, Undone) and s.may_still_land and",
        "if False and",
        ("tests/integration/test_reopen.py",),
    ),
)
