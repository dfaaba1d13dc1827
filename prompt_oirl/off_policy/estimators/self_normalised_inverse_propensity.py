"""Self-normalised inverse propensity scoring: a weighted mean of what was seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.logs.log import Floats
from prompt_oirl.off_policy.evidence import Evidence


@dataclass(frozen=True)
class SelfNormalisedInversePropensity:
    """V = sum of w r / sum of w.

    Stays within the range of the outcomes, and does not change when all outcomes are shifted; the
    bias is of order 1/N. NaN where no decision agrees with the target.

    Source: Swaminathan & Joachims, "The self-normalized estimator for counterfactual learning",
    NIPS 2015, equation 5.
    """

    name: str = "snips"
    uses_outcome_model: bool = False
    uses_weights: bool = True

    def terms(self, evidence: Evidence) -> Floats:
        """The weighted outcomes and the weights, ``[N, 2]``."""
        return np.stack([evidence.weight * evidence.outcome, evidence.weight], axis=1)

    def combine(self, means: Floats) -> Floats:
        """The ratio of the two."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.divide(means[..., 0], means[..., 1])

    def influence(self, evidence: Evidence) -> Floats:
        """w (r - V) / mean w, ``[N]``."""
        value = self.combine(self.terms(evidence).mean(axis=0))
        with np.errstate(invalid="ignore", divide="ignore"):
            return evidence.weight * (evidence.outcome - value) / evidence.weight.mean()
