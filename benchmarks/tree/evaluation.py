"""The evaluation that all searches share: a look-up of priors and a value by a hash of the state.

It stands for a model that costs nothing, so that what is measured is the search.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROWS = 1024


@dataclass(frozen=True)
class Tables:
    """What a state is worth: row ``hash % ROWS``.

    Attributes:
        priors: f32 ``[ROWS, branching]``, rows add up to one.
        logits: their logarithms.
        values: f32 ``[ROWS]`` in [0, 1).
    """

    priors: np.ndarray
    logits: np.ndarray
    values: np.ndarray

    @classmethod
    def random(cls, branching: int, seed: int) -> Tables:
        """Tables for ``branching`` children a node."""
        random = np.random.default_rng(seed)
        logits = random.standard_normal((ROWS, branching))
        priors = np.exp(logits)
        priors /= priors.sum(axis=1, keepdims=True)
        return cls(
            priors.astype(np.float32),
            np.log(priors).astype(np.float32),
            random.random(ROWS).astype(np.float32),
        )
