"""What a model of outcomes is."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.models.outcomes import Outcomes


class OutcomeModel(Protocol):
    """Predicts the outcome of every arm from the features of a query.

    A model is made with its settings, fitted once, and then never changes.
    """

    def fit(self, outcomes: Outcomes, seed: int = 0) -> OutcomeModel:
        """Learns; returns itself."""
        ...

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Expected outcome of each arm, ``[Q, K]``, in the units of the outcomes.

        Values may lie a little outside 0..1: differences between arms are what counts.
        """
        ...

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The fitted model as plain arrays, for :mod:`prompt_oirl.choice.artefact`."""
        ...

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> OutcomeModel:
        """The model that gave these arrays."""
        ...
