"""Few numbers a query, so that the information of a cell stays a small matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FACTORS = 3


def query_factors(x: Floats, size: int = FACTORS) -> Floats:
    """``[1, factors]`` of each query: principal components of its features, of variance 1.

    Args:
        x: features, ``[Q, columns]``.
        size: components; fewer where ``x`` has fewer directions.

    Returns:
        ``[Q, 1 + size]``, the first column being 1.
    """
    centred = x - x.mean(axis=0)
    left, strength, _ = np.linalg.svd(centred, full_matrices=False)
    size = min(size, int((strength > 1e-9 * max(strength.max(initial=0.0), 1e-9)).sum()))
    factors = left[:, :size] * np.sqrt(len(x))
    return np.hstack([np.ones((len(x), 1)), np.clip(factors, -4, 4)])
