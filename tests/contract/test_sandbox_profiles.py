"""Latency profiles of the sandbox gateway: many samples must show the quantiles that were asked for."""

import random

import pytest

from payments.gateways.sandbox.profiles import PROFILES

SAMPLES = 40_000
REQUIRED = {
    "stripe": (2.1, 5.8, 8.2, 14.3),
    "paypal": (3.4, 8.9, 12.4, 28.7),
    "square": (1.8, 4.2, 6.1, 11.2),
}


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_samples_show_the_required_quantiles(name: str) -> None:
    p50, p95, p99, maximum = REQUIRED[name]
    rng = random.Random(7)  # noqa: S311  # latencies, not secrets
    samples = sorted(PROFILES[name].sample_seconds(rng) for _ in range(SAMPLES))

    assert samples[SAMPLES // 2] == pytest.approx(p50, rel=0.03)
    assert samples[SAMPLES * 95 // 100] == pytest.approx(p95, rel=0.03)
    assert samples[SAMPLES * 99 // 100] == pytest.approx(p99, rel=0.05)
    assert maximum * 0.9 < samples[-1] <= maximum
    assert samples[0] > p50 * 0.3


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_quantiles_are_exact_and_never_fall(name: str) -> None:
    profile = PROFILES[name]
    curve = [profile.quantile_seconds(step / 1000) for step in range(1001)]

    assert curve == sorted(curve)
    exact = tuple(profile.quantile_seconds(share) for share in (0.5, 0.95, 0.99, 1.0))
    assert exact == pytest.approx(REQUIRED[name])


def test_same_seed_gives_the_same_latencies() -> None:
    generators = [random.Random(seed) for seed in (3, 3, 4)]  # noqa: S311  # latencies, not secrets
    runs = [[PROFILES["stripe"].sample_seconds(rng) for _ in range(5)] for rng in generators]

    assert runs[0] == runs[1] != runs[2]


def test_instant_answers_at_once() -> None:
    assert PROFILES["instant"].quantile_seconds(0.999) == 0
