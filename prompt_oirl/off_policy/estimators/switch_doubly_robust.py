"""Switch doubly robust: correct the model only where the weights are small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.logs.log import Floats
from prompt_oirl.off_policy.evidence import Evidence


@dataclass(frozen=True)
class SwitchDoublyRobust:
    """V = mean of sum_a pi(a|x) q(x, a) + 1{w <= threshold} w (r - q(x, a)).

    Threshold 0 is the direct method, an infinite one is doubly robust. Between them, decisions with
    a large weight cost bias (the model is trusted there) and save variance. The interval does not
    know of that bias.

    Source: Wang, Agarwal & Dudik, "Optimal and adaptive off-policy evaluation in contextual
    bandits", ICML 2017, equation 9 with the doubly robust estimator inside (there SWITCH-DR).

    Attributes:
        threshold: of the weight, not negative; None to choose it from the data, see
            ``chosen_threshold``.
    """

    threshold: float | None = None
    name: str = "switch-dr"
    uses_outcome_model: bool = True
    uses_weights: bool = True

    def scores(self, evidence: Evidence) -> Floats:
        """The predictions, corrected where the weight is small, ``[N]``."""
        threshold = chosen_threshold(evidence) if self.threshold is None else self.threshold
        small = evidence.weight <= threshold
        correction = evidence.weight * (evidence.outcome - evidence.chosen)
        return evidence.expected + np.where(small, correction, 0.0)

    def terms(self, evidence: Evidence) -> Floats:
        """The corrected predictions, ``[N, 1]``."""
        return self.scores(evidence)[:, None]

    def combine(self, means: Floats) -> Floats:
        """The mean itself."""
        return means[..., 0]

    def influence(self, evidence: Evidence) -> Floats:
        """The centred corrected predictions, ``[N]``."""
        scores = self.scores(evidence)
        return scores - scores.mean()


def chosen_threshold(evidence: Evidence, candidates: int = 20) -> float:
    """The threshold with the least estimated variance + square of a bound on the bias.

    The bound: outcomes lie in [0, 1], so trusting the model above the threshold costs at most the
    target's probability mass there, whose unbiased estimate is the mean of w 1{w > threshold}.

    Source: Wang, Agarwal & Dudik, ICML 2017, section 4.
    """
    positive = evidence.weight[evidence.weight > 0]
    if len(positive) == 0:
        return 0.0
    quantiles = np.quantile(positive, np.linspace(0.0, 1.0, candidates))
    best, least = float(quantiles[-1]), np.inf
    # From large to small, so that equal risks keep the larger threshold: less trust in the model.
    for threshold in np.unique(quantiles)[::-1]:
        scores = SwitchDoublyRobust(float(threshold)).scores(evidence)
        mass = np.mean(np.where(evidence.weight > threshold, evidence.weight, 0.0))
        risk = scores.var() / len(scores) + min(float(mass), 1.0) ** 2
        if risk < least:
            best, least = float(threshold), risk
    return best
