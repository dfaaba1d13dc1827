"""What an outcome model is: it predicts the outcome of every arm for a query."""

from __future__ import annotations

from typing import Protocol

from prompt_oirl.logs.log import Floats, Indices


class FittedOutcomes(Protocol):
    """A fitted outcome model."""

    def predict(self, features: Floats) -> Floats:
        """The expected outcome of every arm, in [0, 1], ``[M, K]``, from ``[M, D]``."""


class OutcomeModel(Protocol):
    """A way to fit outcomes."""

    def fit(self, features: Floats, arm: Indices, outcome: Floats, arms: int) -> FittedOutcomes:
        """Fits q(x, a) to ``[M, D]`` features, ``[M]`` arms in 0..arms-1 and ``[M]`` outcomes.

        An arm without any row must still be predicted: by what the other arms tell.
        """
