"""How much less rows tell because rows of a group are alike (Kish, Survey Sampling, 1965)."""

from __future__ import annotations

import numpy as np

from prompt_oirl.choice.baseline import clustered_means
from prompt_oirl.models.outcomes import Floats, Indices


def design_effect(values: Floats, group: Indices, weight: Floats | None = None) -> float:
    """Variance of means by groups over that of as many rows without groups, at least 1.

    Of all columns together: a column that by chance is the same in every row says nothing.

    Args:
        values: ``[R, C]``, NaN where unknown; columns of about one scale.
        group: of each row, ``[R]``.
        weight: of each value, ``[R, C]``; 1 by default.

    Returns:
        Infinity where no column varies.
    """
    grouped = np.trace(clustered_means(values, group, weight).covariance)
    single = np.trace(clustered_means(values, np.arange(len(values)), weight).covariance)
    return max(1.0, float(grouped / single)) if single > 0 else float("inf")
