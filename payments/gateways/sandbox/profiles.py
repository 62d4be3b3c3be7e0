"""How long a gateway takes: latency drawn so that its quantiles are those that were measured.

The figures are those of the project's requirements (p50/p95/p99/max in seconds). Between two quantiles the
logarithm of the latency runs straight: monotone, never above the maximum, and long-tailed like the real
thing.
"""

import bisect
import dataclasses
import math
import random

# No call is faster than this share of the median: there is always a network and an issuer.
FASTEST_SHARE_OF_MEDIAN = 0.35


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A latency distribution given by its quantiles, in seconds. All zero means: answer at once."""

    name: str
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float
    max_seconds: float

    def quantile_seconds(self, share: float) -> float:
        """Return the latency in seconds that `share` (0..1) of all calls stay under."""
        if self.max_seconds <= 0:
            return 0.0
        shares = (0.0, 0.5, 0.95, 0.99, 1.0)
        known = (
            self.p50_seconds * FASTEST_SHARE_OF_MEDIAN,
            self.p50_seconds,
            self.p95_seconds,
            self.p99_seconds,
            self.max_seconds,
        )
        share = min(max(share, 0.0), 1.0)
        upper = min(bisect.bisect_right(shares, share), len(shares) - 1)
        lower = upper - 1
        position = (share - shares[lower]) / (shares[upper] - shares[lower])
        low, high = math.log(known[lower]), math.log(known[upper])
        return math.exp(low + position * (high - low))

    def sample_seconds(self, rng: random.Random) -> float:
        """Draw one latency in seconds."""
        return self.quantile_seconds(rng.random())


def _profile(name: str, p50: float, p95: float, p99: float, maximum: float) -> Profile:
    return Profile(name=name, p50_seconds=p50, p95_seconds=p95, p99_seconds=p99, max_seconds=maximum)


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        _profile("instant", 0, 0, 0, 0),
        _profile("stripe", 2.1, 5.8, 8.2, 14.3),
        _profile("paypal", 3.4, 8.9, 12.4, 28.7),
        _profile("square", 1.8, 4.2, 6.1, 11.2),
    )
}
