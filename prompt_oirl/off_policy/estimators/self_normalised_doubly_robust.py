"""Self-normalised doubly robust: the correction is a weighted mean of the residuals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.logs.log import Floats
from prompt_oirl.off_policy.evidence import Evidence


@dataclass(frozen=True)
class SelfNormalisedDoublyRobust:
    """V = mean of sum_a pi(a|x) q(x, a) + sum of w (r - q(x, a)) / sum of w.

    Less variance than doubly robust where the weights vary and the model is off by a constant; the
    bias is of order 1/N. NaN where no decision agrees with the target.

    Source: Robins, Sued, Lei-Gomez & Rotnitzky, Statistical Science 2007, section 4 (there the
    bounded Horvitz-Thompson form); Thomas & Brunskill, "Data-efficient off-policy policy evaluation
    for reinforcement learning", ICML 2016, section 4 (there weighted doubly robust).
    """

    name: str = "sndr"
    uses_outcome_model: bool = True
    uses_weights: bool = True

    def terms(self, evidence: Evidence) -> Floats:
        """The predictions, the weighted residuals and the weights, ``[N, 3]``."""
        residual = evidence.outcome - evidence.chosen
        return np.stack([evidence.expected, evidence.weight * residual, evidence.weight], axis=1)

    def combine(self, means: Floats) -> Floats:
        """The mean prediction and the ratio of the other two."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return means[..., 0] + np.divide(means[..., 1], means[..., 2])

    def influence(self, evidence: Evidence) -> Floats:
        """The centred prediction + w (residual - its weighted mean) / mean w, ``[N]``."""
        expected, weighted, weight = self.terms(evidence).mean(axis=0)
        residual = evidence.outcome - evidence.chosen
        with np.errstate(invalid="ignore", divide="ignore"):
            correction = evidence.weight * (residual - np.divide(weighted, weight)) / weight
        return evidence.expected - expected + correction
