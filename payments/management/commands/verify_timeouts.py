"""Prints every relation between the limits, with the numbers as they are; exit code 1 when one is broken."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from payments import limits


class Command(BaseCommand):
    help = "Show how the timeouts, leases and windows hang together, and whether each relation holds."
    requires_system_checks: list[str] = []  # They would refuse to start before anything was shown.

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        relations = limits.relations()
        for relation in relations:
            self.stdout.write(_as_json(relation) if options["json"] else _as_text(relation))
        broken = sum(not relation.holds for relation in relations)
        if not options["json"]:
            self.stdout.write(f"{len(relations)} relations, {broken} broken")
        if broken:
            raise SystemExit(1)


def _as_json(relation: limits.Relation) -> str:
    left, right = ({"name": side.name, "seconds": side.seconds} for side in (relation.left, relation.right))
    return json.dumps(
        {"left": left, "compares": relation.compares, "right": right, "holds": relation.holds}, ensure_ascii=False
    )


def _as_text(relation: limits.Relation) -> str:
    line = f"{'ok    ' if relation.holds else 'BROKEN'}  {relation.left} {relation.compares} {relation.right}"
    return line if relation.holds else f"{line}: {relation.otherwise}"
