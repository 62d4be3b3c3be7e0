"""Failure tables are data, and data can be wrong: each is checked when it is read."""

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from payments.domain.failures import FailureCode
from payments.gateways import failures, registry
from payments.gateways.failures import FailureTable


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(failures, "_FOLDER", tmp_path)
    return tmp_path


@pytest.mark.parametrize("gateway", registry.names())
def test_every_gateway_has_a_table_with_its_source(gateway: str) -> None:
    table = failures.load(gateway)
    assert table.source
    assert table.meaning(next(iter(table.codes))) in FailureCode
    assert FailureCode.INSUFFICIENT_FUNDS in table.codes.values()


def test_an_unknown_code_is_a_decline_and_somebody_is_told(captured_logs: list[MutableMapping[str, Any]]) -> None:
    table = FailureTable(gateway="g", source="s", codes={"known": FailureCode.BLOCKED})
    assert table.meaning("known") is FailureCode.BLOCKED
    assert captured_logs == []
    assert table.meaning("made_up_yesterday") is FailureCode.DECLINED
    (told,) = captured_logs
    assert (told["event"], told["log_level"]) == ("unknown_gateway_code", "error")
    assert (told["gateway"], told["gateway_code"]) == ("g", "made_up_yesterday")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[codes]\ndeclined = ["a"]', "source"),
        ('source = "s"', "codes"),
        ('source = "s"\nmore = 1\n[codes]\ndeclined = ["a"]', "nothing else"),
        ('source = "s"\n[codes]\nrefused = ["a"]', "'refused'"),
        ('source = "s"\n[codes]\ndeclined = ["a", "a"]', "'a' twice"),
        ('source = "s"\n[codes]\ndeclined = ["a"]\nblocked = ["a"]', "'a' twice"),
        ('source = "s"\n[codes]\ndeclined = [51]', "no code"),
        ('source = "s"\n[codes]\ndeclined = [""]', "no code"),
    ],
)
def test_a_wrong_table_is_refused_and_says_what_is_wrong(folder: Path, text: str, named: str) -> None:
    (folder / "g.toml").write_text(text)
    with pytest.raises(ValueError, match=named):
        failures.load("g")
