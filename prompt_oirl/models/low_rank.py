"""Item response theory with side information: a query has few abilities, a prompt uses them.

    logit P(success of prompt k on query q) = b_k + (W x_q) · a_k

``W`` (abilities of a query from its features) and ``a_k``, ``b_k`` (loadings and easiness of a
prompt) are learned together. With one ability and equal loadings it is the Rasch model (1960), with
several the multidimensional two-parameter model; PromptEval (Polo et al., 2024) uses the former.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.models.outcomes import Floats, Outcomes


class LowRank:
    """Logistic model of low rank.

    Args:
        rank: abilities.
        penalty: of the squared entries of ``W``; a hundredth of it is on the loadings.
    """

    def __init__(self, rank: int = 3, penalty: float = 30.0) -> None:
        self.rank = rank
        self.penalty = penalty

    def fit(self, outcomes: Outcomes, seed: int = 0) -> LowRank:
        """Learns by L-BFGS; returns itself."""
        from scipy.optimize import minimize

        columns, arms, rank = outcomes.x.shape[1], outcomes.value.shape[1], self.rank
        rng = np.random.default_rng(seed)
        # One ability starts as what all prompts share.
        loadings = np.hstack([np.ones((arms, 1)), rng.normal(0, 0.3, (arms, rank - 1))])
        means = np.clip(np.maximum(outcomes.arm_means, 0), 1e-3, 1 - 1e-3)
        start = np.concatenate(
            [
                rng.normal(0, 0.01, columns * rank),
                loadings.ravel(),
                np.log(means / (1 - means)),
            ]
        )

        found = minimize(
            self.loss, start, (outcomes,), "L-BFGS-B", jac=True, options={"maxiter": 150}
        )
        self.w, self.a, self.b = self._split(found.x, columns, arms)
        return self

    def loss(self, theta: Floats, outcomes: Outcomes) -> tuple[float, Floats]:
        """Negative log likelihood with penalties, and its gradient.

        Args:
            theta: ``W``, ``a`` and ``b``, row by row.
            outcomes: of the log.
        """
        x, weight = outcomes.x, outcomes.weight
        value = np.nan_to_num(outcomes.value)
        w, a, b = self._split(theta, x.shape[1], value.shape[1])
        ability = x @ w
        logit = ability @ a.T + b
        probability = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
        likelihood = weight * (np.logaddexp(0, logit) - value * logit)
        total = likelihood.sum() + self.penalty / 2 * (w**2).sum()
        total += self.penalty / 200 * (a**2).sum()
        slope = weight * (probability - value)
        gradient = [
            x.T @ (slope @ a) + self.penalty * w,
            slope.T @ ability + self.penalty / 100 * a,
            slope.sum(axis=0),
        ]
        return float(total), np.concatenate([part.ravel() for part in gradient])

    def _split(self, theta: Floats, columns: int, arms: int) -> tuple[Floats, Floats, Floats]:
        first, second = columns * self.rank, columns * self.rank + arms * self.rank
        return (
            theta[:first].reshape(columns, self.rank),
            theta[first:second].reshape(arms, self.rank),
            theta[second:],
        )

    def predict(self, x: Floats) -> Floats:
        """Probability of success under each arm, ``[Q, K]``."""
        logit = (x @ self.w) @ self.a.T + self.b
        result: Floats = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
        return result

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Abilities, loadings, easiness."""
        return {"w": self.w, "a": self.a, "b": self.b}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> LowRank:
        """The model that gave these arrays."""
        self = cls(arrays["w"].shape[1])
        self.w, self.a, self.b = arrays["w"], arrays["a"], arrays["b"]
        return self
