"""Histories that somebody with every right has tampered with, and the command that finds the exact place."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from payments import audit, clocks, lifecycle
from payments.domain.chain import BrokenLink, Fault, Link, link_hash, microseconds_since_epoch
from payments.domain.ids import Prefix, new_id, public_id
from payments.models import HistoryEntry, PaymentAttempt, StockItem
from tests import factories
from tests.contract.sandbox_server import SandboxProcess
from tests.tampering import every_right

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.breaks_invariants]


@pytest.fixture
def attempts(customer: User, item: StockItem) -> list[PaymentAttempt]:
    """Three expired attempts, each with three entries: open, queued, expired. Tests tamper with the middle one."""
    made = [factories.submit(factories.place_order(customer=customer, item=item)) for _ in range(3)]
    factories.age_attempt(*(attempt.id for attempt in made), seconds_left=-1)
    assert lifecycle.sweep_expired().expired_orders == 3
    return made


@pytest.fixture
def victim(attempts: list[PaymentAttempt]) -> PaymentAttempt:
    return attempts[1]


def entries(attempt: PaymentAttempt) -> list[HistoryEntry]:
    return list(HistoryEntry.objects.filter(attempt_id=attempt.id).order_by("number"))


def broken() -> dict[str, BrokenLink]:
    """Every broken link, by payment."""
    return {
        public_id(Prefix.PAYMENT, verdict.owner_id): verdict.broken
        for verdict in audit.verify_histories(chain=audit.ATTEMPTS)
        if verdict.broken is not None
    }


def rewrite(attempt: PaymentAttempt, *, number: int, follow: bool, **changes: Any) -> None:
    """Change an entry as a forger would, with a true hash; with `follow`, all that come after it too."""
    previous_hash = ""
    with every_right() as cursor:
        cursor.execute(
            "SELECT id, number, from_state, to_state, at, actor, reason, evidence::text, previous_hash, entry_hash"
            " FROM payments_historyentry WHERE attempt_id = %s ORDER BY number",
            [attempt.id],
        )
        for row_id, *columns in cursor.fetchall():
            columns[3] = microseconds_since_epoch(columns[3])
            link = Link(attempt.id, *columns)
            if link.number == number or (follow and link.number > number):
                link = replace(link, previous_hash=previous_hash, **(changes if link.number == number else {}))
                link = replace(link, entry_hash=link_hash(link))
                cursor.execute(
                    "UPDATE payments_historyentry SET from_state = %s, to_state = %s, evidence = %s,"
                    " previous_hash = %s, entry_hash = %s WHERE id = %s",
                    [link.from_state, link.to_state, link.evidence, link.previous_hash, link.entry_hash, row_id],
                )
            previous_hash = link.entry_hash


def verify(*arguments: str) -> tuple[int, list[str]]:
    """The command's exit code and the lines that it printed."""
    output, code = StringIO(), 0
    try:
        call_command("verify_history", *arguments, stdout=output)
    except SystemExit as ended:
        code = int(ended.code or 0)
    return code, output.getvalue().splitlines()


def test_what_nobody_touched_is_whole(attempts: list[PaymentAttempt]) -> None:
    verdicts = list(audit.verify_histories(chain=audit.ATTEMPTS))
    assert [verdict.owner_id for verdict in verdicts] == sorted(attempt.id for attempt in attempts)
    assert [(verdict.entries, verdict.broken) for verdict in verdicts] == [(3, None)] * 3
    assert [verdict.head for verdict in verdicts] == [entries(attempt)[-1].entry_hash for attempt in attempts]


@pytest.mark.parametrize(
    "change",
    [
        "evidence = jsonb_set(evidence, '{forged}', 'true')",
        "evidence = '[]'",
        "reason = 'other'",
        "actor = 'other'",
        "from_state = 'charging'",
        "to_state = 'charging'",
        "at = at + interval '1 microsecond'",
        "at = 'infinity'",
        "entry_hash = repeat('0', 64)",
    ],
)
def test_a_changed_entry_is_found_at_its_own_link(victim: PaymentAttempt, change: str) -> None:
    with every_right() as cursor:
        cursor.execute(f"UPDATE payments_historyentry SET {change} WHERE attempt_id = %s AND number = 2", [victim.id])
        cursor.execute("SELECT entry_hash FROM payments_historyentry WHERE attempt_id = %s AND number = 2", [victim.id])
        (stored,) = cursor.fetchone()
    assert set(broken()) == {victim.public_id}
    found = broken()[victim.public_id]
    assert (found.number, found.fault, found.found) == (2, Fault.ENTRY_HASH, stored)


@pytest.mark.parametrize(
    ("statement", "link"),
    [
        ("DELETE FROM payments_historyentry WHERE attempt_id = %s AND number = 1", (1, Fault.NUMBER, "1", "2")),
        ("DELETE FROM payments_historyentry WHERE attempt_id = %s AND number = 2", (2, Fault.NUMBER, "2", "3")),
        ("DELETE FROM payments_historyentry WHERE attempt_id = %s AND number = 3", (3, Fault.NUMBER, "3", "nothing")),
        ("DELETE FROM payments_historyentry WHERE attempt_id = %s", (1, Fault.NUMBER, "1", "nothing")),
        (
            "UPDATE payments_historyentry SET number = 4 WHERE attempt_id = %s AND number = 3",
            (3, Fault.NUMBER, "3", "4"),
        ),
        (
            "UPDATE payments_paymentattempt SET state = 'succeeded', fence = 1, gateway_key = 'k' WHERE id = %s",
            (3, Fault.STATE, "expired", "succeeded"),
        ),
        ("UPDATE payments_paymentattempt SET version = 2 WHERE id = %s", (3, Fault.VERSION, "3", "2")),
        ("UPDATE payments_paymentattempt SET version = 4 WHERE id = %s", (4, Fault.NUMBER, "4", "nothing")),
    ],
)
def test_gone_entries_and_changed_rows_are_found(
    victim: PaymentAttempt, statement: str, link: tuple[int, Fault, str, str]
) -> None:
    with every_right() as cursor:
        cursor.execute(statement, [victim.id])
        assert cursor.rowcount >= 1
    assert broken() == {victim.public_id: BrokenLink(*link)}


def test_two_entries_that_changed_places(victim: PaymentAttempt) -> None:
    first, second, third = entries(victim)
    with every_right() as cursor:
        for number, row in ((9, third), (3, second), (2, third)):
            cursor.execute("UPDATE payments_historyentry SET number = %s WHERE id = %s", [number, row.pk])
    expected = BrokenLink(2, Fault.PREVIOUS_HASH, first.entry_hash, second.entry_hash)
    assert broken() == {victim.public_id: expected}


def test_an_entry_with_a_new_hash_breaks_the_link_after_it(victim: PaymentAttempt) -> None:
    old_hash = entries(victim)[1].entry_hash
    rewrite(victim, number=2, follow=False, evidence='{"forged": true}')
    new_hash = entries(victim)[1].entry_hash
    assert new_hash != old_hash
    assert broken() == {victim.public_id: BrokenLink(3, Fault.PREVIOUS_HASH, new_hash, old_hash)}


def test_a_chain_of_true_hashes_that_tells_an_impossible_story(victim: PaymentAttempt) -> None:
    rewrite(victim, number=2, follow=True, to_state="in_doubt")
    expected = BrokenLink(2, Fault.TRANSITION, "cancelled or expired or queued", "in_doubt")
    assert broken() == {victim.public_id: expected}
    rewrite(victim, number=2, follow=True, to_state="expired")
    assert broken() == {victim.public_id: BrokenLink(3, Fault.FROM_STATE, "expired", "queued")}


def test_an_entry_that_was_added_at_the_end(victim: PaymentAttempt) -> None:
    """No right is needed for this: the trigger chains it, but the row knows nothing of it."""
    HistoryEntry.objects.create(
        attempt_id=victim.id,
        number=4,
        from_state="expired",
        to_state="succeeded",
        at=clocks.database_now(),
        actor="staff:1",
        reason="forged",
    )
    assert broken() == {victim.public_id: BrokenLink(4, Fault.TRANSITION, "nothing", "succeeded")}


def test_an_entry_that_was_handed_to_another_payment(attempts: list[PaymentAttempt]) -> None:
    first, victim, _ = attempts
    with every_right() as cursor:
        cursor.execute(
            "UPDATE payments_historyentry SET attempt_id = %s, number = 4 WHERE attempt_id = %s AND number = 3",
            [first.id, victim.id],
        )
    found = broken()
    assert set(found) == {first.public_id, victim.public_id}
    assert (found[first.public_id].number, found[first.public_id].fault) == (4, Fault.PREVIOUS_HASH)
    assert found[victim.public_id] == BrokenLink(3, Fault.NUMBER, "3", "nothing")


def test_a_history_whose_payment_is_gone(victim: PaymentAttempt) -> None:
    with every_right() as cursor:
        cursor.execute("DELETE FROM payments_paymentattempt WHERE id = %s", [victim.id])
    assert broken() == {victim.public_id: BrokenLink(3, Fault.OWNER, str(victim.id), "nothing")}


def test_only_the_first_broken_link_of_a_history_is_reported_but_every_history(attempts: list[PaymentAttempt]) -> None:
    with every_right() as cursor:
        cursor.execute("UPDATE payments_historyentry SET reason = 'other'")
    found = broken()
    assert set(found) == {attempt.public_id for attempt in attempts}
    assert {(link.number, link.fault) for link in found.values()} == {(1, Fault.ENTRY_HASH)}


def test_a_chain_that_was_rewritten_whole_is_caught_by_a_digest_kept_elsewhere(victim: PaymentAttempt) -> None:
    _, before = verify()
    rewrite(victim, number=2, follow=True, evidence='{"forged": true}')
    code, after = verify()
    assert code == 0, "nothing inside the database contradicts a history that was rewritten from end to end"
    assert digest_of(before) != digest_of(after)


def digest_of(lines: list[str]) -> str:
    """The digest of the payments' heads; the compensations have a closing line of their own."""
    found = re.search(r"^payments: .*heads_sha256: ([0-9a-f]{64})\b", "\n".join(lines), re.MULTILINE)
    assert found is not None
    return found[1]


def test_a_digest_until_an_instant_is_the_same_however_much_follows(
    customer: User, item: StockItem, attempts: list[PaymentAttempt]
) -> None:
    living = factories.place_order(customer=customer, item=item)
    until = clocks.database_now()
    _, before = verify("--heads-until", until.isoformat())
    factories.submit(living)
    factories.place_order(customer=customer, item=item)
    _, after = verify("--heads-until", until.isoformat())
    assert digest_of(before) == digest_of(after) != digest_of(verify()[1])
    rewrite(attempts[0], number=1, follow=True, evidence="{}")
    assert digest_of(verify("--heads-until", until.isoformat())[1]) != digest_of(before)


@pytest.mark.parametrize(
    ("owners", "rows", "pages"), [(1, 5000, 3), (2, 5000, 2), (3, 5000, 1), (1000, 1, 2), (1000, 4, 1), (2, 3, 2)]
)
def test_pages_of_any_size_find_the_same(
    attempts: list[PaymentAttempt], monkeypatch: pytest.MonkeyPatch, owners: int, rows: int, pages: int
) -> None:
    ids = [UUID(int=0), UUID(int=1), UUID(int=2**128 - 1)]
    with every_right() as cursor:
        for attempt, moved in zip(attempts, ids, strict=True):
            cursor.execute("UPDATE payments_paymentattempt SET id = %s WHERE id = %s", [moved, attempt.id])
            cursor.execute(
                "UPDATE payments_historyentry SET attempt_id = %s WHERE attempt_id = %s", [moved, attempt.id]
            )
        cursor.execute("DELETE FROM payments_historyentry WHERE attempt_id = %s", [ids[0]])
        cursor.execute("DELETE FROM payments_paymentattempt WHERE id = %s", [ids[2]])
    in_one = list(audit.verify_histories(chain=audit.ATTEMPTS))
    assert [(verdict.owner_id, verdict.entries, verdict.broken and verdict.broken.fault) for verdict in in_one] == [
        (ids[0], 0, Fault.NUMBER),
        (ids[1], 3, Fault.ENTRY_HASH),
        (ids[2], 3, Fault.ENTRY_HASH),
    ]
    monkeypatch.setattr(audit, "_PAGE_OWNERS", owners)
    monkeypatch.setattr(audit, "_PAGE_ENTRIES", rows)
    with CaptureQueriesContext(connection) as queries:
        assert list(audit.verify_histories(chain=audit.ATTEMPTS)) == in_one
    assert sum("FULL JOIN" in query["sql"] for query in queries.captured_queries) == pages


def test_payments_that_move_meanwhile_are_never_called_broken(customer: User, item: StockItem) -> None:
    attempts = [factories.place_order(customer=customer, item=item) for _ in range(30)]

    def submit_all() -> None:
        for attempt in attempts:
            factories.submit(attempt)
        connection.close()

    rounds = 0
    with ThreadPoolExecutor(max_workers=1) as threads:
        writing = threads.submit(submit_all)
        while not writing.done():
            rounds += 1
            assert broken() == {}
        writing.result()
    assert rounds > 1
    assert sum(verdict.entries for verdict in audit.verify_histories(chain=audit.ATTEMPTS)) == 60


# The command


def test_the_command_says_what_it_verified(attempts: list[PaymentAttempt]) -> None:
    code, lines = verify()
    assert code == 0
    assert len(lines) == 2
    assert re.fullmatch(r"payments: 3, entries: 9, broken: 0, heads_sha256: [0-9a-f]{64}", lines[0])
    assert lines[1].startswith("compensations: 0, entries: 0, broken: 0, ")
    assert verify()[1] == lines


def test_the_command_names_each_first_broken_link_and_fails(victim: PaymentAttempt) -> None:
    with every_right() as cursor:
        cursor.execute("DELETE FROM payments_historyentry WHERE attempt_id = %s AND number = 2", [victim.id])
    code, lines = verify()
    assert code == 1
    assert lines[0] == f"{victim.public_id}, entry 2: number: expected 2, found 3"
    assert lines[1].startswith("payments: 3, entries: 8, broken: 1, ")
    code, lines = verify("--json")
    assert code == 1
    first, closing, _ = (json.loads(line) for line in lines)
    assert first == {"id": victim.public_id, "entry": 2, "fault": "number", "expected": "2", "found": "3"}
    assert {name: closing[name] for name in ("payments", "entries", "broken")} == {
        "payments": 3,
        "entries": 8,
        "broken": 1,
    }
    assert re.fullmatch("[0-9a-f]{64}", closing["heads_sha256"])


def test_one_payment_is_verified_alone(attempts: list[PaymentAttempt]) -> None:
    with every_right() as cursor:
        cursor.execute("UPDATE payments_historyentry SET actor = 'x' WHERE attempt_id = %s", [attempts[0].id])
    code, lines = verify("--attempt", attempts[1].public_id)
    assert code == 0
    assert lines[0].startswith("payments: 1, entries: 3, broken: 0, ")
    code, lines = verify("--attempt", attempts[0].public_id)
    assert code == 1
    assert lines[0].startswith(f"{attempts[0].public_id}, entry 1: entry_hash: ")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--attempt", "pay_1"), "'pay_1' is not a payment's id"),
        (("--attempt", "ord_" + "0" * 32), "is not a payment's id"),
        (("--heads-until", "yesterday"), "'yesterday' is not an instant with a time zone"),
        (("--heads-until", "2026-01-31T00:00:00"), "is not an instant with a time zone"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(arguments: tuple[str, ...], named: str) -> None:
    with pytest.raises(CommandError, match=named):
        verify(*arguments)


@pytest.mark.usefixtures("attempts")
def test_an_unknown_payment_is_no_success() -> None:
    unknown = public_id(Prefix.PAYMENT, new_id())
    with pytest.raises(CommandError, match=f"There is no payment {unknown}") as refused:
        verify("--attempt", unknown)
    assert refused.value.returncode == 2


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_for_a_person_at_a_terminal(victim: PaymentAttempt, terminal: bool) -> None:
    with every_right() as cursor:
        cursor.execute("UPDATE payments_historyentry SET actor = 'x' WHERE attempt_id = %s", [victim.id])
    output, errors = StringIO(), Terminal() if terminal else StringIO()
    with pytest.raises(SystemExit):
        call_command("verify_history", stdout=output, stderr=errors, no_color=True)
    assert len(output.getvalue().splitlines()) == 3
    shown = errors.getvalue()
    if terminal:
        assert re.findall(r"\d+%", shown) == ["33%", "67%", "100%"]
        assert shown.endswith("\r\x1b[K")
        assert "\r\x1b[K\r[" in shown, "the bar leaves the line to what is found, and comes back"
    else:
        assert shown == ""


def test_a_compensations_history_is_verified_too(
    customer: User, item: StockItem, staff: User, sandbox: SandboxProcess
) -> None:
    attempt = factories.submit(factories.place_order(customer=customer, item=item))
    lifecycle.charge_attempt(attempt_id=attempt.id)
    refund = lifecycle.refund_payment(attempt_id=attempt.id, staff_id=staff.id, reason="a test")
    assert lifecycle.compensate(compensation_id=refund.id) == "done"
    code, lines = verify()
    assert (code, len(lines)) == (0, 2)
    assert lines[1].startswith("compensations: 1, entries: 3, broken: 0, ")
    with every_right() as cursor:
        cursor.execute("UPDATE payments_compensationentry SET actor = 'x' WHERE number = 2")
    code, lines = verify()
    assert code == 1
    assert any(line.startswith(f"{refund.public_id}, entry 2: entry_hash: ") for line in lines)
