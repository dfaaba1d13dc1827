"""Tests of means whose rows come in groups, by Student's distribution."""

from __future__ import annotations

import numpy as np

from prompt_oirl.choice.baseline import ClusteredMeans


def difference(new: ClusteredMeans, old: ClusteredMeans, alike: float) -> tuple[float, float]:
    """New minus old mean of one column each, and two-sided p-value of "it is 0".

    Args:
        new: with one column.
        old: with one column.
        alike: design effect of the new log.
    """
    from scipy.stats import t

    change = float(new.mean[0] - old.mean[0])
    variance = np.array([side.covariance[0, 0] for side in (new, old)])
    groups = np.array([side.groups[0] for side in (new, old)])
    # Where few outcomes, or few groups, are all alike, their own variance is too small: then that
    # of both counts, rows of a group for as few as they are worth.
    rows = np.array([max(side.groups[0], side.rows[0] / alike) for side in (new, old)])
    pooled = (variance * rows**2).sum() / rows.sum() * (1 / rows).sum()
    whole = max(float(variance.sum()), float(pooled))
    if whole <= 0:
        return change, 1.0 if change == 0 else 0.0
    freedom = variance.sum() ** 2 / (variance**2 / (groups - 1)).sum()
    return change, float(2 * t.sf(abs(change) / np.sqrt(whole), freedom))


def loss(of: ClusteredMeans) -> tuple[float, float]:
    """Mean gain, and p-value of "it is not below 0"."""
    from scipy.stats import t

    mean, variance = float(of.mean[0]), float(of.covariance[0, 0])
    if variance <= 0:
        return mean, 1.0 if mean >= 0 else 0.0
    return mean, float(t.cdf(mean / np.sqrt(variance), of.groups[0] - 1))
