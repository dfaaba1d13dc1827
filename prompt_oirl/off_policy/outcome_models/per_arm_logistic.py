"""Logistic regression, one model for each arm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from prompt_oirl.logs.log import Floats, Indices


@dataclass(frozen=True)
class PerArmLogistic:
    """q(x, a) = sigmoid(level of the arm + the arm's slopes · x), fitted on the arm's rows alone.

    An outcome between 0 and 1 counts as a success with that weight and as a failure with the rest.
    An arm of a single class, or without rows, is predicted by its mean, shrunk by one row of the
    mean over all arms.

    Attributes:
        inverse_penalty: scikit-learn's C, on features of unit variance.
    """

    inverse_penalty: float = 0.1

    def fit(self, features: Floats, arm: Indices, outcome: Floats, arms: int) -> FittedLogistic:
        """Fits with scikit-learn."""
        from sklearn.linear_model import LogisticRegression

        centre = features.mean(axis=0)
        spread = features.std(axis=0)
        scale = np.where(spread > 0, spread, 1.0)
        rows = (features - centre) / scale
        overall = float(outcome.mean())
        models: list[Any] = []
        for number in range(arms):
            own = arm == number
            seen = outcome[own]
            if len(seen) == 0 or seen.max() == 0 or seen.min() == 1:
                models.append(float((seen.sum() + overall) / (len(seen) + 1)))
                continue
            both = np.concatenate([rows[own], rows[own]])
            label = np.repeat([1, 0], len(seen))
            weight = np.concatenate([seen, 1 - seen])
            kept = weight > 0
            model = LogisticRegression(C=self.inverse_penalty, max_iter=1000)
            models.append(model.fit(both[kept], label[kept], sample_weight=weight[kept]))
        return FittedLogistic(centre, scale, tuple(models))


@dataclass(frozen=True)
class FittedLogistic:
    """``centre`` and ``scale`` [D] of the features, and for each arm a model or a constant."""

    centre: Floats
    scale: Floats
    models: tuple[Any, ...]

    def predict(self, features: Floats) -> Floats:
        """The expected outcome of every arm, ``[M, K]``."""
        rows = (features - self.centre) / self.scale
        columns = [
            np.full(len(rows), model)
            if isinstance(model, float)
            else model.predict_proba(rows)[:, 1]
            for model in self.models
        ]
        return np.stack(columns, axis=1)
