"""The mean of several models' predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.models import model_class
from prompt_oirl.models.outcomes import Floats, Outcomes


class Blend:
    """Models of different kinds, fitted on the same rows and averaged with equal weights.

    Args:
        names: of :data:`prompt_oirl.models.MODELS`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.models = [model_class(name)() for name in names]

    def fit(self, outcomes: Outcomes, seed: int = 0) -> Blend:
        """Learns; returns itself."""
        for model in self.models:
            model.fit(outcomes, seed)
        return self

    def predict(self, x: Floats) -> Floats:
        """Expected outcome of each arm, ``[Q, K]``."""
        result: Floats = sum(model.predict(x) for model in self.models) / len(self.models)
        return result

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of every model, under ``<number>.<name>``."""
        return {
            f"{i}.{key}": array
            for i, model in enumerate(self.models)
            for key, array in model.arrays().items()
        }

    @classmethod
    def from_arrays(cls, names: Sequence[str], arrays: dict[str, NDArray[Any]]) -> Blend:
        """The blend that gave these arrays."""
        self = cls(names)
        self.models = [
            model_class(name).from_arrays(_under(arrays, f"{i}.")) for i, name in enumerate(names)
        ]
        return self


def _under(arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {key[len(prefix) :]: arrays[key] for key in arrays if key.startswith(prefix)}


def as_probabilities(predictions: Floats) -> Floats:
    """Predictions cut to 0..1, for measures that need probabilities."""
    return np.clip(predictions, 0.0, 1.0)
