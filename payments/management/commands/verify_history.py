"""`manage.py verify_history`: that every history is complete and untouched, or the exact place where one is not."""

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from payments import archive, audit
from payments.audit import Chain, Verdict
from payments.domain.chain import BrokenLink, HeadDigest
from payments.domain.ids import Prefix, parse_public_id, public_id
from payments.management.progress import Progress

_ASKED_WRONGLY = 2  # As argparse has it; 1 means that something is broken.


class Command(BaseCommand):
    help = (
        "Verify payment histories: numbers, hashes, transitions, and the row that each must end at. Prints the first "
        "broken link of every broken history, then the counts and one digest over the heads of all chains, to be kept "
        "elsewhere. Exits with 1 if anything is broken."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--attempt", type=_attempt_id, metavar="pay_...", help="Verify one payment's history only.")
        parser.add_argument(
            "--heads-until",
            type=_instant,
            metavar="2026-01-31T00:00:00Z",
            help="Leave later entries out of the digest (they are verified), so that the same digest can be made "
            "again. Name an instant some minutes back: a transaction that is about to commit carries an earlier time.",
        )
        parser.add_argument(
            "--archive",
            type=Path,
            nargs="+",
            metavar="FILE",
            help="Verify archive files and their manifests instead; the database is asked only if it is there.",
        )
        parser.add_argument("--json", action="store_true", help="Print one JSON object per line.")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["archive"]:
            self._verify_files(options["archive"], options)
            return
        attempt_id: UUID | None = options["attempt"]
        chains = audit.CHAINS if attempt_id is None else (audit.ATTEMPTS,)
        broken = [
            self._verify(chain, attempt_id, heads_until=options["heads_until"], as_json=options["json"])
            for chain in chains
        ]
        if any(broken):
            sys.exit(1)

    def _verify_files(self, paths: Sequence[Path], options: dict[str, Any]) -> None:
        if options["attempt"] or options["heads_until"]:
            message = "--archive verifies whole files; --attempt and --heads-until are of the database."
            raise CommandError(message, returncode=_ASKED_WRONGLY)
        findings = 0
        for path in paths:
            found = archive.verify(path)
            try:
                archive.compare_with_rows(found)
                database = "compared"
            except DatabaseError:
                database = "not there"
            findings += len(found.findings)
            for finding in found.findings:
                line = {"place": finding.place, "what": finding.what}
                self.stdout.write(json.dumps(line) if options["json"] else f"{finding.place}: {finding.what}")
            facts = {
                "file": found.name,
                "orders": found.orders,
                **{name: len(heads) for name, heads in found.heads.items()},
                "entries": found.entries,
                "broken": len(found.findings),
                "copies": found.copies,
                "database": database,
            }
            self.stdout.write(_closing_line(facts, as_json=options["json"]))
        if findings:
            sys.exit(1)

    def _verify(self, chain: Chain, owner_id: UUID | None, *, heads_until: datetime | None, as_json: bool) -> int:
        """Verify one chain, print what was found, and give the number of broken histories."""
        histories, entries, broken, archived, heads = 0, 0, 0, 0, HeadDigest()
        progress = Progress(self.stderr, total=audit.count_owners(chain=chain) if owner_id is None else 1)
        for verdict in audit.verify_histories(chain=chain, owner_id=owner_id, heads_until=heads_until):
            histories += 1
            entries += verdict.entries
            archived += verdict.is_archived
            if verdict.head is not None:
                heads.add(owner_id=verdict.owner_id, head=verdict.head)
            if verdict.broken is not None:
                broken += 1
                progress.erase()
                self.stdout.write(_broken_line(chain, verdict, verdict.broken, as_json=as_json))
            progress.advance()
        progress.erase()
        if owner_id is not None and not histories:
            message = f"There is no payment {public_id(chain.prefix, owner_id)}."
            raise CommandError(message, returncode=_ASKED_WRONGLY)
        facts = {chain.name: histories, "entries": entries, "broken": broken, "heads_sha256": heads.hexdigest()}
        if archived:
            facts["archived"] = archived
        if heads_until is not None:
            facts["heads_until"] = heads_until.isoformat()
        self.stdout.write(_closing_line(facts, as_json=as_json))
        return broken


def _closing_line(facts: Mapping[str, object], *, as_json: bool) -> str:
    return json.dumps(facts) if as_json else ", ".join(f"{name}: {fact}" for name, fact in facts.items())


def _broken_line(chain: Chain, verdict: Verdict, broken: BrokenLink, *, as_json: bool) -> str:
    owner = public_id(chain.prefix, verdict.owner_id)
    if not as_json:
        return f"{owner}, entry {broken.number}: {broken.fault}: expected {broken.expected}, found {broken.found}"
    return json.dumps(
        {
            "id": owner,
            "entry": broken.number,
            "fault": broken.fault,
            "expected": broken.expected,
            "found": broken.found,
        }
    )


def _attempt_id(text: str) -> UUID:
    value = parse_public_id(Prefix.PAYMENT, text)
    if value is None:
        message = f"{text!r} is not a payment's id; one looks like {public_id(Prefix.PAYMENT, UUID(int=0))}."
        raise ArgumentTypeError(message)
    return value


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        message = f"{text!r} is not an instant with a time zone, such as 2026-01-31T00:00:00Z."
        raise ArgumentTypeError(message)
    return at
