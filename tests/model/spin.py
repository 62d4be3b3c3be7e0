"""Runs spin over the protocol's model: every scenario exhaustively, and every mutant until it is refuted.

`make model` prints the table; the tests beside this file run the same.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).resolve().parents[2] / "docs" / "model"
TOOLS = ("spin", "gcc")
MEMORY_MB = 1500
DEPTH = 200_000  # Many times the deepest run; a search that needs more has not been exhaustive, and fails.
LONGEST_SECONDS = 110


@dataclass(frozen=True, slots=True)
class Scenario:
    """A variant of the model, by the features that are on (docs/model/payment.pml says what each is)."""

    name: str
    features: tuple[str, ...]


_HOLDS = Scenario("holds money first, cancels by key", ("AUTHORISE", "CANCELS_KEYS"))
_FAULTS = Scenario(
    "every fault: saved errors, forgotten keys, pending charges, reviews",
    ("AUTHORISE", "CANCELS_KEYS", "SAVED_ERRORS", "FORGETS", "REVIEWS", "PENDINGS"),
)
_HORIZON = Scenario(
    "cannot cancel by key: a horizon proves absence", ("AUTHORISE", "QUIET", "PENDINGS", "FORGETS", "REVIEWS")
)
_STAFF = Scenario("charges at once; refunds by staff, reviews", ("CANCELS_KEYS", "STAFF", "QUIET", "REVIEWS"))
_SHORT_HORIZON = Scenario(
    "its horizon was too short, two attempts", ("NO_REPLAYS", "QUIET", "SHORT_HORIZON", "ATTEMPTS=2")
)

SCENARIOS = (
    _HOLDS,
    Scenario("charges at once, two attempts", ("CANCELS_KEYS", "ATTEMPTS=2")),
    _FAULTS,
    _HORIZON,
    Scenario("can only be asked, two attempts", ("QUIET", "NO_REPLAYS", "ATTEMPTS=2")),
    _SHORT_HORIZON,
    Scenario("webhooks that are old when they are reduced", ("CANCELS_KEYS", "SLOW_WEBHOOKS")),
    _STAFF,
)

_SMALL_FAULTS = Scenario("holds money first, pending charges", ("AUTHORISE", "CANCELS_KEYS", "PENDINGS"))
_SMALL_HORIZON = Scenario("a horizon proves absence, keys are forgotten", ("AUTHORISE", "QUIET", "FORGETS", "REVIEWS"))

# The macro of each mutant, and a scenario that is small and in which it does harm.
MUTANTS: dict[str, Scenario] = {
    "CANCEL_REVOCABLE": _SMALL_FAULTS,
    "CAPTURED_MEANWHILE_IGNORED": _SMALL_FAULTS,
    "CLAIM_AFTER_CALL": _SMALL_FAULTS,
    "DECLINED_CAPTURE_KEEPS_HOLD": _SMALL_FAULTS,
    "DOUBT_UNDOES_SUCCESS": _SMALL_FAULTS,
    "HORIZON_IGNORED": _SMALL_HORIZON,
    "LATE_SUCCESS_DROPPED": _SMALL_FAULTS,
    "NEW_KEY": _SMALL_FAULTS,
    "NOT_FOUND_IS_FAILURE": _SMALL_FAULTS,
    "NO_CAPTURE_CHECK": _SMALL_FAULTS,
    "NO_CLAIM_CHECK": _SMALL_FAULTS,
    "NO_FENCE": _SMALL_FAULTS,
    "NO_STALE_CHECK": _SMALL_FAULTS,
    "OLD_ANSWER_COUNTS": _STAFF,
    "REFUND_WITHOUT_KEY": _STAFF,
    "REPEAT_NEVER_SENT_IS_OWED": _STAFF,
    "REPLAY_AFTER_EXPIRY": _SMALL_FAULTS,
    "REPLAY_FORGOTTEN_KEY": _SMALL_HORIZON,
    "REVIEW_LEAVES_MONEY": _SMALL_HORIZON,
    "SECOND_SUCCESS_KEPT": _SHORT_HORIZON,
    "SWEEP_CHARGING": _SMALL_FAULTS,
    "TIMEOUT_IS_FAILURE": _SMALL_FAULTS,
}


@dataclass(frozen=True, slots=True)
class Search:
    """How one search ended."""

    errors: int
    states: int
    is_exhaustive: bool
    report: str


def missing_tools() -> list[str]:
    """List what has to be installed first (Debian's packages are called the same, and libc6-dev)."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def search(scenario: Scenario, *, mutant: str | None = None) -> Search:
    """Generate, compile and run the verifier, up to its first error."""
    defines = [f"-D{feature}" for feature in scenario.features]
    if mutant is not None:
        defines.append(f"-DMUTANT_{mutant}")
    with tempfile.TemporaryDirectory(prefix="paywindow-model-") as folder:
        shutil.copytree(MODEL, folder, dirs_exist_ok=True)
        _run(["spin", "-a", *defines, "payment.pml"], folder=folder)
        _run(
            [
                "gcc",
                "-w",
                "-Og",
                "-DSAFETY",
                "-DNOREDUCE",
                "-DNOBOUNDCHECK",
                f"-DMEMLIM={MEMORY_MB}",
                "-o",
                "pan",
                "pan.c",
            ],
            folder=folder,
        )
        report = _run(["./pan", f"-m{DEPTH}", "-c1"], folder=folder)
    errors, states = re.search(r"errors: (\d+)", report), re.search(r"(\d+) states, stored", report)
    if errors is None or states is None:
        raise RuntimeError(report)
    is_cut_short = re.search(r"depth too small|out of memory|interrupted|[Ss]earch not completed", report)
    return Search(errors=int(errors[1]), states=int(states[1]), is_exhaustive=is_cut_short is None, report=report)


def _run(argv: list[str], *, folder: str) -> str:
    ended = subprocess.run(
        argv,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    if ended.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with {ended.returncode}:\n{ended.stdout}")
    return ended.stdout


def main() -> int:
    """Print every scenario and mutant with what became of it; return 1 on any surprise."""
    if missing := missing_tools():
        print(f"The model needs {' and '.join(missing)}: apt-get install spin gcc libc6-dev", file=sys.stderr)
        return 2
    surprises = 0
    for scenario in SCENARIOS:
        found = search(scenario)
        holds = found.errors == 0 and found.is_exhaustive
        surprises += not holds
        print(f"{'holds' if holds else 'BROKEN':9} {found.states:9} states  {scenario.name}", flush=True)
    for mutant, scenario in MUTANTS.items():
        found = search(scenario, mutant=mutant)
        surprises += found.errors == 0
        print(f"{'refuted' if found.errors else 'SURVIVES':9} {found.states:9} states  {mutant}", flush=True)
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main())
