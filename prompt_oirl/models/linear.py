"""Linear models: logistic regression a prompt, and a level plus interactions.

``Interaction`` is ridge regression of the mean over prompts (the level of a query) and of each
prompt's deviation from it (the interaction of query and prompt), with its own penalty: what a query
is worth is learned from all prompts, what a prompt is worth for it needs more evidence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.models.outcomes import Floats, Outcomes


class PerArmLogistic:
    """Logistic regression a prompt; fractional outcomes count as so many successes and failures.

    Args:
        penalty: of the squared coefficients (an inverse ``C`` of scikit-learn).
    """

    def __init__(self, penalty: float = 30.0) -> None:
        self.penalty = penalty
        self.coefficients: Floats = np.zeros((0, 0))
        self.intercepts: Floats = np.zeros(0)

    def fit(self, outcomes: Outcomes, seed: int = 0) -> PerArmLogistic:
        """Learns; returns itself."""
        rows = [self._one(outcomes, arm) for arm in range(outcomes.value.shape[1])]
        self.coefficients = np.stack([row[0] for row in rows])
        self.intercepts = np.array([row[1] for row in rows])
        return self

    def _one(self, outcomes: Outcomes, arm: int) -> tuple[Floats, float]:
        from sklearn.linear_model import LogisticRegression

        known = outcomes.weight[:, arm] > 0
        x, y, n = outcomes.x[known], outcomes.value[known, arm], outcomes.weight[known, arm]
        size = outcomes.x.shape[1]
        mean = float(np.average(y, weights=n)) if len(y) else 0.0
        if not 0 < mean < 1:
            mean = float(np.clip(mean, 1e-3, 1 - 1e-3))
            return np.zeros(size), float(np.log(mean / (1 - mean)))
        labels = np.repeat([1, 0], len(y))
        weights = np.concatenate([n * y, n * (1 - y)])
        used = weights > 0
        model = LogisticRegression(C=1 / self.penalty, max_iter=200)
        model.fit(np.vstack([x, x])[used], labels[used], sample_weight=weights[used])
        return model.coef_[0], float(model.intercept_[0])

    def predict(self, x: Floats) -> Floats:
        """Probability of success under each arm, ``[Q, K]``."""
        logits = x @ self.coefficients.T + self.intercepts
        result: Floats = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
        return result

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Coefficients and intercepts."""
        return {"coefficients": self.coefficients, "intercepts": self.intercepts}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> PerArmLogistic:
        """The model that gave these arrays."""
        self = cls()
        self.coefficients, self.intercepts = arrays["coefficients"], arrays["intercepts"]
        return self


class Interaction:
    """Ridge regression of the level of a query and of each prompt's deviation from it.

    Args:
        level_penalty: of the coefficients of the level.
        deviation_penalty: of those of the deviations.
    """

    def __init__(self, level_penalty: float = 200.0, deviation_penalty: float = 1000.0) -> None:
        self.level_penalty = level_penalty
        self.deviation_penalty = deviation_penalty
        self.coefficients: Floats = np.zeros((0, 0))
        self.intercepts: Floats = np.zeros(0)

    def fit(self, outcomes: Outcomes, seed: int = 0) -> Interaction:
        """Learns; returns itself. A query's level is the mean over the arms that it was run under,
        each arm's own mean taken off first."""
        means = np.maximum(outcomes.arm_means, 0.0)
        centred = outcomes.value - means
        runs = outcomes.weight.sum(axis=1)
        known = np.where(outcomes.weight > 0, outcomes.weight, 0)
        level = np.nansum(centred * known, axis=1) / np.where(runs > 0, runs, 1)
        base, offset = _ridge(outcomes.x, level, runs, self.level_penalty)
        if outcomes.few_pairs:
            # The one outcome of a text does not differ from its own mean: what such texts usually
            # reach takes its place.
            alone = (outcomes.weight > 0).sum(axis=1) == 1
            level = np.where(alone, outcomes.x @ base + offset, level)
        columns = [
            _ridge(
                outcomes.x,
                np.nan_to_num(centred[:, arm] - level),
                outcomes.weight[:, arm],
                self.deviation_penalty,
            )
            for arm in range(len(means))
        ]
        self.coefficients = np.stack([base + column for column, _ in columns])
        self.intercepts = np.array([offset + own for _, own in columns]) + means
        return self

    def predict(self, x: Floats) -> Floats:
        """Expected outcome of each arm, ``[Q, K]``."""
        result: Floats = x @ self.coefficients.T + self.intercepts
        return result

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Coefficients and intercepts."""
        return {"coefficients": self.coefficients, "intercepts": self.intercepts}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Interaction:
        """The model that gave these arrays."""
        self = cls()
        self.coefficients, self.intercepts = arrays["coefficients"], arrays["intercepts"]
        return self


def _ridge(x: Floats, y: Floats, weight: Floats, penalty: float) -> tuple[Floats, float]:
    total = weight.sum()
    if total == 0:
        return np.zeros(x.shape[1]), 0.0
    centre, mean = weight @ x / total, float(weight @ y / total)
    moved = x - centre
    gram = (moved * weight[:, None]).T @ moved
    gram[np.diag_indices_from(gram)] += penalty
    coefficients = np.linalg.solve(gram, moved.T @ (weight * (y - mean)))
    return coefficients, mean - float(coefficients @ centre)
