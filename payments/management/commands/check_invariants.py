"""Checks what must hold in every committed state, and says who breaks it. Exit code 1 when something does."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from payments import invariants


class Command(BaseCommand):
    help = "Check the invariants of the payments in the database; read-only, and safe to run at any time."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object for each row that breaks a rule")
        parser.add_argument("--list", action="store_true", help="only say what the rules are")

    def handle(self, *args: Any, **options: Any) -> None:
        rules = (*invariants.SAFETY, *invariants.LIVENESS)
        if options["list"]:
            for rule in rules:
                self.stdout.write(f"{rule.name}: {rule.says}")
            return
        found = list(invariants.broken(rules))
        for row in found:
            self.stdout.write(json.dumps(asdict(row)) if options["json"] else f"{row.rule}: {row.what}: {row.detail}")
        if not options["json"]:
            self.stdout.write(f"{len(rules)} rules, {len({row.rule for row in found})} broken")
        if found:
            raise SystemExit(1)
