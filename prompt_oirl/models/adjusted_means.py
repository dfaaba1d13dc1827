"""Means of arms that were run on different queries, as if each had been run on all of them.

A prompt that was run on easy queries only has a high plain mean. So arms are compared within rows:

    value[r, k] = level[r] + effect[k] + noise        weighted least squares; a row with one arm
                                                      says nothing of the difference of two

(the additive two-way model, "within" estimator: Wooldridge, Econometric Analysis of Cross Section
and Panel Data, 2010, chapter 10). Where every row was run under every arm, and equally often, these
are the plain means. Arms that no chain of rows connects cannot be compared so: each part keeps the
plain level of its own rows, and how much outcomes differ counts as an error of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

Floats = NDArray[np.float64]

CAUTION = 2.0  # standard errors that the value of a default must hold against


@dataclass(frozen=True)
class AdjustedMeans:
    """Of each arm.

    Attributes:
        mean: ``[K]``; NaN for an arm that was never run. May lie a little outside 0..1.
        error: standard error of its effect, and of the level of its part where there are several,
            ``[K]``; inf where it was never run.
        error_from_most_run: standard error of its difference from the arm that was run most,
            ``[K]``; 0 for that arm.
    """

    mean: Floats
    error: Floats
    error_from_most_run: Floats

    @property
    def best(self) -> int:
        """The arm whose mean is highest, less :data:`CAUTION` standard errors of its difference
        from the arm that was run most; the first of equals. One that was hardly ever run may look
        best by luck, and its own error is in that of every effect."""
        mean = np.clip(self.mean, 0.0, 1.0)
        return int(np.nanargmax(mean - CAUTION * self.error_from_most_run))


def best_arm(value: Floats, weight: Floats) -> int:
    """The arm of the highest mean, the first of equals; where arms were run on different rows, by
    what rows say that were run under several. Arguments as of :func:`adjusted_means`."""
    if not is_complete(weight):
        return adjusted_means(value, weight).best
    return int(np.argmax(plain_means(value, weight)))


def plain_means(value: Floats, weight: Floats) -> Floats:
    """Weighted mean of each arm, ``[K]``; -inf for one that was never run."""
    runs = weight.sum(axis=0)
    sums = np.nansum(value * weight, axis=0)
    return np.where(runs > 0, sums / np.where(runs > 0, runs, 1), -np.inf)


def is_complete(weight: Floats) -> bool:
    """Whether every row that was run at all was run under the same arms, and under each of them
    equally often, of weights ``[R, K]``: plain means are fair then."""
    run = weight > 0
    weight = weight[run.any(axis=1)][:, run.any(axis=0)]
    return bool((weight > 0).all() and (weight == weight[:, :1]).all())


def adjusted_means(value: Floats, weight: Floats) -> AdjustedMeans:
    """Adjusted means of outcomes.

    Args:
        value: ``[R, K]``, NaN where a row was not run under an arm.
        weight: how many runs each value is the mean of, ``[R, K]``; 0 where there was none.
    """
    rows = weight.sum(axis=1) > 0
    value, weight = np.nan_to_num(value[rows]), weight[rows]
    size = weight.sum(axis=1, keepdims=True)
    row_mean = (weight * value).sum(axis=1, keepdims=True) / size
    between = weight.T @ (weight / size)
    inverse = np.linalg.pinv(np.diag(weight.sum(axis=0)) - between, hermitian=True)
    effect = inverse @ (weight * (value - row_mean)).sum(axis=0)
    level = row_mean - (weight * effect).sum(axis=1, keepdims=True) / size
    residual = float((weight * (value - level - effect) ** 2).sum())

    mean, error = np.full(weight.shape[1], np.nan), np.full(weight.shape[1], np.inf)
    from_most_run = error.copy()
    most_run = int(weight.sum(axis=0).argmax())
    parts, part = connected_components(csr_matrix(between > 0), directed=False)
    ran = weight.sum(axis=0) > 0
    freedom = max(int((weight > 0).sum()) - len(value) - int(ran.sum()) + parts, 1)
    alone, spread = len(np.unique(part[ran])) == 1, value[weight > 0].var()
    levels = {}  # the variance of the level of each part
    for number in np.unique(part[ran]):
        arms = (part == number) & ran
        own = (weight[:, arms] > 0).any(axis=1)
        levels[number] = 0.0 if alone else spread / own.sum()
        reruns = size[own, 0] / (weight[own] > 0).sum(axis=1)
        mean[arms] = effect[arms] + np.average(level[own, 0], weights=reruns)
        variance = np.maximum(np.diag(inverse)[arms], 0.0) * residual / freedom
        error[arms] = np.sqrt(variance + levels[number])
    for arm in np.flatnonzero(ran):
        contrast = np.eye(len(mean))[arm] - np.eye(len(mean))[most_run]
        variance = max(float(contrast @ inverse @ contrast), 0.0) * residual / freedom
        apart = part[arm] != part[most_run]
        level = levels[part[arm]] + levels[part[most_run]] if apart else 0.0
        from_most_run[arm] = np.sqrt(variance + level)
    return AdjustedMeans(mean, error, from_most_run)
