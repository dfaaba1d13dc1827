"""How much of what models say of single queries is to be believed.

A prediction ``p`` of an arm whose mean outcome is ``m`` is reported as ``m + trust · (p − m)``. The
trust is the slope, through zero, of outcomes on predictions of unseen rows, both less ``m`` (the
calibration slope of Cox, 1958), kept in 0..1: at 0 only the arms' means are left.
"""

from __future__ import annotations

import numpy as np

from prompt_oirl.models.outcomes import Floats, Outcomes


def believed(predicted: Floats, means: Floats, trust: float) -> Floats:
    """Predictions ``[..., K]``, believed as far as the trust goes."""
    return means + trust * (predicted - means)


def trust_in(outcomes: Outcomes, unseen: Floats, means: Floats | None = None) -> float:
    """The trust, in 0..1.

    Args:
        outcomes: the log.
        unseen: predictions of its rows by models that did not see them, ``[R, K]``.
        means: of the arms, ``[K]``; the plain ones by default.
    """
    if means is None:
        means = np.maximum(outcomes.arm_means, 0.0)
    claimed = unseen - means
    happened = np.nan_to_num(outcomes.value - means)
    size = float((outcomes.weight * claimed**2).sum())
    if size == 0:
        return 0.0
    return float(np.clip((outcomes.weight * claimed * happened).sum() / size, 0.0, 1.0))
