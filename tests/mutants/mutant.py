"""What a mutant is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """One guard, the line that is it, what it is broken to, and where that has to be noticed."""

    name: str
    path: str
    line: str
    broken: str
    tests: tuple[str, ...]
