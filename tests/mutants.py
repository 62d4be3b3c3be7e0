"""Breaks one guard after the other, one line each, and sees that the tests catch it: `make mutants`.

Each mutant is tried in a copy of the checkout; the working tree is never touched. A mutant that survives, or whose line
is no longer there, ends the run with exit code 1.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
LONGEST_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Mutant:
    """One guard, the line that is it, what it is broken to, and where that has to be noticed."""

    name: str
    path: str
    line: str
    broken: str
    tests: tuple[str, ...]


MUTANTS = (
    Mutant(
        "claim without looking at the clock after its writes",
        "payments/lifecycle/claim.py",
        "if guard.judge(attempt, reading=latest).ruling is not Ruling.CHARGE:",
        "if False:",
        ("tests/concurrency/test_locks.py",),
    ),
    Mutant(
        "capture without asking the clock again",
        "payments/domain/reduce.py",
        "    if s.grace is Ruling.EXPIRE:",
        "    if False:",
        ("tests/unit/test_reduce.py", "tests/unit/test_reduce_rules.py"),
    ),
    Mutant(
        "an old claim counts like the latest",
        "payments/lifecycle/record.py",
        "is_current = attempt.fence == call.fence and is_leased and state not in TERMINAL",
        "is_current = is_leased and state not in TERMINAL",
        ("tests/integration/test_zombies.py",),
    ),
    Mutant(
        "money that comes after the end is dropped",
        "payments/domain/reduce.py",
        "    if s.state in TERMINAL or is_unasked:\n        return Verdict(Leave(), owed)",
        "    if s.state in TERMINAL or is_unasked:\n        return Verdict(Leave())",
        ("tests/unit/test_reduce.py",),
    ),
    Mutant(
        "not found is taken for a failure",
        "payments/domain/reduce.py",
        "        return Verdict(BeginCancel())",
        "        return Verdict(_ended(FailureCode.GATEWAY_ERROR, s))",
        ("tests/unit/test_reduce.py", "tests/unit/test_reduce_rules.py"),
    ),
    Mutant(
        "a repeat has a new key",
        "payments/lifecycle/calls.py",
        "    return ChargeRequest(\n        idempotency_key=attempt.public_id,",
        '    return ChargeRequest(\n        idempotency_key=f"{attempt.public_id}-{attempt.fence}",',
        ("tests/integration/test_charge.py", "tests/integration/test_resolve.py"),
    ),
    Mutant(
        "the sweep ends what is being charged",
        "payments/domain/states.py",
        "SWEEPABLE = frozenset({_S.OPEN, _S.QUEUED})",
        "SWEEPABLE = frozenset({_S.OPEN, _S.QUEUED, _S.CHARGING})",
        ("tests/unit/test_states.py",),
    ),
    Mutant(
        "every try of a refund has a key of its own",
        "payments/lifecycle/compensate.py",
        "        idempotency_key=row.public_id,",
        '        idempotency_key=f"{row.public_id}-{row.fence}",',
        ("tests/integration/test_compensate.py",),
    ),
    Mutant(
        "a second success is kept",
        "payments/domain/late.py",
        "    Rule(lambda s: s.order_status is OrderStatus.PAID, CompensationReason.SECOND_SUCCESS),",
        "    Rule(lambda s: s.order_status is OrderStatus.PAID, None),",
        ("tests/unit/test_late.py",),
    ),
    Mutant(
        "an authorisation that came too late is left open",
        "payments/domain/reduce.py",
        "Verdict(Expire(reference), (Owed(void, CompensationReason.TOO_LATE, reference),))",
        "Verdict(Expire(reference))",
        ("tests/unit/test_reduce.py",),
    ),
    Mutant(
        "a charge is repeated after the window",
        "payments/domain/reduce.py",
        "    if s.may_replay and s.is_window_open and not s.known_reference:",
        "    if s.may_replay and not s.known_reference:",
        ("tests/unit/test_reduce.py", "tests/unit/test_reduce_rules.py"),
    ),
    Mutant(
        "the call is made before the claim is committed",
        "payments/transactions.py",
        '    if connection.in_atomic_block:\n        message = "a network call must not be made inside a transaction"',
        '    if False:\n        message = "a network call must not be made inside a transaction"',
        ("tests/integration/test_charge.py",),
    ),
    Mutant(
        "a lease never lapses",
        "payments/lifecycle/resolve.py",
        "        if attempt.state == AttemptState.CHARGING:",
        "        if attempt.state == AttemptState.CHARGING:\n            return NotResolved.NOT_DUE\n        if False:",
        ("tests/integration/test_resolve.py", "tests/integration/test_resolve_asking.py"),
    ),
    Mutant(
        "the gate lets everybody pass",
        "payments/gate.py",
        "nx=True",
        "nx=False",
        ("tests/integration/test_gate.py",),
    ),
    Mutant(
        "an idempotency key answers any body",
        "payments/idempotency.py",
        "    if not request.is_that_of(record):",
        "    if False:",
        ("tests/integration/test_idempotency.py",),
    ),
    Mutant(
        "a charge against the database's word",
        "payments/domain/clock.py",
        "if is_possible and all(age.high < window for age in (*counted, database)):",
        "if all(age.high < window for age in counted):",
        ("tests/unit/test_clock.py",),
    ),
    Mutant(
        "a boot clock proves nothing",
        "payments/domain/clock.py",
        "if at_least is not None and at_least >= window:",
        "if False:",
        ("tests/unit/test_clock.py",),
    ),
    Mutant(
        "the database alone is enough",
        "payments/domain/clock.py",
        "    if len(ages) == 1:",
        "    if False:",
        ("tests/simulation/test_clock_guard.py",),
    ),
    Mutant(
        "an anchor from after the opening counts",
        "payments/domain/clock.py",
        "stamp.watched_since is None or reading.watched_since > stamp.now:",
        "stamp.watched_since is None:",
        ("tests/simulation/test_clock_guard.py",),
    ),
    Mutant(
        "nobody looks at the high-water mark",
        "payments/domain/course.py",
        "    if mark > look.database + _slack(look):",
        "    if False:",
        ("tests/simulation/test_clock_guard.py",),
    ),
    Mutant(
        "who saw a step follows those who did not",
        "payments/domain/course.py",
        "return witness.latest_step is not None and witness.latest_step.meets(course.latest_step)",
        "return True",
        ("tests/simulation/test_clock_guard.py",),
    ),
    Mutant(
        "a batch that fails is set apart whole",
        "payments/lifecycle/sweep.py",
        "            if len(found) == 1:\n",
        "            if found:\n",
        ("tests/integration/test_sweep.py",),
    ),
    Mutant(
        "what failed is swept with the others",
        "payments/due.py",
        "    NOT EXISTS (SELECT FROM payments_expiryfailure f WHERE f.order_id = o.id AND f.resolved_at IS NULL)",
        "    TRUE",
        ("tests/integration/test_sweep.py",),
    ),
    Mutant(
        "stock in doubt is given back when the window ends",
        "payments/lifecycle/release.py",
        "        judgement = guard.judge(attempt, reading=reading, until=until)",
        "        judgement = guard.judge(attempt, reading=reading)",
        ("tests/integration/test_release.py",),
    ),
    Mutant(
        "an order in motion is closed with another attempt of it",
        "payments/lifecycle/expire.py",
        "AND a.id IS DISTINCT FROM judged.living_id",
        "AND FALSE",
        ("tests/integration/test_expire_and_rescue.py",),
    ),
    Mutant(
        "a charge is claimed in the grace",
        "payments/lifecycle/claim.py",
        "        judgement = guard.judge(attempt, reading=reading)\n",
        "        judgement = guard.judge(attempt, reading=reading, until=attempt.grace_ends_at)\n",
        ("tests/integration/test_policies.py",),
    ),
    Mutant(
        "a living attempt follows the settings of today",
        "payments/models/attempt.py",
        "        return self.expires_at + timedelta(seconds=self.grace_seconds)",
        "        return self.expires_at + timedelta(seconds=settings.PAYMENT_GRACE_SECONDS)",
        ("tests/integration/test_policies.py",),
    ),
    Mutant(
        "a wish is followed beyond the limits",
        "payments/domain/policy.py",
        "        bound = lowest if wished < lowest.value else None",
        "        bound = None",
        ("tests/unit/test_policy.py",),
    ),
    Mutant(
        "a policy is read once",
        "payments/policies.py",
        "def in_force(method: config.PaymentMethod) -> MethodInForce:",
        "import functools\n\n\n@functools.cache\ndef in_force(method: config.PaymentMethod) -> MethodInForce:",
        ("tests/integration/test_policies.py",),
    ),
    Mutant(
        "a reminder whose sender was lost is sent again",
        "payments/lifecycle/remind.py",
        "    if row.state == ReminderState.SENDING:",
        "    if False:",
        ("tests/integration/reminding/test_once.py",),
    ),
    Mutant(
        "a reminder that may have arrived is sent again",
        "payments/lifecycle/remind.py",
        '            return ReminderState.UNKNOWN, {"due_at": None, "why": _fit(why)}',
        '            return ReminderState.OWED, {"due_at": now, "why": _fit(why)}',
        ("tests/integration/reminding/test_sending.py",),
    ),
    Mutant(
        "a reminder goes out although the payment was submitted meanwhile",
        "payments/lifecycle/remind.py",
        "    if attempt.state != AttemptState.OPEN:",
        "    if False:",
        ("tests/integration/reminding/test_once.py",),
    ),
    Mutant(
        "a repair believes what was found before it had the locks",
        "payments/lifecycle/reconcile.py",
        "        still = found.get(difference.key)",
        "        still = difference",
        ("tests/concurrency/test_reconcile.py",),
    ),
    Mutant(
        "counters are counted from reservations that are wrong themselves",
        "payments/reconcile.py",
        "    FROM wrong w LEFT JOIN disputed d ON d.item_id = w.id",
        "    FROM wrong w LEFT JOIN disputed d ON false",
        ("tests/integration/test_reconcile_stock.py",),
    ),
    Mutant(
        "what changed after it was archived is deleted",
        "payments/lifecycle/archive.py",
        "if line == lines[order_id] and order_id in closed",
        "if order_id in closed",
        ("tests/integration/test_archive.py",),
    ),
    Mutant(
        "a payment whose refund is open is archived",
        "payments/lifecycle/archive.py",
        "(c.state <> 'done' OR c.closed_at > %(before)s)",
        "c.closed_at > %(before)s",
        ("tests/integration/test_archive.py",),
    ),
)


def main() -> int:
    """Try the mutants, or those whose name contains a word; return 1 when one survives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("word", nargs="?", default="", help="only mutants whose name contains this")
    word = parser.parse_args().word
    chosen = [mutant for mutant in MUTANTS if word in mutant.name]
    failures = 0
    for mutant in chosen:
        verdict = _try(mutant)
        failures += verdict != "caught"
        print(f"{verdict:9} {mutant.name} ({mutant.path})", flush=True)
    print(f"{len(chosen)} mutants, {len(chosen) - failures} caught")
    return 1 if failures or not chosen else 0


def _try(mutant: Mutant) -> str:
    with tempfile.TemporaryDirectory(prefix="paywindow-mutant-") as folder:
        copy = Path(folder) / "checkout"
        ignored = shutil.ignore_patterns(".git", ".venv", ".paywindow", ".mypy_cache", ".ruff_cache", "__pycache__")
        shutil.copytree(CHECKOUT, copy, ignore=ignored)
        source = (copy / mutant.path).read_text()
        if source.count(mutant.line) != 1:
            return "not there"
        (copy / mutant.path).write_text(source.replace(mutant.line, mutant.broken))
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutant.tests],
            cwd=copy,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
    # 1 is "tests failed"; anything else means that they did not run.
    return {0: "SURVIVED", 1: "caught"}.get(ended.returncode, f"exit {ended.returncode}")


if __name__ == "__main__":
    sys.exit(main())
