"""The protocol's model holds in every scenario, and each broken rule is refuted."""

import os
import re

import pytest

from tests.model import spin
from tests.model.spin import MODEL, MUTANTS, SCENARIOS, Scenario

pytestmark = [
    pytest.mark.skipif(
        bool(spin.missing_tools()) and os.environ.get("PAYWINDOW_REQUIRE_TOOLS") != "1",
        reason="spin or gcc is not installed (apt-get install spin gcc libc6-dev)",
    ),
    pytest.mark.timeout(300),
    pytest.mark.long,  # CI runs `make model` beside the tests.
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_protocol_holds(scenario: Scenario) -> None:
    found = spin.search(scenario)
    assert found.errors == 0, found.report
    assert found.is_exhaustive, found.report
    assert found.states > 1000  # It ran at all.


@pytest.mark.parametrize("mutant", sorted(MUTANTS))
def test_a_broken_rule_is_refuted(mutant: str) -> None:
    found = spin.search(MUTANTS[mutant], mutant=mutant)
    assert found.errors == 1, found.report
    assert re.search(r"assertion violated|invalid end state", found.report), found.report


def test_every_mutant_of_the_model_is_tried() -> None:
    written = {name for path in MODEL.glob("*.pml") for name in re.findall(r"\bMUTANT_([A-Z_]+)\b", path.read_text())}
    assert written == set(MUTANTS)
