"""Intervals from the influence function, robust to dependence within groups.

What the interval is about: a superpopulation of groups of queries, of which the log is a random
sample. The estimate varies because other groups could have been logged, and because the logging
policy could have drawn other arms; the interval covers both. It is therefore wider than one for the
logged queries alone, with only the draws of arms random: a simulation that keeps the queries fixed
would see it cover too often.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.errors import NotIdentified
from prompt_oirl.logs.log import Floats, Indices


@dataclass(frozen=True)
class Interval:
    """An interval for a value.

    Attributes:
        low, high: its ends. They are not cut at 0 and 1.
        level: the wanted probability of covering, in (0, 1).
        standard_error: of the estimate.
        degrees_of_freedom: of the t quantile, at least 1; NaN for a bootstrap.
        method: ``asymptotic`` or ``bootstrap``.
    """

    low: float
    high: float
    level: float
    standard_error: float
    degrees_of_freedom: float
    method: str

    @property
    def estimate(self) -> float:
        """What an asymptotic interval is around: its middle."""
        return (self.low + self.high) / 2


def asymptotic_interval(
    value: float, influence: Floats, group: Indices, level: float = 0.95
) -> Interval:
    """A t interval with a cluster-robust standard error.

    The variance of the mean of the influences is G/(G-1) sum_g u_g^2 / N^2, where u_g is the sum
    over the decisions of group g (Liang & Zeger, Biometrika 1986). It is itself estimated, badly
    where few large weights make most of it, so the quantile is Student's with as many degrees of
    freedom as make a chi-squared variable vary as much (Satterthwaite, Biometrics 1946):
    2G/(k-1), where k is the kurtosis of the u_g; G-1 at most, as for normal u_g.

    Args:
        value: the estimate.
        influence: of each decision, with mean 0, ``[N]``.
        group: of each decision, ``[N]``.
        level: the wanted probability of covering.

    Raises:
        NotIdentified: fewer than two groups, or the influences are not finite.
    """
    from scipy.stats import t

    if not (np.isfinite(value) and np.isfinite(influence).all()):
        raise NotIdentified("no logged decision agrees with the target, so its value is unknown")
    sums = group_sums(influence[:, None], group)[:, 0]
    groups = len(sums)
    if groups < 2:
        raise NotIdentified(f"an interval needs queries of at least 2 groups, not {groups}")
    error = float(np.sqrt(groups / (groups - 1) * np.sum(sums**2)) / len(influence))
    freedom = effective_degrees_of_freedom(sums)
    half = float(t.ppf(0.5 + level / 2, freedom)) * error
    return Interval(value - half, value + half, level, error, freedom, "asymptotic")


def group_sums(rows: Floats, group: Indices) -> Floats:
    """Sums over the rows of each group that is there, ``[G, C]``, of rows ``[N, C]``."""
    number = np.unique(group, return_inverse=True)[1]
    return np.stack([np.bincount(number, weights=column) for column in rows.T], axis=1)


def effective_degrees_of_freedom(sums: Floats) -> float:
    """Of a variance estimated from the sums of groups ``[G]``: 2G/(k-1), between 1 and G-1."""
    squares = sums**2
    mean = squares.mean()
    most = float(len(sums) - 1)
    spread = squares.var()
    if spread == 0:
        return most
    return float(np.clip(2 * len(sums) * mean**2 / spread, 1.0, most))
