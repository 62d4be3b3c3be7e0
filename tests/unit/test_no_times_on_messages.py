"""No message carries a time: `expires` drops valid jobs on a host that is ahead, `eta` fires early or late."""

import ast
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
TIMES = {"eta", "countdown", "expires", "expire_seconds"}
SENDERS = {"send_task", "apply_async", "delay", "signature", "retry"}


def calls() -> Iterator[tuple[Path, ast.Call]]:
    for house in ("project", "beat_schedules", "workers", "payments"):
        for path in (CHECKOUT / house).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    yield path.relative_to(CHECKOUT), node


def test_no_call_names_a_time_of_a_message() -> None:
    named = {(str(path), keyword.arg) for path, call in calls() for keyword in call.keywords if keyword.arg in TIMES}
    assert named == set()


def test_messages_are_sent_in_one_place() -> None:
    sent = [
        (str(path), call.func.attr)
        for path, call in calls()
        if isinstance(call.func, ast.Attribute) and call.func.attr in SENDERS
    ]
    assert sent == [("payments/dispatch.py", "send_task")]
