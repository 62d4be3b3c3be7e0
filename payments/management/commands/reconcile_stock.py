"""`manage.py reconcile_stock`: what differs between stock, reservations and orders, and what can be put right."""

import getpass
import json
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from payments import lifecycle, reconcile
from payments.lifecycle.reconcile import Outcome, Result
from payments.reconcile import Difference

_ASKED_WRONGLY = 2  # As argparse has it; 1 means that something is wrong.
_LONGEST_ACTOR = 64
_NO_REASON = "dry run"  # Never kept.


class Command(BaseCommand):
    help = (
        "Find and explain every difference between stock items, reservations, order lines and orders, and every order "
        "that waits for nothing. Without --repair nothing is changed. Exits with 0 when nothing is wrong or left "
        "wrong, with 1 when something is."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--repair", action="store_true", help="Put right what is provably wrong; needs --reason.")
        parser.add_argument("--dry-run", action="store_true", help="With --repair: show exactly what it would do.")
        parser.add_argument("--reason", default="", help="Why you repair; it stays with every correction.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object per line.")

    def handle(self, *_args: Any, **options: Any) -> None:
        reason, is_dry = options["reason"].strip(), options["dry_run"]
        if not options["repair"]:
            if is_dry or reason:
                message = "--dry-run and --reason belong to --repair; without it nothing is changed anyway."
                raise CommandError(message, returncode=_ASKED_WRONGLY)
            self._find(as_json=options["json"])
            return
        if not reason and not is_dry:
            message = "A repair needs a reason: --reason says why; it stays with every correction."
            raise CommandError(message, returncode=_ASKED_WRONGLY)
        self._repair(reason=reason or _NO_REASON, is_dry=is_dry, as_json=options["json"])

    def _find(self, *, as_json: bool) -> None:
        found = reconcile.differences_everywhere()
        for difference in found:
            self.stdout.write(json.dumps(_facts(difference)) if as_json else _line(difference))
        if not as_json:
            self.stdout.write(_counted(len(found)))
        if found:
            raise SystemExit(1)

    def _repair(self, *, reason: str, is_dry: bool, as_json: bool) -> None:
        results: Counter[Result] = Counter()
        for outcome in lifecycle.reconcile_stock(actor=_actor(), reason=reason, is_dry_run=is_dry):
            results[outcome.result] += 1
            self.stdout.write(json.dumps(_outcome_facts(outcome)) if as_json else _outcome_line(outcome))
            self.stdout.flush()
        if not as_json:
            parts = [f"{results[result]} {result.replace('_', ' ')}" for result in Result]
            ending = " (dry run: nothing was changed)" if is_dry else ""
            self.stdout.write(f"{_counted(results.total())}: {', '.join(parts)}{ending}")
        is_wrong = results[Result.LEFT] or (is_dry and results[Result.REPAIRED])
        if is_wrong:
            raise SystemExit(1)


def _line(difference: Difference) -> str:
    if difference.repair:
        return f"{difference.what}: {difference.kind}: {difference.detail}; a repair would {difference.repair}"
    return f"{difference.what}: {difference.kind}: {difference.detail}; a person has to decide: {difference.obstacle}"


def _outcome_line(outcome: Outcome) -> str:
    difference = outcome.difference
    begin = f"{difference.what}: {difference.kind}: {difference.detail}"
    match outcome.result:
        case Result.REPAIRED:
            return f"{begin}; repaired: {_spelled(outcome.before)} -> {_spelled(outcome.after)}"
        case Result.GONE:
            return f"{begin}; no longer wrong"
        case Result.LEFT:
            return f"{begin}; left to a person: {outcome.why}"


def _spelled(facts: Mapping[str, object]) -> str:
    return ", ".join(
        f"{name} {' '.join(map(str, fact)) or 'none' if isinstance(fact, list) else fact}"
        for name, fact in facts.items()
    )


def _facts(difference: Difference) -> dict[str, object]:
    return {
        "kind": difference.kind.value,
        "order_id": difference.order_number or None,
        "sku": difference.sku or None,
        "line": difference.line_id,
        "detail": difference.detail,
        "repair": difference.repair or None,
        "obstacle": difference.obstacle or None,
    }


def _outcome_facts(outcome: Outcome) -> dict[str, object]:
    return {
        **_facts(outcome.difference),
        "result": outcome.result.value,
        "why": outcome.why or None,
        "before": outcome.before or None,
        "after": outcome.after or None,
    }


def _counted(differences: int) -> str:
    return f"{differences} difference{'' if differences == 1 else 's'}"


def _actor() -> str:
    """Name the account that runs this; a container may have none."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):
        account = "unknown"
    return f"command:{account}"[:_LONGEST_ACTOR]
