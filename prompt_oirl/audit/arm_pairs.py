"""Every pair of arms on the queries that both were run on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.logs.log import Floats, Indices


@dataclass(frozen=True)
class ArmPairs:
    """Statistics of pairs of arms, each ``[K, K]``.

    Attributes:
        shared: queries that both arms were run on.
        agreement: share of these with equal outcomes; NaN without any.
        correlation: Pearson's, of the outcomes; NaN where one arm is constant.
    """

    shared: Indices
    agreement: Floats
    correlation: Floats


def arm_pairs(grid: Floats) -> ArmPairs:
    """Compares all arms of a grid ``[Q, K]`` of outcomes, NaN where a cell is missing."""
    arms = grid.shape[1]
    shared = np.zeros((arms, arms), dtype=np.int64)
    agreement = np.full((arms, arms), np.nan)
    correlation = np.full((arms, arms), np.nan)
    known = ~np.isnan(grid)
    for i in range(arms):
        for j in range(i, arms):
            both = known[:, i] & known[:, j]
            shared[i, j] = shared[j, i] = both.sum()
            if not both.any():
                continue
            x, y = grid[both, i], grid[both, j]
            agreement[i, j] = agreement[j, i] = (x == y).mean()
            x, y = x - x.mean(), y - y.mean()
            spread = float(np.sqrt((x @ x) * (y @ y)))
            if spread > 1e-12:
                correlation[i, j] = correlation[j, i] = float(x @ y) / spread
    return ArmPairs(shared, agreement, correlation)
