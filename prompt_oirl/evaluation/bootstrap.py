"""Intervals of means whose rows come in groups: whole groups are drawn again (Efron, 1979)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000


def clustered_interval(
    values: NDArray[np.float64],
    groups: NDArray[np.int64],
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of the mean of ``values``, groups drawn with replacement.

    Args:
        values: ``[N]``; for a paired comparison the differences.
        groups: the group of each value, ``[N]``.
        level: of the interval.
        draws: of the bootstrap.
        seed: of the draws.

    Returns:
        (low, high); NaN where there is nothing, the mean twice where there is one group.
    """
    if not len(values):
        return float("nan"), float("nan")
    _, place = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(place, values), np.bincount(place).astype(float)
    n = len(sums)
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    for i in range(draws):
        drawn = rng.integers(0, n, n)
        means[i] = sums[drawn].sum() / counts[drawn].sum()
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def two_sided_p(values: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """P-value of "the mean is 0", by a normal test on sums of groups; 1 where all are 0."""
    from scipy.stats import norm

    if not len(values) or not values.any():
        return 1.0
    _, place = np.unique(groups, return_inverse=True)
    n = place.max() + 1
    if n < 2:
        return 1.0
    mean = values.mean()
    error = np.sqrt((np.bincount(place, values - mean) ** 2).sum() * n / (n - 1)) / len(values)
    return float(2 * norm.sf(abs(mean) / error)) if error > 0 else 0.0
