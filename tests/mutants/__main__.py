"""Breaks one guard after the other, one line each, and sees that the tests catch it: `make mutants`.

Each mutant is tried in a copy of the checkout; the working tree is never touched. A mutant that survives, or whose line
is no longer there, ends the run with exit code 1.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.mutant import Mutant
from tests.mutants.table import MUTANTS

CHECKOUT = Path(__file__).resolve().parents[2]
LONGEST_SECONDS = 600


def main() -> int:
    """Try the mutants, or those whose name contains a word; return 1 when one survives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("word", nargs="?", default="", help="only mutants whose name contains this")
    word = parser.parse_args().word
    chosen = [mutant for mutant in MUTANTS if word in mutant.name]
    failures = 0
    for mutant in chosen:
        verdict = _try(mutant)
        failures += verdict != "caught"
        print(f"{verdict:9} {mutant.name} ({mutant.path})", flush=True)
    print(f"{len(chosen)} mutants, {len(chosen) - failures} caught")
    return 1 if failures or not chosen else 0


def _try(mutant: Mutant) -> str:
    with tempfile.TemporaryDirectory(prefix="paywindow-mutant-") as folder:
        copy = Path(folder) / "checkout"
        ignored = shutil.ignore_patterns(".git", ".venv", ".paywindow", ".mypy_cache", ".ruff_cache", "__pycache__")
        shutil.copytree(CHECKOUT, copy, ignore=ignored)
        source = (copy / mutant.path).read_text()
        if source.count(mutant.line) != 1:
            return "not there"
        (copy / mutant.path).write_text(source.replace(mutant.line, mutant.broken))
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutant.tests],
            cwd=copy,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
        # Its servers would wait for the next test of a checkout that is gone.
        subprocess.run([sys.executable, "-I", "project/embedded", "clean"], cwd=copy, check=False)
    # 1 is "tests failed"; anything else means that they did not run.
    return {0: "SURVIVED", 1: "caught"}.get(ended.returncode, f"exit {ended.returncode}")


if __name__ == "__main__":
    sys.exit(main())
