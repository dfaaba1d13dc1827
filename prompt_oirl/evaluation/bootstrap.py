"""Intervals and tests of means whose rows come in groups.

Many groups are drawn again as wholes (Efron, Annals of Statistics 1979), and their mean is tested
as normal. That is too bold for few: there it is Student's interval and test, with one degree of
freedom less than groups (Cameron, Gelbach & Miller, Review of Economics and Statistics 2008) and
the standard error of the jackknife, which leaves out a group at a time. A few large groups beside
many small ones are few: groups count by Kish's formula (MacKinnon, Nielsen & Webb, Journal of
Econometrics 2023).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
FEW_GROUPS = 40
ROUNDED = 1e-12  # a sum of differences that cancel


def clustered_interval(
    values: NDArray[np.float64],
    groups: NDArray[np.int64],
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
    told: int | None = None,
) -> tuple[float, float]:
    """Interval of the mean of ``values``.

    Args:
        values: ``[N]``; for a paired comparison the differences.
        groups: the group of each value, ``[N]``.
        level: of the interval.
        draws: of the bootstrap.
        seed: of the draws.
        told: groups that tell anything, where the values of others are filled in; all by default.

    Returns:
        (low, high); NaN where fewer than two groups leave it unknown.
    """
    _, place = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(place, values), np.bincount(place).astype(float)
    n = len(sums)
    if n < 2 or (told is not None and told < 2):
        return float("nan"), float("nan")
    telling = _telling(counts, told)
    if telling < FEW_GROUPS:
        return _student(values, place, level, telling)
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    for i in range(draws):
        drawn = rng.integers(0, n, n)
        means[i] = sums[drawn].sum() / counts[drawn].sum()
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def two_sided_p(
    values: NDArray[np.float64], groups: NDArray[np.int64], told: int | None = None
) -> float:
    """P-value of "the mean is 0"; 1 where it is, but for rounding, or where one group tells of it.

    Arguments as of :func:`clustered_interval`.
    """
    from scipy.stats import norm, t

    if not len(values) or not values.any():
        return 1.0
    _, place = np.unique(groups, return_inverse=True)
    counts = np.bincount(place).astype(float)
    mean = float(values.mean())
    if len(counts) < 2 or (told is not None and told < 2) or abs(mean) < ROUNDED:
        return 1.0
    telling = _telling(counts, told)
    error = _jackknife(values, place) if telling < FEW_GROUPS else _standard_error(values, place)
    if error < ROUNDED:
        return float(2 * 0.5**telling)  # as if by chance of either sign
    score = abs(mean) / error
    freedom = max(telling - 1, 1.0)
    return float(2 * (t.sf(score, freedom) if telling < FEW_GROUPS else norm.sf(score)))


def _telling(counts: NDArray[np.float64], told: int | None) -> float:
    """How many groups of one size tell as much as groups of these sizes, by Kish's formula."""
    effective = float(counts.sum() ** 2 / (counts**2).sum())
    return effective if told is None else min(effective, told)


def _student(
    values: NDArray[np.float64], place: NDArray[np.int64], level: float, telling: float
) -> tuple[float, float]:
    from scipy.stats import t

    freedom = max(telling - 1, 1.0)
    reach = float(t.ppf(0.5 + level / 2, freedom)) * _jackknife(values, place)
    mean = float(values.mean())
    return mean - reach, mean + reach


def _jackknife(values: NDArray[np.float64], place: NDArray[np.int64]) -> float:
    """Standard error of the mean by leaving out a group at a time."""
    counts = np.bincount(place)
    moved = np.bincount(place, values - values.mean()) / (len(values) - counts)
    n = len(counts)
    return float(np.sqrt((n - 1) / n * (moved**2).sum()))


def _standard_error(values: NDArray[np.float64], place: NDArray[np.int64]) -> float:
    """Of the mean, from sums of groups; ``place`` is the number of each value's group."""
    n = int(place.max()) + 1
    spread = (np.bincount(place, values - values.mean()) ** 2).sum() * n / (n - 1)
    return float(np.sqrt(spread)) / len(values)
