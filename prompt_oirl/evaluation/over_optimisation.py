"""The optimiser's curse: the more candidates, the more the prediction of the chosen one promises.

For ``n`` candidates the arm of the highest figure is chosen among ``n`` arms; predicted is the mean
figure of the chosen arms, realised their mean outcome. The difference between the two is what was
selected for noise (Gao et al., 2022, for best-of-n against a proxy reward).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from prompt_oirl.models.blend import as_probabilities
from prompt_oirl.models.outcomes import Floats, Indices


@dataclass(frozen=True)
class CurvePoint:
    """One number of candidates: means over subsets of arms and queries."""

    candidates: int
    predicted: float
    realised: float

    @property
    def gap(self) -> float:
        """How much the prediction promised too much."""
        return self.predicted - self.realised


def over_optimisation(
    outcome: Floats,
    figure: Floats | Callable[[Indices], Floats],
    subsets: int = 30,
    seed: int = 0,
) -> list[CurvePoint]:
    """Realised against predicted value for 1…K candidates.

    Args:
        outcome: ``[Q, K]`` without gaps.
        figure: predicted outcome that is maximised, ``[Q, K]``: a mean or a lower bound, promised
            as cut to 0..1. Or what
            gives it for some arms, ``[Q, n]`` of indices ``[n]``, where it depends on which arms
            are candidates.
        subsets: random sets of candidates of each size.
        seed: of the sets.
    """
    rng = np.random.default_rng(seed)
    arms = outcome.shape[1]
    row = np.arange(len(outcome))
    points = []
    for n in range(1, arms + 1):
        drawn = [tuple(sorted(rng.permutation(arms)[:n].tolist())) for _ in range(subsets)]
        predicted = realised = 0.0
        for some, times in Counter(drawn).items():
            arm = np.array(some, dtype=np.int64)
            shown = figure(arm) if callable(figure) else figure[:, arm]
            best = shown.argmax(axis=1)
            predicted += as_probabilities(shown[row, best]).mean() * times / subsets
            realised += outcome[row, arm[best]].mean() * times / subsets
        points.append(CurvePoint(n, float(predicted), float(realised)))
    return points
