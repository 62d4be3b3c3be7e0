"""At most one clock is faulty: nothing is charged after its deadline, nothing is refused before it."""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor

import pytest

from payments.domain.clock import MARGIN_SECONDS, Ruling
from tests.simulation.clock_world import Case, Fault, cases

CASES_IN_CI, CASES_IN_FULL = 100_000, 1_000_000


def naive_wall(case: Case) -> Ruling:
    return _alone(case.reading.wall - case.stamp.wall, case)


def naive_database(case: Case) -> Ruling:
    return _alone((case.reading.now - case.stamp.now).total_seconds(), case)


def naive_monotonic(case: Case) -> Ruling:
    return _alone(case.reading.boottime_seconds - case.stamp.boottime_seconds, case)


def naive_marzullo(case: Case) -> Ruling:
    """The smallest interval that most sources cover, as NTP chooses: its middle is taken for the age."""
    window = (case.until - case.stamp.now).total_seconds()
    ages = [(age.low, age.high) for age in case.judgement.ages]
    wall = case.reading.wall - case.stamp.wall
    ages.append((wall - 0.01, wall + 0.01))
    edges = sorted({edge for age in ages for edge in age})
    best = max(edges, key=lambda edge: sum(low <= edge <= high for low, high in ages))
    return Ruling.CHARGE if best < window else Ruling.EXPIRE


def _alone(age: float, case: Case) -> Ruling:
    return Ruling.CHARGE if age < (case.until - case.stamp.now).total_seconds() else Ruling.EXPIRE


NAIVE: dict[str, Callable[[Case], Ruling]] = {
    "wall": naive_wall,
    "database": naive_database,
    "monotonic": naive_monotonic,
    "marzullo": naive_marzullo,
}


def is_wrong(ruling: Ruling, case: Case) -> bool:
    window = case.world.window
    if ruling is Ruling.CHARGE:
        return case.true_age >= window
    return ruling is Ruling.EXPIRE and case.true_age < window - MARGIN_SECONDS - case.errors


def count(seeds: Iterable[int]) -> tuple[Counter[str], list[str]]:
    """Judge the cases of some seeds; returns what was counted, and what the guard got wrong."""
    counted: Counter[str] = Counter()
    wrong: list[str] = []
    for seed in seeds:
        for case in cases(seed):
            ruling = case.judgement.ruling
            counted["cases"] += 1
            counted[ruling.value] += 1
            if is_wrong(ruling, case):
                wrong.append(f"seed {seed}: {ruling} at {case.true_age} of {case.world.window}: {case.judgement}")
            if case.world.fault is Fault.NONE and case.is_watched:
                counted[f"sound {ruling}"] += 1
            for name, rule in NAIVE.items():
                counted[f"naive {name}"] += is_wrong(rule(case), case)
    return counted, wrong


def _count_range(bounds: tuple[int, int]) -> tuple[Counter[str], list[str]]:
    return count(range(*bounds))


def run(number: int) -> tuple[Counter[str], list[str]]:
    """Judge at least `number` cases, on every core."""
    worlds = number // 2
    size = 500
    counted: Counter[str] = Counter()
    wrong: list[str] = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for part, found in pool.map(_count_range, [(low, low + size) for low in range(0, worlds, size)]):
            counted += part
            wrong += found
            if counted["cases"] >= number:
                break
        pool.shutdown(cancel_futures=True)
    return counted, wrong


@pytest.mark.parametrize(
    "number", [CASES_IN_CI, pytest.param(CASES_IN_FULL, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
)
def test_one_faulty_clock_neither_charges_late_nor_expires_early(number: int) -> None:
    counted, wrong = run(number)
    print(dict(counted))
    assert wrong == []
    assert counted["cases"] >= number
    assert all(counted[f"naive {name}"] > 0 for name in NAIVE)
    assert all(counted[ruling.value] > 0 for ruling in Ruling)
    # Nobody is held up where all clocks are sound, and somebody watched from before the opening on.
    assert counted[f"sound {Ruling.HOLD}"] == 0 < counted[f"sound {Ruling.CHARGE}"]
