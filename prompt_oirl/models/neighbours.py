"""Nearest neighbours: a query is like the logged queries closest to it.

Each neighbour votes with weight ``exp(−distance² / scale²)``, the scale being the distance of the
farthest of them, and the prompts' overall means count as ``prior`` further votes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.models.outcomes import Floats, Outcomes

BLOCK = 512  # queries whose distances are held at once


class Neighbours:
    """Weighted means over the nearest logged queries.

    Args:
        count: neighbours at most.
        prior: votes of the overall means.
    """

    def __init__(self, count: int = 40, prior: float = 10.0) -> None:
        self.count = count
        self.prior = prior

    def fit(self, outcomes: Outcomes, seed: int = 0) -> Neighbours:
        """Keeps the logged queries; returns itself."""
        return self._keep(
            outcomes.x,
            np.nan_to_num(outcomes.value),
            outcomes.weight,
            np.maximum(outcomes.arm_means, 0.0),
        )

    def _keep(self, x: Floats, value: Floats, weight: Floats, means: Floats) -> Neighbours:
        self.x, self.value, self.weight, self.means = x, value, weight, means
        self._squares = (x**2).sum(axis=1)
        return self

    def predict(self, x: Floats) -> Floats:
        """Expected outcome of each arm, ``[Q, K]``."""
        blocks = [x[i : i + BLOCK] for i in range(0, len(x), BLOCK)]
        none = np.zeros((0, len(self.means)))
        return np.concatenate([none, *(self._near(block) for block in blocks)])

    def _near(self, x: Floats) -> Floats:
        count = min(self.count, len(self.x))
        distance = self._squares - 2 * (x @ self.x.T)  # of the square, up to the query's own norm
        row = np.argpartition(distance, count - 1, axis=1)[:, :count]
        own = (x**2).sum(axis=1, keepdims=True)
        square = np.maximum(np.take_along_axis(distance, row, axis=1) + own, 0.0)
        scale = np.maximum(square.max(axis=1, keepdims=True), 1e-18)
        near = np.exp(-square / scale)[:, :, None] * self.weight[row]
        total = (near * self.value[row]).sum(axis=1) + self.prior * self.means
        result: Floats = total / (near.sum(axis=1) + self.prior)
        return result

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The logged queries."""
        return {
            "x": self.x,
            "value": self.value,
            "weight": self.weight,
            "means": self.means,
            "settings": np.array([self.count, self.prior]),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Neighbours:
        """The model that gave these arrays."""
        count, prior = arrays["settings"]
        self = cls(int(count), float(prior))
        return self._keep(arrays["x"], arrays["value"], arrays["weight"], arrays["means"])
