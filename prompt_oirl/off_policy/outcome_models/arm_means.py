"""The mean outcome of each arm, whatever the query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.logs.log import Floats, Indices


@dataclass(frozen=True)
class ArmMeans:
    """q(x, a) = the mean outcome of the arm, shrunk towards the mean over all rows.

    Attributes:
        penalty: rows of prior belief in the mean over all rows; above 0.
    """

    penalty: float = 1.0

    def fit(self, features: Floats, arm: Indices, outcome: Floats, arms: int) -> FittedMeans:
        """Fits without looking at the features."""
        counts = np.bincount(arm, minlength=arms)
        sums = np.bincount(arm, weights=outcome, minlength=arms)
        return FittedMeans((sums + self.penalty * outcome.mean()) / (counts + self.penalty))


@dataclass(frozen=True)
class FittedMeans:
    """``means`` [K]."""

    means: Floats

    def predict(self, features: Floats) -> Floats:
        """The means, once for each row, ``[M, K]``."""
        return np.tile(self.means, (len(features), 1))
