"""Prints every relation between the limits, and what holds for each payment method; exit code 1 when one is broken."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError

from payments import limits, policies
from payments.policies import MethodInForce


class Command(BaseCommand):
    help = "Show how the timeouts, leases and windows hang together, and what holds for each payment method."
    requires_system_checks: list[str] = []  # They would refuse to start before anything was shown.

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        relations = limits.relations()
        for relation in relations:
            self.stdout.write(_as_json(relation) if options["json"] else _as_text(relation))
        broken = sum(not relation.holds for relation in relations)
        is_known = self._show_methods(as_json=options["json"])
        if not options["json"]:
            self.stdout.write(f"{len(relations)} relations, {broken} broken")
        if broken or not is_known:
            raise SystemExit(1)

    def _show_methods(self, *, as_json: bool) -> bool:
        """Show what holds for each method; tell whether the database could say it."""
        try:
            methods, unused = policies.all_in_force(), policies.without_method()
        except DatabaseError as error:
            self.stderr.write(f"The policies could not be read: {error}")
            return False
        except KeyError as error:
            self.stderr.write(f"A gateway lacks a setting in PAYMENT_GATEWAYS: {error}")
            return False
        for in_force in methods:
            for line in [_method_as_json(in_force)] if as_json else _method_as_text(in_force):
                self.stdout.write(line)
        for name in unused:
            self.stdout.write(
                json.dumps({"method": name, "offered": False})
                if as_json
                else f"UNUSED  {name} has a policy and is not offered"
            )
        return True


def _as_json(relation: limits.Relation) -> str:
    left, right = ({"name": side.name, "seconds": side.seconds} for side in (relation.left, relation.right))
    return json.dumps(
        {"left": left, "compares": relation.compares, "right": right, "holds": relation.holds}, ensure_ascii=False
    )


def _as_text(relation: limits.Relation) -> str:
    line = f"{'ok    ' if relation.holds else 'BROKEN'}  {relation.left} {relation.compares} {relation.right}"
    return line if relation.holds else f"{line}: {relation.otherwise}"


def _method_as_json(in_force: MethodInForce) -> str:
    method = in_force.method
    return json.dumps(
        {
            "method": method.name,
            "offered": True,
            "window_minutes": method.window_minutes,
            "grace_seconds": method.grace_seconds,
            "late_allowance_seconds": method.late_allowance_seconds,
            "reminder_lead_minutes": method.reminder_lead_minutes,
            "clamps": [clamp.as_evidence() for clamp in in_force.clamps],
        },
        ensure_ascii=False,
    )


def _method_as_text(in_force: MethodInForce) -> list[str]:
    method = in_force.method
    values = (
        f"window {method.window_minutes} minutes, grace {method.grace_seconds} s, "
        f"late allowance {method.late_allowance_seconds} s, reminder lead {method.reminder_lead_minutes} minutes"
    )
    return [f"method  {method.name}: {values}", *(f"CLAMPED {method.name}: {clamp}" for clamp in in_force.clamps)]
