"""The files of an archive: whoever changes one is found, and a run that breaks off loses nothing."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from payments.archive import build, manifest_path
from payments.lifecycle import archive as archiving
from payments.models import (
    ArchivedAttempt,
    PaymentAttempt,
)
from tests.integration.archiving.archives import archive, heads, rows, run, the_file, verify
from tests.stockroom import Shop
from tests.system import CHECKOUT, test_database_url
from tests.tampering import every_right

pytestmark = pytest.mark.django_db(transaction=True)


def tampered(path: Path, change: Callable[[list[str]], None]) -> None:
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    change(lines)
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0))


def test_a_tampered_line_is_found_with_its_place(shop: Shop, tmp_path: Path) -> None:
    archive(tmp_path)
    path = the_file(tmp_path)
    whole = path.read_bytes()

    def change(lines: list[str]) -> None:
        lines[1] = lines[1].replace('"reason": "captured"', '"reason": "capturer"')

    tampered(path, change)
    code, lines = verify(tmp_path)
    assert code == 1
    assert any(
        line.startswith(f"{path.name}, line 2, {shop.paid.public_id}, entry 4: entry_hash: expected ") for line in lines
    ), lines
    assert any(line.startswith(f"{path.name}, line 2: it is not what was written") for line in lines)

    def make_dearer(lines: list[str]) -> None:
        lines[0] = lines[0].replace('"amount_minor": 3750', '"amount_minor": 375')

    path.write_bytes(whole)
    tampered(path, make_dearer)
    code, lines = verify(tmp_path)
    assert code == 1
    assert any(line.startswith(f"{path.name}, line 1: it is not what was written") for line in lines), lines
    path.write_bytes(whole[:-20])
    code, lines = verify(tmp_path)
    assert code == 1
    assert any("cannot be unpacked" in line for line in lines)
    path.write_bytes(whole)
    assert verify(tmp_path)[0] == 0


def test_a_file_and_manifest_that_were_made_anew_are_contradicted_by_the_database(shop: Shop, tmp_path: Path) -> None:
    archive(tmp_path)
    path = the_file(tmp_path)
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    forged = build([lines[0], lines[1].replace('"total_minor": 2500', '"total_minor": 250')])
    path.write_bytes(forged.content)
    manifest_path(path).write_text(json.dumps({**forged.manifest, "file": path.name}))
    code, found = verify(tmp_path)
    assert code == 1
    assert [line for line in found if "the database says" in line] == found[:-1]
    forged = build([lines[0]])
    path.write_bytes(forged.content)
    manifest_path(path).write_text(json.dumps({**forged.manifest, "file": path.name}))
    code, found = verify(tmp_path)
    assert code == 1
    assert f"{path.name}, {shop.paid.public_id}: the database says that it is in this file" in found


def manage(*arguments: str, database_url: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=CHECKOUT,
        env={**os.environ, "DATABASE_URL": database_url or test_database_url(), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_file_is_verified_without_a_database(shop: Shop, tmp_path: Path) -> None:
    archive(tmp_path)
    nowhere = "postgresql://nobody@127.0.0.1:9/nothing"
    done = manage("verify_history", "--archive", str(the_file(tmp_path)), database_url=nowhere)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("broken: 0, copies: 0, database: not there")


@pytest.mark.parametrize(
    ("point", "is_done"), [("archive.written", False), ("archive.deleting", False), ("archive.deleted", True)]
)
def test_a_run_that_is_killed_loses_nothing_and_is_run_again(
    shop: Shop, tmp_path: Path, point: str, is_done: bool
) -> None:
    before, digests = rows(), heads()
    (tmp_path / "files").mkdir()
    armed = tmp_path / "armed"
    armed.write_text(f"{point} kill")
    arguments = ("archive_attempts", "--to", str(tmp_path / "files"), "--older-than-days", "1")
    assert manage(*arguments, PAYWINDOW_FAILPOINTS=str(armed)).returncode == -9
    assert not armed.exists()
    assert (rows() == before) is not is_done
    assert ArchivedAttempt.objects.count() == (2 if is_done else 0)
    code, lines = verify(tmp_path / "files")
    assert code == 0
    assert f"copies: {0 if is_done else 2}, " in lines[-1]
    code, lines = archive(tmp_path / "files")
    assert code == 0
    assert lines[-1].endswith(f"payments archived: {0 if is_done else 2}")
    code, lines = verify(tmp_path / "files")
    assert (code, "copies: 0, " in lines[-1]) == (0, True)
    assert heads() == digests


def test_what_changed_after_it_was_written_is_left(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody tampers with a payment between the file and the delete; nothing of ours would."""

    def tamper(name: str) -> None:
        if name == "archive.written":
            with every_right() as cursor:
                cursor.execute(
                    "UPDATE payments_gatewaycall SET detail = 'changed' WHERE attempt_id = %s", [shop.paid.id]
                )

    monkeypatch.setattr(archiving, "reach", tamper)
    code, lines = archive(tmp_path)
    assert code == 1
    assert "order ORD-PAID: 1 payment left" in lines[1]
    assert PaymentAttempt.objects.filter(id=shop.paid.id).exists()


@pytest.mark.breaks_invariants
def test_a_broken_history_is_left_where_it_is(shop: Shop, tmp_path: Path) -> None:
    with every_right() as cursor:
        cursor.execute(
            "UPDATE payments_historyentry SET reason = 'forged' WHERE attempt_id = %s AND number = 2", [shop.paid.id]
        )
    code, lines = archive(tmp_path)
    assert code == 1
    assert "a history is broken" in lines[0]
    assert f"{shop.paid.public_id}, entry 2" in lines[0]
    assert set(ArchivedAttempt.objects.values_list("id", flat=True)) == {shop.cancelled.id}


def test_one_at_a_time(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiving, "ORDERS_PER_FILE", 1)
    assert archive(tmp_path, "--limit", "1")[1][-1].startswith("orders: 1 archived")
    assert archive(tmp_path)[1][-1].startswith("orders: 1 archived")
    files = [str(path) for path in tmp_path.glob("*.jsonl.gz")]
    assert len(files) == 2
    code, lines = run("verify_history", "--archive", *files)
    assert (code, len(lines)) == (0, 2)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--older-than-days", "0", "--to", "."), "at least 1 day after their order closed, not for 0"),
        (("--to", "/nowhere"), "/nowhere is no folder"),
        (("--to", ".", "--limit", "0"), "--limit 0"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(arguments: tuple[str, ...], named: str) -> None:
    with pytest.raises(CommandError, match=named) as refused:
        call_command("archive_attempts", *arguments)
    assert refused.value.returncode == 2


def test_a_file_and_a_payment_are_not_verified_together(shop: Shop) -> None:
    with pytest.raises(CommandError, match="--archive verifies whole files"):
        call_command("verify_history", "--archive", "x", "--attempt", shop.paid.public_id)
