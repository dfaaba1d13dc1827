"""Whether predicted outcomes mean what they say: AUC, Brier skill, calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS = 10


@dataclass(frozen=True)
class Calibration:
    """Quality of predictions over all cells.

    Attributes:
        auc: probability that a cell that succeeded was predicted higher than one that failed; NaN
            where all are alike. Outcomes between 0 and 1 count by their two parts.
        auc_within_arm: the same for cells of one arm, averaged over arms: what a model knows
            beyond which prompt is good. 0.5 for one that knows nothing of queries.
        brier: mean squared error.
        brier_skill: ``1 − brier / brier of the base rate``, the base rate being each arm's mean on
            the training rows; at most 1, below 0 for a model that is worse than knowing no query.
        ece: expected calibration error over ten bins of equal width.
        bins: (mean prediction, mean outcome, cells) of each bin that is not empty.
    """

    auc: float
    auc_within_arm: float
    brier: float
    brier_skill: float
    ece: float
    bins: tuple[tuple[float, float, int], ...]


def calibration(outcome: Floats, predicted: Floats, base_rate: Floats) -> Calibration:
    """Quality of predictions.

    Args:
        outcome: ``[Q, K]``, NaN where not run.
        predicted: ``[Q, K]`` in 0..1.
        base_rate: the prediction to beat, ``[Q, K]``.
    """
    known = ~np.isnan(outcome)
    y, p, b = outcome[known], predicted[known], base_rate[known]
    brier = float(((p - y) ** 2).mean())
    base = float(((b - y) ** 2).mean())
    place = np.minimum((p * BINS).astype(int), BINS - 1)
    bins = tuple(
        (float(p[place == i].mean()), float(y[place == i].mean()), int((place == i).sum()))
        for i in range(BINS)
        if (place == i).any()
    )
    ece = sum(count * abs(mean - rate) for mean, rate, count in bins) / len(y)
    within = [
        area_under_curve(outcome[known[:, k], k], predicted[known[:, k], k])
        for k in range(outcome.shape[1])
    ]
    finite = [area for area in within if not np.isnan(area)]
    return Calibration(
        area_under_curve(y, p),
        float(np.mean(finite)) if finite else float("nan"),
        brier,
        1 - brier / base if base > 0 else float("nan"),
        float(ece),
        bins,
    )


def area_under_curve(outcome: Floats, predicted: Floats) -> float:
    """AUC by ranks (Mann-Whitney), ties counted half; outcomes may be fractions."""
    from scipy.stats import rankdata

    if not len(outcome):
        return float("nan")
    good, bad = outcome.sum(), (1 - outcome).sum()
    if good <= 0 or bad <= 0:
        return float("nan")
    if np.isin(outcome, (0.0, 1.0)).all():
        ranks = rankdata(predicted)
        return float((ranks[outcome == 1].sum() - good * (good + 1) / 2) / (good * bad))
    order = np.argsort(predicted, kind="stable")
    p, w1, w0 = predicted[order], outcome[order], 1 - outcome[order]
    _, first, place = np.unique(p, return_index=True, return_inverse=True)
    failures = np.add.reduceat(w0, first)
    below = np.concatenate([[0.0], np.cumsum(failures)[:-1]])
    return float((w1 * (below + failures / 2)[place]).sum() / (good * bad))
