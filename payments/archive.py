"""Archive files: payments that ended long ago, whole, as lines of JSON that can be verified without a database.

A line is an order with its attempts, their histories, the calls to gateways, compensations and announcements, written
by PostgreSQL and not written anew. Beside each file is a manifest with the hashes of the file and of every line, and
the heads of all chains. `payments/lifecycle/archive.py` writes them; `manage.py verify_history --archive` reads them.
"""

import gzip
import hashlib
import json
import os
import secrets
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db.models import Q

from payments.audit import ATTEMPTS, COMPENSATIONS, Chain
from payments.domain.chain import Link, Standing, first_broken_link, head_of
from payments.domain.ids import Prefix, public_id
from payments.models import ArchivedAttempt, ArchivedCompensation, PaymentAttempt

FORMAT = "paywindow-archive-1"
_SUFFIX, _MANIFEST_SUFFIX = ".jsonl.gz", ".manifest.json"


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """What is written. The name follows from the content: writing the same again changes nothing."""

    name: str
    sha256: str
    content: bytes = field(repr=False)
    manifest: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with an archive, and its place in it."""

    place: str
    what: str


@dataclass(slots=True)
class Verified:
    """What was read from an archive file, and what is wrong with it."""

    path: Path
    sha256: str = ""
    heads: dict[str, dict[UUID, str]] = field(
        default_factory=lambda: {ATTEMPTS.name: {}, COMPENSATIONS.name: {}}
    )  # By chain and owner.
    orders: int = 0
    entries: int = 0
    findings: list[Finding] = field(default_factory=list)
    copies: int = 0  # Payments in it that were not deleted for it: its run was killed, or they changed meanwhile.

    @property
    def name(self) -> str:
        """The file's name, as the rows have it."""
        return self.path.name

    def report(self, what: str, *, line: int | None = None, of: str = "") -> None:
        """Note that something is wrong at a place."""
        place = ", ".join(part for part in (self.name, f"line {line}" if line else "", of) if part)
        self.findings.append(Finding(place, what))


def whats_broken(line: str) -> str:
    """Say which histories of an order are broken, and where; nothing when they are whole."""
    read = Verified(path=Path())
    _read_line(line, number=0, into=read)
    return "; ".join(f"{finding.place}: {finding.what}" for finding in read.findings)


def build(lines: Sequence[str]) -> ArchiveFile:
    """Make the file of some lines, each an order as PostgreSQL wrote it; at least one."""
    text = "".join(f"{line}\n" for line in lines)
    read = Verified(path=Path())
    for number, line in enumerate(lines, start=1):
        _read_line(line, number=number, into=read)
    digest = hashlib.sha256(text.encode()).hexdigest()
    name = f"payments-{json.loads(lines[0])['order']['closed_at'][:10]}-{digest[:16]}{_SUFFIX}"
    content = gzip.compress(text.encode(), mtime=0)
    sha256 = hashlib.sha256(content).hexdigest()
    manifest = {
        "format": FORMAT,
        "file": name,
        "sha256": sha256,
        "orders": read.orders,
        "entries": read.entries,
        "lines_sha256": [_sha256(line) for line in lines],
        "heads": _named_heads(read),
    }
    return ArchiveFile(name=name, sha256=sha256, content=content, manifest=manifest)


def write(file: ArchiveFile, *, folder: Path) -> None:
    """Write a file and its manifest so that both survive a power cut: nothing may be deleted before this returns.

    :raises OSError: when it cannot be written.
    """
    _write_durably(folder / file.name, file.content)
    manifest = json.dumps(file.manifest, indent=1).encode()
    _write_durably(manifest_path(folder / file.name), manifest)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def manifest_path(path: Path) -> Path:
    """Give the place of a file's manifest."""
    return path.with_name(path.name.removesuffix(_SUFFIX) + _MANIFEST_SUFFIX)


def verify(path: Path) -> Verified:
    """Read a file and its manifest, and find everything that is wrong with them. No database is asked."""
    found = Verified(path=path)
    try:
        content = path.read_bytes()
    except OSError as error:
        found.report(f"cannot be read: {error.strerror}")
        return found
    found.sha256 = hashlib.sha256(content).hexdigest()
    manifest = _read_manifest(found)
    if manifest is not None and manifest.get("sha256") != found.sha256:
        found.report(f"its SHA-256 is {found.sha256}, the manifest says {manifest.get('sha256')}")
    try:
        lines = gzip.decompress(content).decode().removesuffix("\n").split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        found.report(f"cannot be unpacked: {error}")
        return found
    for number, line in enumerate(lines, start=1):
        _read_line(line, number=number, into=found)
    if manifest is not None:
        _compare(found, manifest, lines=lines)
    return found


def compare_with_rows(found: Verified) -> None:
    """Compare a file with what the database says of it, and count the payments in it that were not deleted for it."""
    here = found.heads[ATTEMPTS.name]
    rows = {row.id: row for row in ArchivedAttempt.objects.filter(Q(id__in=here) | Q(archive=found.name))}
    living = set(PaymentAttempt.objects.filter(id__in=here).values_list("id", flat=True))
    for attempt_id, head in here.items():
        row, of = rows.get(attempt_id), public_id(Prefix.PAYMENT, attempt_id)
        if row is None and attempt_id not in living:
            found.report("the database knows nothing of it", of=of)
        elif row is None or row.archive != found.name:
            found.copies += 1
        elif row.head_hash != head:
            found.report(f"its history ends with {head}, the database says {row.head_hash}", of=of)
    noted = [row for row in rows.values() if row.archive == found.name]
    for row in noted:
        if row.id not in here:
            found.report("the database says that it is in this file", of=row.public_id)
    if any(row.archive_sha256 != found.sha256 for row in noted):
        found.report(f"its SHA-256 is {found.sha256}, the database says {noted[0].archive_sha256}")
    for given_back in ArchivedCompensation.objects.filter(attempt__archive=found.name):
        head = found.heads[COMPENSATIONS.name].get(given_back.id, "")
        if head != given_back.head_hash:
            what = f"its history ends with {head or 'nothing'}, the database says {given_back.head_hash}"
            found.report(what, of=str(given_back))


def _write_durably(path: Path, content: bytes) -> None:
    """Put a whole file at `path`, or none: under another name first, which two runs do not share."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_manifest(found: Verified) -> dict[str, Any] | None:
    path = manifest_path(found.path)
    try:
        manifest = json.loads(path.read_bytes())
    except OSError as error:
        found.report(f"its manifest {path.name} cannot be read: {error.strerror}")
        return None
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found.report(f"its manifest {path.name} is none of the format {FORMAT}")
        return None
    return manifest


def _compare(found: Verified, manifest: Mapping[str, Any], *, lines: Sequence[str]) -> None:
    expected = manifest.get("lines_sha256")
    expected = expected if isinstance(expected, list) else []
    for number, (line, sha256) in enumerate(zip(lines, expected, strict=False), start=1):
        if _sha256(line) != sha256:
            found.report("it is not what was written: its SHA-256 is not the manifest's", line=number)
    for name, here, there in (
        ("names", found.name, manifest.get("file")),
        ("lines", len(lines), len(expected)),
        ("orders", found.orders, manifest.get("orders")),
        ("entries", found.entries, manifest.get("entries")),
        ("heads", _named_heads(found), manifest.get("heads")),
    ):
        if here != there:
            shown = "" if name == "heads" else f": {here}, and {there} in the manifest"
            found.report(f"{name} differ from the manifest's{shown}")


def _read_line(line: str, *, number: int, into: Verified) -> None:
    """Read one order and verify the chains of its attempts and compensations."""
    try:
        order = json.loads(line)
        chains = [
            (ATTEMPTS, [_history(row) for row in order["attempts"]]),
            (COMPENSATIONS, [_history(row) for row in order["compensations"]]),
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        into.report("cannot be read as an archived order", line=number)
        return
    into.orders += 1
    for chain, histories in chains:
        for owner_id, standing, links in histories:
            _verify_chain(chain, owner_id, standing, links, number=number, into=into)


def _verify_chain(
    chain: Chain, owner_id: UUID, standing: Standing, links: Sequence[Link], *, number: int, into: Verified
) -> None:
    into.entries += len(links)
    into.heads[chain.name][owner_id] = head_of(links) or ""
    broken = first_broken_link(links, standing=standing, steps=chain.steps)
    if broken is not None:
        what = f"{broken.fault}: expected {broken.expected}, found {broken.found}"
        into.report(what, line=number, of=f"{public_id(chain.prefix, owner_id)}, entry {broken.number}")


def _history(row: Mapping[str, Any]) -> tuple[UUID, Standing, list[Link]]:
    owner_id = UUID(row["id"])
    links = [
        Link(
            owner_id=owner_id,
            number=int(entry["number"]),
            from_state=entry["from_state"],
            to_state=entry["to_state"],
            at_microseconds=entry["at_microseconds"],
            actor=entry["actor"],
            reason=entry["reason"],
            evidence=entry["evidence"],
            previous_hash=entry["previous_hash"],
            entry_hash=entry["entry_hash"],
        )
        for entry in row["history"]
    ]
    texts = [text for link in links for text in (link.from_state, link.to_state, link.actor, link.reason)]
    texts += [text for link in links for text in (link.evidence, link.previous_hash, link.entry_hash)]
    if not all(isinstance(text, str) for text in texts):
        message = "an entry of a history is no entry"
        raise TypeError(message)
    return owner_id, Standing(state=row["state"], version=int(row["version"])), links


def _named_heads(found: Verified) -> dict[str, dict[str, str]]:
    """Give the heads by chain and public id, as a manifest has them."""
    return {
        chain.name: {public_id(chain.prefix, owner): head for owner, head in found.heads[chain.name].items()}
        for chain in (ATTEMPTS, COMPENSATIONS)
    }


def _sha256(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()
